"""Where a job runs, and who may stop it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console

from training.report.meters import MetricsSink, null_sink

CHECKPOINTS = 10
"""A run, unless somebody wants more."""


@dataclass(frozen=True, kw_only=True)
class JobContext:
    """What a job is given by its caller."""

    run: Path
    """The run directory; everything that comes out is written there."""
    device: torch.device
    """Where nets and data lie."""
    environ: Mapping[str, str]
    """``DATA_ROOT``, ``XDG_CACHE_HOME`` and ``HOME`` are looked at."""
    console: Console
    """What the person sees."""
    grids: int = 40
    """Sample grids a run, and so frames of the time-lapse."""
    checkpoints: int = CHECKPOINTS
    """Checkpoints a run, each after a look whether the samples have collapsed."""
    watch: MetricsSink = null_sink
    """Told of each step that is recorded."""
    is_stopped: Callable[[], bool] = lambda: False
    """Asked after each step; True saves a checkpoint and ends the job."""
