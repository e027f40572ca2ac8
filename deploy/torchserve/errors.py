"""What ends the archive's commands; the message is one line."""

from __future__ import annotations


class DeployError(Exception):
    """A command cannot do what it was asked to."""


class ArchiveError(DeployError):
    """An archive is refused; the message names the entry and what is wrong with it."""
