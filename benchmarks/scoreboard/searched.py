"""Measures of what a search for latents finds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.scoreboard.measures import RUN, Measure, options_of, read_json
from benchmarks.scoreboard.results import Measurement
from training.metrics.completion import MaskKind


@dataclass(frozen=True, kw_only=True)
class Reconstructed(Measure):
    """The mean reconstruction error."""

    images: int = 1_000
    steps: int = 300
    restarts: int = 2

    def commands(self, opponents: Mapping[str, Path]) -> list[list[str]]:
        """One: reconstruct."""
        how = {"--images": self.images, "--steps": self.steps, "--restarts": self.restarts}
        return [["reconstruct", RUN, *options_of(how)]]

    def read(self, run: Path) -> Measurement:
        """What ``reconstruct`` wrote."""
        return Measurement(**read_json(run / "reconstruction.json"))


@dataclass(frozen=True, kw_only=True)
class Filled(Measure):
    """A figure of the completion of test images: ``psnr-gain`` in dB, ``accuracy-gain`` as a share."""

    name: str
    mask: MaskKind
    images: int = 1_000
    steps: int = 1_000
    rate: float | None = None
    """Adam's learning rate; None takes the command's."""

    def commands(self, opponents: Mapping[str, Path]) -> list[list[str]]:
        """One: complete, which searches once for all rows of a mask: it compares all that its file depends on."""
        how = {"--mask": self.mask, "--test": self.images, "--steps": self.steps, "--rate": self.rate}
        return [["complete", RUN, *options_of(how)]]

    def read(self, run: Path) -> Measurement:
        """The value of that name in completion.json."""
        content = read_json(self._file(run))
        return Measurement(
            measure=self.name,
            value=content["values"][self.name],
            samples=content["samples"],
            by=f"test part of {content['data']}, mask {self.mask}, {self.steps:,} steps",
            classifier=content.get("classifier") if self.name.startswith("accuracy") else None,
            others=content["values"],
        )

    def _file(self, run: Path) -> Path:
        return run / f"completed-{self.mask}" / "completion.json"
