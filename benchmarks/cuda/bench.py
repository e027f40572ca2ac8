"""What every stage is handed: the device, how much is done, the time left, and games by recipe."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from rich.console import Console

from training.data import DataSet, load
from training.game.loop import Game
from training.run import checkpoint
from training.run.config import RunConfig
from training.run.context import JobContext


@dataclass(frozen=True, kw_only=True)
class Scale:
    """How much of everything is done."""

    steps: int | None
    """Of training; None is the recipe's own number, as far as the time goes."""
    batch: int | None
    """Real samples a step; None is the recipe's own number."""
    twin_steps: int
    """Of each of two runs that are compared."""
    sizes: tuple[int, ...]
    """Batch sizes at which rows are compared."""
    rate_s: float
    """How long each rate is measured."""


SIZES = tuple(sorted(range(1, 65), key=lambda size: (size.bit_count() > 1, size)))
"""1 to 64, the powers of two first, in case that the time is over before the last."""
FULL = Scale(steps=None, batch=None, twin_steps=200, sizes=SIZES, rate_s=0.4)
TINY = Scale(steps=2, batch=8, twin_steps=2, sizes=(1, 2, 3, 8, 64), rate_s=0.0)


@dataclass(kw_only=True)
class Bench:
    """The state of a check under way."""

    device: torch.device
    data: str
    folder: Path
    """Where runs and models go."""
    environ: Mapping[str, str]
    scale: Scale
    console: Console
    left_s: Callable[[], float] = lambda: 0.0
    """Seconds that the present stage still has."""
    _data: dict[int | None, DataSet] = field(default_factory=dict)

    def share(self, seconds: float) -> Callable[[], float]:
        """Seconds left of a part of the stage that begins now, asked again and again."""
        reserve_s = max(self.left_s() - seconds, 0.0)
        return lambda: self.left_s() - reserve_s

    def run_of(self, recipe: str) -> Path:
        return self.folder / recipe

    def config(self, recipe: str, *, seed: int = 0) -> RunConfig:
        return RunConfig(recipe=recipe, data=self.data, steps=self.scale.steps, batch=self.scale.batch, seed=seed)

    def setting(self, recipe: str) -> JobContext:
        """Where the job plays it; it is stopped when the stage's time is over."""
        return JobContext(
            run=self.run_of(recipe),
            device=self.device,
            environ=self.environ,
            console=self.console,
            is_stopped=lambda: self.left_s() <= 0,
        )

    def game(self, recipe: str, *, seed: int = 0) -> tuple[Game, DataSet]:
        """A game before its first step."""
        config = self.config(recipe, seed=seed)
        resolved = config.resolve()
        if resolved.size not in self._data:
            self._data[resolved.size] = load(self.data, size=resolved.size, environ=self.environ).to(self.device)
        data = self._data[resolved.size]
        return Game(resolved, data, seed=config.seed), data

    def trained(self, recipe: str) -> tuple[Game, DataSet]:
        """The game as its run left it; before its first step if there was none."""
        game, data = self.game(recipe)
        state, _ = checkpoint.load_newest(self.run_of(recipe), device=self.device)
        if state is not None:
            game.restore(state)
        return game, data


def new_bench(device: str, data: str, folder: Path, environ: Mapping[str, str], *, is_tiny: bool) -> Bench:
    """A bench on that device, its words on standard output."""
    console = Console(width=None if Console().is_terminal else 160)
    scale = TINY if is_tiny else FULL
    return Bench(device=torch.device(device), data=data, folder=folder, environ=environ, scale=scale, console=console)
