"""Launcher, supervisor and worker processes."""
