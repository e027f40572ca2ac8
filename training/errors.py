"""Errors that end a training job, each with its exit code.

TrainingError           2   asked for something impossible
├── RecipeError         2   a recipe's parts do not fit together
├── OutOfMemory         2   the device has not enough memory
├── AdoptError          2   a generator from elsewhere cannot be served
├── ScoreError          2   a model cannot be measured as asked
├── NonFinite           3   a loss became infinite or NaN
├── CheckpointError     4   no checkpoint can be continued from
├── ExportError         5   the generator cannot be exported, or its file does not compute what the nets compute
└── LostRank            6   another process of the run has ended or does not answer
"""

from __future__ import annotations


class TrainingError(Exception):
    """The job cannot go on; the message is one sentence for the person who started it."""

    exit_code = 2


class RecipeError(TrainingError):
    """A recipe's parts do not fit together; the message names the recipe, the player and the net."""

    def __init__(self, recipe: str, mistake: str, *, player: str | None = None, net: str | None = None) -> None:
        parts = [("recipe", recipe), ("player", player), ("net", net)]
        super().__init__(f"{', '.join(f'{kind} {name}' for kind, name in parts if name)}: {mistake}")


def first_line(error: BaseException) -> str:
    """The first line of an error's message, or its kind where it has no message."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


class OutOfMemory(TrainingError):
    """The device has not enough memory; it says nothing of the files that were being read."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(f"not enough memory ({first_line(error)}): use a smaller --batch or --size, or a _small recipe")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error of Python's or torch's allocators says that there is no memory."""
    names = {kind.__name__ for kind in type(error).__mro__}
    return bool(names & {"MemoryError", "OutOfMemoryError"}) or "can't allocate memory" in str(error)


class AdoptError(TrainingError):
    """A generator from elsewhere cannot be served; the message names what is wrong with it or with its options."""


class ScoreError(TrainingError):
    """A model cannot be measured as asked; the message says why and what would do."""


class NonFinite(TrainingError):
    """A loss is not finite."""

    exit_code = 3

    def __init__(self, *, step: int, player: str, tensor: str) -> None:
        """Args: ``tensor`` is the first one that is not finite; empty where that is unknown."""
        first = f"; the first tensor that is not: {tensor}" if tensor else ""
        super().__init__(f"step {step}: the loss of {player} is not finite{first}")
        self.step = step
        self.player = player
        self.tensor = tensor


class CheckpointError(TrainingError):
    """No checkpoint can be continued from."""

    exit_code = 4


class ExportError(TrainingError):
    """The generator cannot be exported, or its file does not compute what the nets compute."""

    exit_code = 5


class LostRank(TrainingError):
    """Another process of the run has ended or does not answer."""

    exit_code = 6

    def __init__(self, error: BaseException) -> None:
        super().__init__(f"another rank has ended or does not answer, its own messages say why ({first_line(error)})")
