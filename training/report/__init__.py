"""What a run shows of itself: numbers, sample grids, curves and a time-lapse on disk, and a live line in the terminal."""

from training.report.progress import Progress
from training.report.recorder import Recorder

__all__ = ["Progress", "Recorder"]
