"""Start a run from the command line: its device, its ranks, its metrics page and its signals."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from rich.console import Console

from training.errors import TrainingError
from training.report.meters import MetricsSink, PrometheusMetrics, null_sink, serve_metrics
from training.run.checkpoint import KEEP
from training.run.config import RunConfig
from training.run.context import JobContext
from training.run.directory import refuse_run_in_data
from training.run.follow import follow
from training.run.job import train
from training.run.ranks import joined, rank_count
from training.run.seeds import run_of, train_seeds

Device = Literal["auto", "cpu", "cuda"]
MOST_PORT = 2**16 - 1
"""The greatest number of a TCP port."""


class Page(NamedTuple):
    """Address of the metrics page; without a port there is none."""

    address: str
    port: int | None

    def serve(self, run: Path, steps: int, say: Callable[[str], None]) -> AbstractContextManager[MetricsSink]:
        """Serve the page during the run; raises TrainingError when there is no such port or it cannot be listened on."""
        if self.port is not None and not 0 <= self.port <= MOST_PORT:
            raise TrainingError(f"--metrics-port must be 0..{MOST_PORT}, got {self.port}")
        return (
            nullcontext(null_sink)
            if self.port is None
            else serve_metrics(PrometheusMetrics(run, steps), self.address, self.port, say)
        )


NO_PAGE = Page("", None)


class Saving(NamedTuple):
    """How often a run saves."""

    checkpoints: int
    """Evaluations per run, each of which a checkpoint may follow."""
    seconds: float
    """Least time between two checkpoints."""
    keep: int = KEEP
    """Newest checkpoints that are kept."""


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
    """Train to the last step, or until SIGTERM, SIGINT or SIGHUP, which save a checkpoint; SIGUSR1 saves one and goes on.

    Args:
        config: configuration of the run.
        run: run directory.
        device: device of nets and data.
        console: terminal output.
        page: address of the metrics page.
        saving: number and least distance of checkpoints, and how many are kept.
        is_fresh: delete the run that the directory holds.
        seeds: seeds to train together, each in a directory named after ``run``; none trains the configuration's seed.

    Returns:
        Exit code: 0, or 128 + the signal's number.

    Raises:
        TrainingError: the run cannot start or go on.
    """
    if seeds and rank_count(os.environ) > 1:
        raise TrainingError("--seeds trains in one process: leave torchrun out")
    if saving.checkpoints < 1:
        raise TrainingError(f"--checkpoints must be at least 1, got {saving.checkpoints}")
    if saving.keep < 1:
        raise TrainingError(f"--keep must be at least 1, got {saving.keep}")
    if seeds and page.port is not None:
        raise TrainingError("--metrics-port shows one run: leave it out with --seeds")
    if not saving.seconds >= 0:
        raise TrainingError(f"--checkpoint-seconds must be at least 0, got {saving.seconds}")
    recipe = config.resolve()
    refuse_run_in_data(run_of(run, seeds[0]) if seeds else run, recipe.data)
    own_device = device_of(device, local_rank=int(os.environ.get("LOCAL_RANK", "0")))
    with (
        joined(os.environ, own_device) as ranks,
        (NO_PAGE if ranks.rank else page).serve(run, recipe.steps, console.print) as watch,
    ):
        stop = _Stop(is_alone=ranks.size == 1)
        context = JobContext(
            run=run,
            device=own_device,
            environ=os.environ,
            console=console,
            ranks=ranks,
            checkpoints=saving.checkpoints,
            checkpoint_seconds=saving.seconds,
            keep=saving.keep,
            watch=watch,
            is_stopped=stop.is_requested,
            is_save_requested=stop.take_save_request,
        )
        start = partial(train_seeds, config, seeds) if seeds else partial(train, config)
        is_finished = follow(context) if ranks.rank else start(context, is_fresh=is_fresh)
        return 0 if is_finished else 128 + (stop.signal or signal.SIGTERM)  # without a signal: another rank received one


@dataclass
class _Stop:
    """Records SIGTERM, SIGINT, SIGHUP and SIGUSR1 for the loop, which polls after each step.

    SIGHUP comes when the terminal is closed; where it is ignored, as under nohup, it stays ignored.

    Before the first step there is nothing to save, and loading the data may take minutes: there a signal ends the job at once.
    The ranks of a run end together at the first step.
    """

    is_alone: bool
    """Whether no other rank waits for this one."""
    signal: int = 0
    is_save_requested: bool = False
    is_polled: bool = False

    def __post_init__(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
            signal.signal(signal.SIGHUP, self._on_signal)
        signal.signal(signal.SIGUSR1, self._on_save_request)

    def _on_signal(self, number: int, frame: object) -> None:
        self.signal = number
        if self.is_alone and not self.is_polled:
            raise SystemExit(128 + number)

    def _on_save_request(self, number: int, frame: object) -> None:
        self.is_save_requested = True

    def take_save_request(self) -> bool:
        """Whether a checkpoint was asked for since the last call."""
        is_requested, self.is_save_requested = self.is_save_requested, False
        return is_requested

    def is_requested(self) -> bool:
        self.is_polled = True
        return self.signal != 0


def device_of(name: Device, *, local_rank: int = 0) -> torch.device:
    """``auto`` is CUDA where there is a GPU; of several ranks on a node each takes the GPU of its number.

    Raises:
        TrainingError: there is no GPU for ``cuda``, or there are fewer than ranks.
    """
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "cuda" and not count:
        raise TrainingError("--device cuda: torch sees no CUDA device here; use cpu or auto")
    if name == "cpu" or not count:
        return torch.device("cpu")
    if local_rank >= count:
        raise TrainingError(f"each rank needs a GPU of its own, and here are {count}: use torchrun --nproc-per-node={count}")
    torch.cuda.set_device(local_rank)
    return torch.device("cuda")
