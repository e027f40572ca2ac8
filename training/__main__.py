"""The training job's command line: ``python -m training train|resume|export|score|gmam|reconstruct|list``."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import torch
import tyro
from rich.console import Console
from rich.table import Column, Table

from training.data import CATALOGUE as DATA
from training.data import DataError
from training.errors import TrainingError
from training.recipes import CATALOGUE, DEFAULT
from training.recipes.page import fill
from training.run.config import RunConfig, find_config, read_config
from training.run.context import CHECKPOINTS, JobContext
from training.run.job import examine_run, export_run
from training.run.launch import Device, Page, device_of, launch


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
    gate: Literal["always", "worse-only", "equilibrium", "loss-ratio"] | None = None
    """Who may move: everyone, only the player that is doing worse, all but one that is too good
    or too bad (equilibrium) or ten times ahead (loss-ratio)."""
    seed: int = 0
    """Of everything random."""
    out: Path | None = None
    """Run directory; runs/RECIPE-DATA unless given."""
    device: Device = "auto"
    """auto takes CUDA where there is a GPU."""
    fresh: bool = False
    """Throw away what the run directory holds."""
    checkpoints: int = CHECKPOINTS
    """How many over the run, each after a look at samples; what comes out is the same with any number."""
    metrics_port: int | None = None
    """Show the run to Prometheus at http://METRICS_ADDRESS:METRICS_PORT/metrics while it lasts."""
    metrics_address: str = "127.0.0.1"
    """Where that page listens; a container needs 0.0.0.0."""

    def __call__(self, console: Console) -> int:
        config = RunConfig(
            recipe=self.recipe,
            data=self.data,
            size=self.size,
            steps=self.steps,
            batch=self.batch,
            gate=self.gate,
            seed=self.seed,
        )
        recipe = config.resolve()
        run = self.out or Path("runs") / f"{recipe.name}-{recipe.data.replace(':', '-').replace('/', '-')}"
        page = Page(self.metrics_address, self.metrics_port)
        return launch(config, run, self.device, console, page=page, checkpoints=self.checkpoints, is_fresh=self.fresh)


@dataclass(frozen=True, kw_only=True)
class Resume:
    """Go on with an interrupted run."""

    run: tyro.conf.Positional[Path]
    """Run directory."""
    steps: int | None = None
    """Play to this step instead of the one that was planned."""
    device: Device = "auto"
    """auto takes CUDA where there is a GPU."""
    checkpoints: int = CHECKPOINTS
    """As of train."""
    metrics_port: int | None = None
    """As of train."""
    metrics_address: str = "127.0.0.1"
    """As of train."""

    def __call__(self, console: Console) -> int:
        config = read_config(self.run)
        page = Page(self.metrics_address, self.metrics_port)
        longer = config if self.steps is None else replace(config, steps=self.steps)
        return launch(longer, self.run, self.device, console, page=page, checkpoints=self.checkpoints)


@dataclass(frozen=True, kw_only=True)
class Export:
    """Export the newest checkpoint of a run again."""

    run: tyro.conf.Positional[Path]
    """Run directory."""

    def __call__(self, console: Console) -> int:
        export_run(JobContext(run=self.run, device=torch.device("cpu"), environ=os.environ, console=console))
        return 0


@dataclass(frozen=True, kw_only=True)
class Score:
    """Measure an exported model: KID, FID, class histogram, Parzen log-likelihood, or what suits a toy game.

    Of a run directory it also examines the other nets where the recipe says how: a classifier's errors, a code's.
    """

    model: tyro.conf.Positional[Path]
    """The model.onnx, or the run directory that holds it."""
    data: str | None = None
    """Data set to compare with; the model's own unless given."""
    judge: str | None = None
    """Data set whose classifier judges; the same unless given."""
    samples: int | None = None
    """How many samples are drawn; 10,000 unless given, 26,000 for stackedmnist."""
    nearest: int | None = None
    """How many samples the 1-NN classifier is fitted on; as many as samples unless given."""

    def __call__(self, console: Console) -> int:
        from training.metrics.command import run_score

        is_run = self.model.is_dir()
        model = self.model / "model.onnx" if is_run else self.model
        run_score(
            model,
            data=self.data,
            judge_data=self.judge,
            samples=self.samples,
            nearest=self.nearest,
            environ=os.environ,
            console=console,
        )
        if is_run and find_config(self.model):
            examine_run(JobContext(run=self.model, device=torch.device("cpu"), environ=os.environ, console=console))
        return 0


@dataclass(frozen=True, kw_only=True)
class Gmam:
    """Compare two runs by letting each one's discriminators judge the other's generator; positive: the second is better."""

    first: tyro.conf.Positional[Path]
    """Run directory."""
    second: tyro.conf.Positional[Path]
    """Run directory; the figure is written there."""
    samples: int = 10_000
    """Samples of each, and at most so many real ones."""
    first_lambda: float | None = None
    """How the first's discriminators are weighted: 0 their mean, inf the greatest value; as the game learned unless given."""
    second_lambda: float | None = None
    """The same of the second's."""
    device: Device = "auto"
    """auto takes CUDA where there is a GPU."""

    def __call__(self, console: Console) -> int:
        from training.run.compare import Weights, run_gmam

        setting = JobContext(run=self.second, device=device_of(self.device), environ=os.environ, console=console)
        run_gmam(self.first, setting, samples=self.samples, weights=Weights(first=self.first_lambda, second=self.second_lambda))
        return 0


@dataclass(frozen=True, kw_only=True)
class Reconstruct:
    """Measure how near a run's generator comes to images that it never saw, by gradient descent on the latents."""

    run: tyro.conf.Positional[Path]
    """Run directory."""
    images: int = 200
    """How many test images."""
    steps: int = 300
    """Moves from each start."""
    restarts: int = 2
    """Starts an image; the best counts."""
    device: Device = "auto"
    """auto takes CUDA where there is a GPU."""

    def __call__(self, console: Console) -> int:
        from training.metrics.reconstruction import Search
        from training.run.compare import run_reconstruction

        setting = JobContext(run=self.run, device=device_of(self.device), environ=os.environ, console=console)
        run_reconstruction(setting, images=self.images, search=Search(steps=self.steps, restarts=self.restarts))
        return 0


@dataclass(frozen=True, kw_only=True)
class List:
    """Show every recipe with its paper, and every data set."""

    markdown: Path | None = None
    """Markdown page; write both tables between its markers instead of printing them."""

    def __call__(self, console: Console) -> int:
        if self.markdown:
            self.markdown.write_text(fill(self.markdown.read_text()))
            return 0
        table = Table(Column("recipe", style="bold", no_wrap=True), "what it is", box=None, pad_edge=False)
        for recipe in CATALOGUE.values():
            table.add_row(recipe.name, f"{recipe.summary} [dim]({recipe.data})\n{recipe.paper}[/dim]")
        console.print(table)
        console.print("\ndata sets", style="bold")
        for name, entry in DATA.items():
            console.print(f"  {name:14} {entry.about}", highlight=False)
        return 0


def main(arguments: list[str]) -> int:
    """Run the command line; the answer is the exit code, as ``training.errors`` lists them."""
    console = Console(width=None if sys.stdout.isatty() else 132)
    command = tyro.extras.subcommand_cli_from_dict(
        {
            "train": Train,
            "resume": Resume,
            "export": Export,
            "score": Score,
            "gmam": Gmam,
            "reconstruct": Reconstruct,
            "list": List,
        },
        prog="python -m training",
        args=arguments,
    )
    try:
        return int(command(console))
    except (TrainingError, DataError) as error:
        Console(stderr=True).print(f"error: {error}", style="bold red", markup=False, highlight=False, soft_wrap=True)
        return getattr(error, "exit_code", 2)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
