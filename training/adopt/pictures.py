"""What a generator from elsewhere must return: pictures of 1 or 3 channels, inside the range that the user declares."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from contract import Image
from training.errors import AdoptError

Range = Literal["tanh", "unit", "uint8"]
Layout = Literal["nchw", "nhwc"]
LIMITS: dict[Range, tuple[float, float]] = {"tanh": (-1.0, 1.0), "unit": (0.0, 1.0), "uint8": (0.0, 255.0)}
SLACK = 1e-3
"""Share of the range by which rounding errors may leave it."""


@dataclass(frozen=True, kw_only=True)
class PictureFormat:
    """How a generator returns its pictures."""

    values: Range
    """Range of the values: [-1,1], [0,1] or 0..255."""
    layout: Layout
    """Order of the axes."""
    is_clamped: bool = False
    """Whether values outside the range are cut instead of refused."""

    def image(self, rows: NDArray[Any]) -> Image:
        """What a card says of these pictures.

        Raises:
            AdoptError: they are no pictures in this layout, or have values that are not finite or not in the range.
        """
        shape = list(rows.shape)
        axes = "n,c,h,w" if self.layout == "nchw" else "n,h,w,c"
        channel = 1 if self.layout == "nchw" else 3
        if len(shape) != 4 or shape[channel] not in (1, 3):
            other = "nhwc" if self.layout == "nchw" else "nchw"
            hint = f"; is it --layout {other}?" if len(shape) == 4 and shape[4 - channel] in (1, 3) else ""
            raise AdoptError(f"the output must be pictures [{axes}] of 1 or 3 channels, got {_axes(shape)}{hint}")
        self._check_range(rows)
        height, width = (shape[2], shape[3]) if self.layout == "nchw" else (shape[1], shape[2])
        return Image(height, width, shape[channel])

    def _check_range(self, rows: NDArray[Any]) -> None:
        if not np.isfinite(rows).all():
            raise AdoptError("the output has values that are not finite")
        low, high = LIMITS[self.values]
        least, greatest = float(rows.min()), float(rows.max())
        found = f"{least:.3g} to {greatest:.3g}"
        slack = SLACK * (high - low)
        is_outside = least < low - slack or greatest > high + slack
        if is_outside and not self.is_clamped:
            fits = [name for name, (a, b) in LIMITS.items() if a - SLACK <= least and greatest <= b + SLACK]
            hint = f"is it --output {fits[0]}?" if fits else "--clamp cuts what is outside"
            raise AdoptError(f"the output is {found}, outside the {low:g} to {high:g} of --output {self.values}; {hint}")
        if self.values == "uint8" and greatest <= 1 + SLACK:
            raise AdoptError(f"the output is {found}, which is black by --output uint8; is it --output unit?")

    def levels(self, rows: NDArray[Any]) -> NDArray[np.float32]:
        """The pictures as float32 [n,h,w,c] in 0..255, before rounding."""
        scale, shift = scale_of(self.values)
        pictures = rows.astype(np.float32) * np.float32(scale) + np.float32(shift)
        return pictures.transpose(0, 2, 3, 1) if self.layout == "nchw" else pictures

    def doubt(self, rows: NDArray[Any]) -> str | None:
        """A sentence for the user where the values suggest another range than the declared one."""
        if self.values == "tanh" and rows.min() >= 0:
            return f"no value of the output is below 0 (it is {rows.min():.3g} to {rows.max():.3g}); is it --output unit?"
        return None


def check_varied(rows: NDArray[Any]) -> None:
    """Check that the latents change the output; raises AdoptError."""
    if (rows == rows[:1]).all():
        raise AdoptError(f"{len(rows)} seeds give one picture: the output does not depend on the latents")


def scale_of(values: Range) -> tuple[float, float]:
    """Factor and summand that bring the range to 0..255."""
    return {"tanh": (127.5, 127.5), "unit": (255.0, 0.0), "uint8": (1.0, 0.0)}[values]


def _axes(shape: list[int]) -> str:
    return f"[{','.join(['n', *map(str, shape[1:])])}]" if shape else "one number"
