"""Which weights of a run are exported: those of its last step, or those of the evaluation with the lowest KID."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from training.data import DataSet
from training.errors import OutOfMemory, TrainingError, first_line, is_out_of_memory
from training.files import CONFIG
from training.game.loop import Game
from training.metrics.classifier import has_classifier
from training.report.meters import KID
from training.run.checkpoint import BEST, Damaged, read, write
from training.run.context import JobContext


class BestKeeper:
    """Keeps the state of the evaluation with the lowest KID so far in a file of its own.

    A resumed run may find the file of a step that it has not reached yet: it repeats that step bit for bit, so the file stays.
    One of a step past its last, as when it was killed and goes on for fewer steps, counts for nothing.
    """

    def __init__(self, run: Path, last_step: int, say: Callable[[str], None]) -> None:
        """Args: ``last_step`` is the run's; ``say`` prints a warning where the file of an earlier process is damaged."""
        self._path = run / BEST
        self._kid = math.inf
        try:
            state = _load(self._path, torch.device("cpu"), last_step)
            self._kid = math.inf if state is None else kid_of(state)
        except Damaged as error:
            say(f"{self._path.name} cannot be read, the lowest KID is sought anew: {first_line(error)}")

    def offer(self, game: Game) -> None:
        """Keep the game's state if the KID that was just measured is the lowest; without a classifier there is none."""
        kid = kid_of(state := game.state())
        if kid < self._kid:
            write(self._path, state)
            self._kid = kid


def kid_of(state: dict[str, Any]) -> float:
    """The KID of a state's last evaluation; infinite where none was measured."""
    return float(state["latest"].get(KID, math.inf))


def require_kid(asked: str | None, data: DataSet) -> None:
    """Refuse ``--export best`` where no KID is measured.

    Raises:
        TrainingError: the data have no classifier.
    """
    if asked == "best" and not has_classifier(data):
        raise TrainingError(
            f"--export best chooses by KID, for which {data.name} has no classifier, since that needs labelled images of at "
            "least 8x8 pixels: use --export last"
        )


def require_best(asked: str | None, run: Path) -> None:
    """Refuse ``--export best`` of a run that measured no KID.

    Raises:
        TrainingError: there is no such checkpoint.
    """
    if asked == "best" and not (run / BEST).exists():
        raise TrainingError(f"{run} has no {BEST}, none of its evaluations measured KID: use --export last")


def choose(game: Game, context: JobContext) -> str:
    """Put the state that the recipe exports into a game at its last step, and say why it was chosen, for the card.

    Returns:
        The reason; empty for the last step, as also where no KID was measured.

    Raises:
        TrainingError: the checkpoint of the lowest KID is damaged, or of other nets.
    """
    if game.recipe.export == "last":
        return ""
    try:
        state = _load(context.run / BEST, game.device, game.recipe.steps)
    except Damaged as error:
        raise TrainingError(f"{context.run / BEST} cannot be read ({first_line(error)}): use --export last") from None
    if state is None:
        if kid_of(game.state()) < math.inf and not (context.run / BEST).exists():
            context.say(f"{context.run / BEST}, the checkpoint of the lowest KID, is missing: the last step is exported")
        return ""
    last = f"the last, by step {game.step:,}, is {kid_of(game.state()):.4g}"
    restore(game, state, context.run / BEST)
    reason = f"lowest KID of the run, {kid_of(state):.4g} at step {game.step:,}; {last}"
    context.say(f"chosen for the {reason}")
    return reason


def restore(game: Game, state: dict[str, Any], source: Path) -> None:
    """Bring a game to a state that was read from ``source``.

    Raises:
        TrainingError: the state is of other nets; OutOfMemory: there is no memory for it.
    """
    try:
        game.restore(state)
    except (RuntimeError, KeyError, ValueError) as error:
        if is_out_of_memory(error):
            raise OutOfMemory(error) from None
        why = (str(error).splitlines()[1:2] or [str(error)])[0].strip()  # torch's first line says only that there were errors
        raise TrainingError(f"the checkpoint in {source} is of other nets than its {CONFIG}: {why[:300]}") from None


def _load(path: Path, device: torch.device, last_step: int) -> dict[str, Any] | None:
    """The state in that file; None where there is none, or one of a step past the last."""
    try:
        state = read(path, device=device)
        return state if state["step"] <= last_step else None
    except FileNotFoundError:
        return None
