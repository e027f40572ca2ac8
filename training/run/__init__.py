"""One run: its configuration, its job, its checkpoints."""
