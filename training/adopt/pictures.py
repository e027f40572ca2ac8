"""What a generator from elsewhere must return: pictures of 1 or 3 channels, inside the range that the user declares."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from contract import Image
from training.adopt.inputs import PROBES
from training.errors import AdoptError

Range = Literal["tanh", "unit", "uint8"]
Layout = Literal["nchw", "nhwc"]
LIMITS: dict[Range, tuple[float, float]] = {"unit": (0.0, 1.0), "tanh": (-1.0, 1.0), "uint8": (0.0, 255.0)}
SLACK = 1e-3
"""Share of the range by which rounding errors may leave it."""
BRIGHT = 16
"""Grey level that pictures in 0..255 reach, and that values meant for [0,1] or [-1,1] hardly do."""
DARK = -0.5
"""Value that pictures in [-1,1] reach, and that those meant for [0,1] hardly do."""


@dataclass(frozen=True, kw_only=True)
class PictureFormat:
    """How a generator returns its pictures."""

    values: Range
    """Range of the values: [-1,1], [0,1] or 0..255."""
    layout: Layout
    """Order of the axes."""
    is_clamped: bool = False
    """Whether values outside the range are cut instead of refused."""

    def seen(self) -> Seen:
        """What notes the outputs, of which none has been seen yet."""
        low, high = LIMITS[self.values]
        slack = SLACK * (high - low)
        return Seen(low - slack, high + slack)

    def image(self, seen: Seen) -> Image:
        """What a card says of these pictures.

        Raises:
            AdoptError: they are no pictures in this layout, or have values that are not finite or not in the range.
        """
        shape = list(seen.shape)
        axes = "n,c,h,w" if self.layout == "nchw" else "n,h,w,c"
        channel = 1 if self.layout == "nchw" else 3
        if len(shape) != 4 or shape[channel] not in (1, 3):
            other = "nhwc" if self.layout == "nchw" else "nchw"
            hint = f"; is it --layout {other}?" if len(shape) == 4 and shape[4 - channel] in (1, 3) else ""
            raise AdoptError(f"the output must be pictures [{axes}] of 1 or 3 channels, got {_axes(shape)}{hint}")
        self._check_range(seen)
        height, width = (shape[2], shape[3]) if self.layout == "nchw" else (shape[1], shape[2])
        return Image(height, width, shape[channel])

    def _check_range(self, seen: Seen) -> None:
        if not seen.is_finite:
            raise AdoptError("the output has values that are not finite")
        low, high = LIMITS[self.values]
        fitting = _fitting(seen)
        is_mistaken = fitting == "uint8" or (fitting == "tanh" and seen.least <= DARK)
        if seen.outside and (is_mistaken or not self.is_clamped):
            hint = f"is it --output {fitting}?" if fitting else "--clamp cuts what is outside"
            raise AdoptError(f"the output is {seen}, outside the {low:g} to {high:g} of --output {self.values}; {hint}")
        if self.values == "uint8" and seen.greatest <= 1 + SLACK:
            raise AdoptError(f"the output is {seen}, which is black by --output uint8; is it --output unit?")

    def levels(self, rows: NDArray[Any]) -> NDArray[np.float32]:
        """The pictures as float32 [n,h,w,c] in 0..255, before rounding."""
        scale, shift = scale_of(self.values)
        pictures = rows.astype(np.float32) * np.float32(scale) + np.float32(shift)
        return pictures.transpose(0, 2, 3, 1) if self.layout == "nchw" else pictures

    def doubt(self, seen: Seen) -> str | None:
        """A sentence for the user on what is cut, or where the values suggest another range than the declared one."""
        if seen.outside:
            fitting = _fitting(seen)
            share = f"{100 * seen.outside / seen.count:.2g}%"
            hint = f"; is it --output {fitting}?" if fitting else ""
            return f"--clamp cuts {share} of the values, which are {seen}, to --output {self.values}{hint}"
        if self.values == "tanh" and seen.least >= 0:
            return f"no value of the output is below 0 (it is {seen}); is it --output unit?"
        return None


@dataclass
class Seen:
    """What is known of the outputs seen so far, of which none is kept."""

    low: float
    high: float
    """Values below or above these are outside of the declared range."""
    shape: tuple[int, ...] = ()
    """Of a batch; the number of rows is that of the first one."""
    least: float = math.inf
    greatest: float = -math.inf
    outside: int = 0
    count: int = 0
    """Number of values."""
    is_finite: bool = True
    is_varied: bool = False
    first: NDArray[Any] | None = None
    """The first row."""

    def __str__(self) -> str:
        return f"{self.least:.3g} to {self.greatest:.3g}"

    def add(self, rows: NDArray[Any]) -> None:
        """Note the outputs of a batch.

        Raises:
            AdoptError: they have another shape than those of the batches before.
        """
        if self.first is None:
            self.shape, self.first = rows.shape, rows[:1].copy() if rows.ndim else rows
        elif rows.shape[1:] != self.shape[1:]:
            shapes = f"{_axes(list(self.shape))}, then {_axes(list(rows.shape))}"
            raise AdoptError(f"the shape of the output depends on the latents: it is {shapes}")
        self.is_varied = self.is_varied or bool((rows != self.first).any())
        self.is_finite = self.is_finite and bool(np.isfinite(rows).all())
        self.least, self.greatest = min(self.least, float(rows.min())), max(self.greatest, float(rows.max()))
        self.outside += int(np.count_nonzero(rows < self.low) + np.count_nonzero(rows > self.high))
        self.count += rows.size

    def check_varied(self) -> None:
        """Check that the latents change the output; raises AdoptError."""
        if not self.is_varied:
            raise AdoptError(f"{PROBES} seeds give one picture: the output does not depend on the latents")


def _fitting(seen: Seen) -> Range | None:
    """The range that holds all values: [0,1] before [-1,1], and 0..255 only where they are not all nearly black."""
    for name, (low, high) in LIMITS.items():
        slack = SLACK * (high - low)
        if low - slack <= seen.least and seen.greatest <= high + slack and (name != "uint8" or seen.greatest >= BRIGHT):
            return name
    return None


def scale_of(values: Range) -> tuple[float, float]:
    """Factor and summand that bring the range to 0..255."""
    return {"tanh": (127.5, 127.5), "unit": (255.0, 0.0), "uint8": (1.0, 0.0)}[values]


def _axes(shape: list[int]) -> str:
    return f"[{','.join(['n', *map(str, shape[1:])])}]" if shape else "one number"
