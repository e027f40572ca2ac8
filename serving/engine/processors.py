"""The processors on which processes may meet in shared memory without locks."""

PROCESSORS = frozenset({"x86_64", "AMD64"})
"""Machines (``platform.machine``) whose processors show the stores of one process to others in their order."""
