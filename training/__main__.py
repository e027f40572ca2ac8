"""The training job's command line: ``python -m training train|resume|export|score|list``."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Literal

import torch
import tyro
from rich.console import Console
from rich.table import Column, Table

from training.data import CATALOGUE as DATA
from training.data import DataError
from training.errors import TrainingError
from training.job import export_run, train
from training.plan import Plan, read_plan
from training.recipes import CATALOGUE, DEFAULT
from training.setting import Setting

Device = Literal["auto", "cpu", "cuda"]


@dataclass(frozen=True, kw_only=True)
class Train:
    """Play a recipe and export its generator. A run that was interrupted goes on where it stopped."""

    recipe: Annotated[str, tyro.conf.Positional] = DEFAULT
    """Name of the recipe; `list` shows them."""
    data: str | None = None
    """Data set, or folder:PATH; the recipe's own unless given."""
    size: int | None = None
    """Side of the images."""
    steps: int | None = None
    """Training steps."""
    batch: int | None = None
    """Real samples a step."""
    gate: Literal["always", "worse-only", "loss-ratio"] | None = None
    """Who may move: everyone, only the player that is doing worse, or all but one that is ten times ahead."""
    seed: int = 0
    """Of everything random."""
    out: Path | None = None
    """Run directory; runs/RECIPE-DATA unless given."""
    device: Device = "auto"
    """auto takes CUDA where there is a GPU."""
    fresh: bool = False
    """Throw away what the run directory holds."""

    def __call__(self, console: Console) -> int:
        plan = Plan(recipe=self.recipe, data=self.data, size=self.size, steps=self.steps, batch=self.batch, gate=self.gate,
                    seed=self.seed)  # fmt: skip
        recipe = plan.resolve()
        run = self.out or Path("runs") / f"{recipe.name}-{recipe.data.replace(':', '-').replace('/', '-')}"
        return _run(plan, run, self.device, console, is_fresh=self.fresh)


@dataclass(frozen=True, kw_only=True)
class Resume:
    """Go on with an interrupted run."""

    run: tyro.conf.Positional[Path]
    """Run directory."""
    steps: int | None = None
    """Play to this step instead of the one that was planned."""
    device: Device = "auto"
    """auto takes CUDA where there is a GPU."""

    def __call__(self, console: Console) -> int:
        plan = read_plan(self.run)
        return _run(plan if self.steps is None else replace(plan, steps=self.steps), self.run, self.device, console)


@dataclass(frozen=True, kw_only=True)
class Export:
    """Export the newest checkpoint of a run again."""

    run: tyro.conf.Positional[Path]
    """Run directory."""

    def __call__(self, console: Console) -> int:
        export_run(Setting(run=self.run, device=torch.device("cpu"), environ=os.environ, console=console))
        return 0


@dataclass(frozen=True, kw_only=True)
class Score:
    """Measure an exported model: KID, FID, class histogram, Parzen log-likelihood, or what suits a toy game."""

    model: tyro.conf.Positional[Path]
    """The model.onnx, or the run directory that holds it."""
    data: str | None = None
    """Data set to compare with; the model's own unless given."""
    judge: str | None = None
    """Data set whose classifier judges; the same unless given."""
    samples: int = 10_000
    """How many samples are drawn."""

    def __call__(self, console: Console) -> int:
        from training.metrics.command import run_score

        model = self.model / "model.onnx" if self.model.is_dir() else self.model
        run_score(model, data=self.data, judge_data=self.judge, samples=self.samples, environ=os.environ, console=console)
        return 0


@dataclass(frozen=True)
class List:
    """Show every recipe with its paper, and every data set."""

    def __call__(self, console: Console) -> int:
        table = Table(Column("recipe", style="bold", no_wrap=True), "what it is", box=None, pad_edge=False)
        for recipe in CATALOGUE.values():
            table.add_row(recipe.name, f"{recipe.summary} [dim]({recipe.data})\n{recipe.paper}[/dim]")
        console.print(table)
        console.print("\ndata sets", style="bold")
        for name, entry in DATA.items():
            console.print(f"  {name:14} {entry.about}", highlight=False)
        return 0


def _run(plan: Plan, run: Path, device: Device, console: Console, *, is_fresh: bool = False) -> int:
    stop = _Stop()
    setting = Setting(run=run, device=_device(device), environ=os.environ, console=console, is_stopped=stop.is_asked)
    return 0 if train(plan, setting, is_fresh=is_fresh) else 128 + stop.signal


@dataclass
class _Stop:
    """Turns SIGTERM and SIGINT into a question that the loop asks after each step."""

    signal: int = 0
    _restore: list[Callable[[], object]] = field(default_factory=list)

    def __post_init__(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._ask)

    def _ask(self, number: int, frame: object) -> None:
        self.signal = number

    def is_asked(self) -> bool:
        return self.signal != 0


def _device(name: Device) -> torch.device:
    """Raises TrainingError when CUDA is asked for and not there."""
    has_cuda = torch.cuda.is_available()
    if name == "cuda" and not has_cuda:
        raise TrainingError("--device cuda: torch sees no CUDA device here; use cpu or auto")
    return torch.device("cuda" if has_cuda and name != "cpu" else "cpu")


def main(arguments: list[str]) -> int:
    """Run the command line; the answer is the exit code, as ``training.errors`` lists them."""
    console = Console(width=None if sys.stdout.isatty() else 132)
    command = tyro.extras.subcommand_cli_from_dict(
        {"train": Train, "resume": Resume, "export": Export, "score": Score, "list": List},
        prog="python -m training", args=arguments,
    )  # fmt: skip
    try:
        return int(command(console))
    except (TrainingError, DataError) as error:
        Console(stderr=True).print(f"error: {error}", style="bold red", markup=False, highlight=False, soft_wrap=True)
        return getattr(error, "exit_code", 2)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
