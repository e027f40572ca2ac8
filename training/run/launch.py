"""How a run is started from the command line: where it plays, who may look at it, how it is stopped, and that it is alone."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from rich.console import Console

from training.errors import TrainingError
from training.report.meters import MetricsSink, PrometheusMetrics, null_sink, serve_metrics
from training.run.config import RunConfig
from training.run.context import JobContext
from training.run.job import train

Device = Literal["auto", "cpu", "cuda"]


class Page(NamedTuple):
    """Where Prometheus may look; nowhere without a port."""

    address: str
    port: int | None

    def show(self, run: Path, steps: int) -> AbstractContextManager[MetricsSink]:
        """Raises TrainingError when nobody can listen there."""
        return (
            nullcontext(null_sink)
            if self.port is None
            else serve_metrics(PrometheusMetrics(run, steps), self.address, self.port)
        )


def launch(
    config: RunConfig, run: Path, device: Device, console: Console, *, page: Page, checkpoints: int, is_fresh: bool = False
) -> int:
    """Play a plan to its end, or until SIGTERM or SIGINT, which a checkpoint follows.

    Args:
        plan: what is played.
        run: its directory.
        device: where.
        console: where it says how far it is.
        page: where Prometheus may look.
        checkpoints: how many over the run.
        is_fresh: throw away what the directory holds.

    Returns:
        The exit code: 0, or 128 and the signal's number.

    Raises:
        TrainingError: it cannot be played.
    """
    require_single_process(os.environ)
    if checkpoints < 1:
        raise TrainingError(f"--checkpoints must be at least 1, got {checkpoints}")
    stop = _Stop()
    with page.show(run, config.resolve().steps) as watch:
        setting = JobContext(
            run=run,
            device=device_of(device),
            environ=os.environ,
            console=console,
            checkpoints=checkpoints,
            watch=watch,
            is_stopped=stop.is_asked,
        )
        return 0 if train(config, setting, is_fresh=is_fresh) else 128 + stop.signal


@dataclass
class _Stop:
    """Turns SIGTERM and SIGINT into a question that the loop asks after each step."""

    signal: int = 0

    def __post_init__(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._ask)

    def _ask(self, number: int, frame: object) -> None:
        self.signal = number

    def is_asked(self) -> bool:
        return self.signal != 0


def device_of(name: Device) -> torch.device:
    """``auto`` is CUDA where there is a GPU; raises TrainingError when CUDA is asked for and not there."""
    has_cuda = torch.cuda.is_available()
    if name == "cuda" and not has_cuda:
        raise TrainingError("--device cuda: torch sees no CUDA device here; use cpu or auto")
    return torch.device("cuda" if has_cuda and name != "cpu" else "cpu")


def require_single_process(environ: Mapping[str, str]) -> None:
    """Refuse to be one of several processes: each would play the whole game by itself, in one run directory.

    Args:
        environ: torchrun sets ``WORLD_SIZE`` in it, to the number of processes on all nodes together.

    Raises:
        TrainingError: there are more processes than this one.
    """
    size = environ.get("WORLD_SIZE", "1")
    if size != "1":
        raise TrainingError(
            f"WORLD_SIZE must be 1, got {size!r}: a run is played by one process; use torchrun --nnodes=1 --nproc-per-node=1"
        )
