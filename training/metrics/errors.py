"""What can be wrong with a score."""

from __future__ import annotations

from training.errors import TrainingError


class ScoreError(TrainingError):
    """A model cannot be measured as asked; the message says why and what would do."""
