"""Models in service: batching, the registry, reloading, the watchdog."""
