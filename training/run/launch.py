"""Start a run from the command line: its device, its metrics page, its signals, and the check that it is one process."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from rich.console import Console

from training.errors import TrainingError
from training.report.meters import MetricsSink, PrometheusMetrics, null_sink, serve_metrics
from training.run.config import RunConfig
from training.run.context import JobContext
from training.run.job import train
from training.run.seeds import train_seeds

Device = Literal["auto", "cpu", "cuda"]


class Page(NamedTuple):
    """Address of the metrics page; without a port there is none."""

    address: str
    port: int | None

    def serve(self, run: Path, steps: int) -> AbstractContextManager[MetricsSink]:
        """Serve the page during the run; raises TrainingError when the address cannot be listened on."""
        return (
            nullcontext(null_sink)
            if self.port is None
            else serve_metrics(PrometheusMetrics(run, steps), self.address, self.port)
        )


class Saving(NamedTuple):
    """How often a run saves."""

    checkpoints: int
    """Evaluations per run, each of which a checkpoint may follow."""
    seconds: float
    """Least time between two checkpoints."""


def launch(
    config: RunConfig,
    run: Path,
    device: Device,
    console: Console,
    *,
    page: Page,
    saving: Saving,
    is_fresh: bool = False,
    seeds: Sequence[int] = (),
) -> int:
    """Train to the last step, or until SIGTERM or SIGINT, after which a checkpoint is saved; SIGUSR1 saves one and goes on.

    Args:
        config: configuration of the run.
        run: run directory.
        device: device of nets and data.
        console: terminal output.
        page: address of the metrics page.
        saving: number and least distance of checkpoints.
        is_fresh: delete the run that the directory holds.
        seeds: seeds to train together, each in a directory named after ``run``; none trains the configuration's seed.

    Returns:
        Exit code: 0, or 128 + the signal's number.

    Raises:
        TrainingError: the run cannot start or go on.
    """
    require_single_process(os.environ)
    if saving.checkpoints < 1:
        raise TrainingError(f"--checkpoints must be at least 1, got {saving.checkpoints}")
    if seeds and page.port is not None:
        raise TrainingError("--metrics-port shows one run: leave it out with --seeds")
    if not saving.seconds >= 0:
        raise TrainingError(f"--checkpoint-seconds must be at least 0, got {saving.seconds}")
    stop = _Stop()
    with page.serve(run, config.resolve().steps) as watch:
        context = JobContext(
            run=run,
            device=device_of(device),
            environ=os.environ,
            console=console,
            checkpoints=saving.checkpoints,
            checkpoint_seconds=saving.seconds,
            watch=watch,
            is_stopped=stop.is_requested,
            is_save_requested=stop.take_save_request,
        )
        start = partial(train_seeds, config, seeds) if seeds else partial(train, config)
        return 0 if start(context, is_fresh=is_fresh) else 128 + stop.signal


@dataclass
class _Stop:
    """Records SIGTERM, SIGINT and SIGUSR1 for the loop, which polls after each step."""

    signal: int = 0
    is_save_requested: bool = False

    def __post_init__(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        signal.signal(signal.SIGUSR1, self._on_save_request)

    def _on_signal(self, number: int, frame: object) -> None:
        self.signal = number

    def _on_save_request(self, number: int, frame: object) -> None:
        self.is_save_requested = True

    def take_save_request(self) -> bool:
        """Whether a checkpoint was asked for since the last call."""
        is_requested, self.is_save_requested = self.is_save_requested, False
        return is_requested

    def is_requested(self) -> bool:
        return self.signal != 0


def device_of(name: Device) -> torch.device:
    """``auto`` is CUDA where there is a GPU; raises TrainingError for ``cuda`` without one."""
    has_cuda = torch.cuda.is_available()
    if name == "cuda" and not has_cuda:
        raise TrainingError("--device cuda: torch sees no CUDA device here; use cpu or auto")
    return torch.device("cuda" if has_cuda and name != "cpu" else "cpu")


def require_single_process(environ: Mapping[str, str]) -> None:
    """Refuse to be one of several processes: each would train the whole game by itself, in one run directory.

    Args:
        environ: environment, in which torchrun sets ``WORLD_SIZE`` to the number of processes on all nodes.

    Raises:
        TrainingError: there are several processes.
    """
    size = environ.get("WORLD_SIZE", "1")
    if size != "1":
        raise TrainingError(
            f"WORLD_SIZE must be 1, got {size!r}: a run is one process; use torchrun --nnodes=1 --nproc-per-node=1"
        )
