"""What can stop a training job, each with the exit code that tells it apart.

TrainingError           2   asked for something impossible
├── NonFinite           3   a loss became infinite or NaN
├── CheckpointError     4   no checkpoint can be continued from
└── ExportError         5   the exported file does not do what the nets do
"""

from __future__ import annotations


class TrainingError(Exception):
    """The job cannot go on; the message is one sentence for the person who started it."""

    exit_code = 2


class NonFinite(TrainingError):
    """A loss is not finite."""

    exit_code = 3

    def __init__(self, *, step: int, player: str, tensor: str) -> None:
        super().__init__(f"step {step}: the loss of {player} is not finite; the first tensor that is not: {tensor}")
        self.step = step
        self.player = player
        self.tensor = tensor


class CheckpointError(TrainingError):
    """No checkpoint can be continued from."""

    exit_code = 4


class ExportError(TrainingError):
    """The exported file does not do what the nets do."""

    exit_code = 5
