"""Where a job runs, how often it saves, and how it is stopped."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console

from training.data import DataSet
from training.files import cache_folder
from training.game.ranks import ALONE, Ranks
from training.metrics.classifier import Classifier, classifier_for
from training.metrics.command import CLASSIFIERS
from training.report.meters import MetricsSink, null_sink
from training.run.checkpoint import KEEP

CHECKPOINTS = 10
CHECKPOINT_SECONDS = 30.0


@dataclass(frozen=True, kw_only=True)
class JobContext:
    """What a job receives from its caller."""

    run: Path
    """Run directory, where all output is written."""
    device: torch.device
    """Device of nets and data."""
    environ: Mapping[str, str]
    """Environment; ``DATA_ROOT``, ``XDG_CACHE_HOME`` and ``HOME`` are read."""
    console: Console
    """Terminal output."""
    ranks: Ranks = ALONE
    """The processes that share the run; only rank 0 writes."""
    grids: int = 40
    """Sample grids per run, each a frame of the time-lapse."""
    checkpoints: int = CHECKPOINTS
    """Evaluations of the samples per run; a checkpoint may follow each."""
    checkpoint_seconds: float = CHECKPOINT_SECONDS
    """Least time between two checkpoints; the last step and a stop save one in any case."""
    keep: int = KEEP
    """Newest checkpoints that are kept, besides that of the lowest KID."""
    watch: MetricsSink = null_sink
    """Receives each step that is recorded."""
    check: Callable[[], None] = lambda: None
    """Called before the run directory is written to; raises TrainingError once it is no longer this job's."""
    is_stopped: Callable[[], bool] = lambda: False
    """Called after each step; True saves a checkpoint and ends the job."""
    is_save_requested: Callable[[], bool] = lambda: False
    """Called after each step; True saves a checkpoint, and the job goes on."""

    def say(self, text: str) -> None:
        """Print a sentence as it is, without colours."""
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def classifier_of(self, data: DataSet) -> Classifier:
        """The classifier of a data set, on the job's device, from the cache or trained now.

        Raises:
            ScoreError: the data has no labels, or is not images.
        """
        return classifier_for(data, cache=cache_folder(self.environ) / CLASSIFIERS, device=self.device, say=self.say)
