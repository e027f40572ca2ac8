"""The training job's command line: ``python -m training COMMAND``."""

from __future__ import annotations

import os
import sys

from training.interrupts import quiet_interrupts

if __name__ == "__main__":
    quiet_interrupts()  # before torch is imported, which takes seconds

from contextlib import redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import torch
import tyro
from rich.console import Console
from rich.table import Column, Table

from contract import CardError
from training.adopt.command import Adopt
from training.data import CATALOGUE as DATA
from training.data import DataError, absolute
from training.errors import OutOfMemory, TrainingError, is_out_of_memory
from training.export.model_card import ExportCard
from training.files import find_config, model_file, write_whole
from training.game.recipe import Choice
from training.outputs import lasting
from training.recipes import CATALOGUE, DEFAULT
from training.recipes.page import fill
from training.recipes.systems import SYSTEMS, served
from training.run.checkpoint import KEEP
from training.run.compare import Gmam, Reconstruct
from training.run.complete import Complete
from training.run.config import RunConfig, read_config
from training.run.context import CHECKPOINT_SECONDS, CHECKPOINTS, JobContext
from training.run.examine import examine_run
from training.run.job import export_run
from training.run.launch import Device, Page, Saving, launch
from training.run.seeds import parse_seeds
from training.subcommands import parse_command
from training.threads import limit_threads


@dataclass(frozen=True, kw_only=True)
class Train:
    """Train a recipe and export its generator. An interrupted run continues from its newest checkpoint.

    A gate decides which players may update: all (always), only the one with the greater loss (worse-only), all but a D that is
    too strong or a G that is too weak (equilibrium), or all but one whose loss is ten times less (loss-ratio).

    The precision auto is bfloat16 where a short measurement shows it to be faster and the recipe was shown to lose nothing by
    it, else float32. A run keeps the precision that it began with.

    A checkpoint follows an evaluation of the samples if the newest one is at least --checkpoint-seconds old. The last step and
    a signal to stop save one in any case.
    """

    recipe: Annotated[str, tyro.conf.Positional] = DEFAULT
    """Recipe; `list` shows all."""
    data: str | None = None
    """Data set, or folder:PATH; by default the recipe's own."""
    size: int | None = None
    """Side of the images in pixels; by default the recipe's own."""
    steps: int | None = None
    """Total number of steps, also of a run that goes on; by default the recipe's own number."""
    batch: int | None = None
    """Real samples per batch; by default the recipe's own number."""
    gate: Literal["always", "worse-only", "equilibrium", "loss-ratio"] | None = None
    """Gate of the updates; by default the recipe's own."""
    seed: int = 0
    """Random seed."""
    seeds: str | None = None
    """Several seeds, trained at once, such as 0-39 or 3,5,7: for small dense nets; into OUT-seed0, OUT-seed1 and so on."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Numbers in which the nets compute."""
    out: Path | None = None
    """Run directory; by default runs/RECIPE-DATA."""
    device: Device = "auto"
    """Device; auto is CUDA where there is a GPU."""
    fresh: bool = False
    """Start again from step 0: delete the run that the directory holds. Without it that run goes on."""
    checkpoints: int = CHECKPOINTS
    """Number of evaluations of the samples, evenly spread; a checkpoint may follow each. Training does not depend on it."""
    checkpoint_seconds: float = CHECKPOINT_SECONDS
    """Least time in seconds between two checkpoints."""
    keep: int = KEEP
    """Number of newest checkpoints that are kept, in addition to best.pt, that of the lowest KID."""
    export: Choice | None = None
    """Weights to export: of the evaluation with the lowest KID, or of the last step; by default as the recipe says."""
    metrics_port: int | None = None
    """Serve Prometheus metrics of the run at http://METRICS_ADDRESS:METRICS_PORT/metrics."""
    metrics_address: str = "127.0.0.1"
    """Address of the metrics page; a container needs 0.0.0.0."""

    def __call__(self, console: Console) -> int:
        config = RunConfig(
            recipe=self.recipe,
            data=self.data,
            size=self.size,
            steps=self.steps,
            batch=self.batch,
            gate=self.gate,
            seed=self.seed,
            precision=self.precision,
            export=self.export,
        )
        recipe = config.resolve()
        if self.out is not None and not self.out.name:
            what = "the current one" if self.out == Path() else f"{self.out}, which has no name"
            raise TrainingError(f"--out must name a folder of its own, not {what}")
        run = self.out or Path("runs") / f"{recipe.name}-{recipe.data.replace(':', '-').replace('/', '-')}"
        if ":" in recipe.data:  # a folder, so that later commands find it from any directory
            config = replace(config, data=absolute(recipe.data))
        page = Page(self.metrics_address, self.metrics_port)
        saving = Saving(self.checkpoints, self.checkpoint_seconds, self.keep)
        if self.seeds is not None and self.seed != 0:
            raise TrainingError(f"--seed {self.seed} and --seeds {self.seeds} exclude each other")
        seeds = parse_seeds(self.seeds) if self.seeds is not None else ()
        return launch(config, run, self.device, console, page=page, saving=saving, is_fresh=self.fresh, seeds=seeds)


@dataclass(frozen=True, kw_only=True)
class Resume:
    """Continue an interrupted run, or train a finished one longer."""

    run: tyro.conf.Positional[Path]
    """Run directory."""
    steps: int | None = None
    """Last step; by default the one that the run was started with."""
    device: Device = "auto"
    """Device; auto is CUDA where there is a GPU."""
    checkpoints: int = CHECKPOINTS
    """Same as for `train`."""
    checkpoint_seconds: float = CHECKPOINT_SECONDS
    """Same as for `train`."""
    keep: int = KEEP
    """Same as for `train`."""
    export: Choice | None = None
    """Same as for `train`; by default as the run was started."""
    metrics_port: int | None = None
    """Same as for `train`."""
    metrics_address: str = "127.0.0.1"
    """Same as for `train`."""

    def __call__(self, console: Console) -> int:
        config = read_config(self.run)
        config = replace(config, export=self.export or config.export)
        page = Page(self.metrics_address, self.metrics_port)
        saving = Saving(self.checkpoints, self.checkpoint_seconds, self.keep)
        longer = config if self.steps is None else replace(config, steps=self.steps)
        return launch(longer, self.run, self.device, console, page=page, saving=saving)


@dataclass(frozen=True, kw_only=True)
class Export:
    """Export a run again, without training."""

    run: tyro.conf.Positional[Path]
    """Run directory."""
    variant: str | None = None
    """Variant of the recipe: another way to sample the same nets, written to model-VARIANT.onnx; `list` shows them."""
    export: Choice | None = None
    """best is the evaluation with the lowest KID, last the newest checkpoint; by default as the run was started."""

    def __call__(self, console: Console) -> int:
        context = JobContext(run=self.run, device=torch.device("cpu"), environ=os.environ, console=console)
        export_run(context, self.variant, self.export)
        return 0


@dataclass(frozen=True, kw_only=True)
class Score:
    """Measure an exported model against real data: KID, FID, precision, recall and more; docs/MEASURES.md defines them.

    Of a run directory it also measures the other nets where the recipe says how: the errors of a classifier or of a code.
    """

    model: tyro.conf.Positional[Path]
    """Model file, or the run directory that holds it."""
    data: str | None = None
    """Data set to compare with; by default the model's own."""
    classifier: str | None = None
    """Data set whose classifier is used; by default the one to compare with."""
    samples: int | None = None
    """Number of samples, of the seeds from 0 on; by default 10,000, and 26,000 for stackedmnist. pix2pix takes all images."""
    nearest: int | None = None
    """Number of samples on which the 1-NN classifier is fitted; by default all that are measured."""

    def __call__(self, console: Console) -> int:
        from training.metrics.command import run_score

        context = JobContext(run=self.model, device=torch.device("cpu"), environ=os.environ, console=console)
        config = read_config(self.model) if self.model.is_dir() and find_config(self.model) else None
        if config and config.resolve().needs_picture:
            from training.run.transformed import examine_transformed, refuse_options

            refuse_options(config.recipe, data=self.data, classifier=self.classifier, nearest=self.nearest)
            examine_transformed(context, self.samples)
            return 0
        scored = run_score(
            model_file(self.model),
            data=self.data,
            classifier_data=self.classifier,
            samples=self.samples,
            nearest=self.nearest,
            environ=os.environ,
            console=console,
        )
        if config:
            examine_run(context, scored["steps"])
        return 0


@dataclass(frozen=True, kw_only=True)
class List:
    """List the recipes with their papers, the systems and the data sets."""

    markdown: Path | None = None
    """Markdown page; the tables of recipes and data sets are written between its markers instead of being printed."""

    def __call__(self, console: Console) -> int:
        if self.markdown:
            try:
                page = fill(self.markdown.read_bytes().decode())
            except UnicodeDecodeError:
                raise TrainingError(f"--markdown must name a page of text, got {self.markdown}") from None
            write_whole(self.markdown, page.encode())
            return 0
        table = Table(Column("recipe", style="bold", no_wrap=True), "what it is", box=None, pad_edge=False)
        for recipe in CATALOGUE.values():
            table.add_row(recipe.name, f"{recipe.summary} [dim]({recipe.data})\n{recipe.paper}[/dim]")
            for variant in recipe.variants:
                table.add_row(f"  {recipe.name}-{variant.name}", f"{variant.summary} [dim](export --variant)[/dim]")
        console.print(table)
        systems = Table(Column("system", style="bold", no_wrap=True), "served by, recipes", box=None, pad_edge=False)
        for system in SYSTEMS:
            systems.add_row(system.name, f"{served(system).replace('`', '')}\n[dim]{', '.join(system.names)}[/dim]")
        console.print("", systems, sep="\n")
        console.print("\ndata sets", style="bold")
        for name, entry in DATA.items():
            console.print(f"  {name:14} {entry.about}", highlight=False)
        return 0


COMMANDS = {
    "train": Train,
    "resume": Resume,
    "export": Export,
    "adopt": Adopt,
    "card": ExportCard,
    "score": Score,
    "gmam": Gmam,
    "reconstruct": Reconstruct,
    "complete": Complete,
    "list": List,
}


def main(arguments: list[str], prog: str = "python -m training") -> int:
    """Run the command line; returns the exit code, as listed in ``training.errors``."""
    with (  # where the caller has closed an output, Python has none
        open(os.devnull, "w") as nowhere,
        redirect_stdout(lasting(sys.stdout or nowhere)),
        redirect_stderr(lasting(sys.stderr or nowhere)),
    ):
        return _run(arguments, prog)


def _run(arguments: list[str], prog: str) -> int:
    """Run the command line and print what went wrong."""
    console = Console(width=None if sys.stdout.isatty() else 132, emoji=False)
    command = parse_command(COMMANDS, prog, arguments)
    limit_threads(os.environ)
    try:
        return int(command(console))
    except (TrainingError, DataError, CardError) as error:
        return _report(str(error), getattr(error, "exit_code", 2))
    except OSError as error:  # a full or read-only disk, a folder that cannot be made
        return _report(f"{error.strerror or error}: {error.filename or 'while writing'}", 2)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        return _report(str(OutOfMemory(error)), OutOfMemory.exit_code)


def _report(message: str, exit_code: int) -> int:
    """Print one sentence in red, with the rank where there are several, and return the exit code."""
    rank = "" if os.environ.get("WORLD_SIZE", "1") == "1" else f" on rank {os.environ.get('RANK', '?')}"
    with suppress(OSError):  # stderr may be on the disk that is full
        console = Console(stderr=True, style="bold red", emoji=False, markup=False, highlight=False, soft_wrap=True)
        console.print(f"error{rank}: {message}")
    return exit_code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
