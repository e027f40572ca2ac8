"""Plot points: one component as a histogram, two as a scatter plot, more as curves over the index."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, floor, log10

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pictures
from PIL import ImageDraw, ImageFont

OVERSAMPLING = 3
INK, GREY, GRID, PAPER = (34, 40, 49), (110, 118, 129), (232, 235, 239), (255, 255, 255)
ACCENT = (31, 102, 190)
BINS = 40

Range = tuple[float, float]
Floats = NDArray[np.floating]


def plot_points(rows: NDArray[np.float32], low: Sequence[float], high: Sequence[float], side: int) -> NDArray[np.uint8]:
    """A square plot, uint8 [side, side, 3].

    Args:
        rows: [n, k] points.
        low: per component, the least value of the region shown.
        high: per component, the greatest.
        side: width and height in pixels.
    """
    k = rows.shape[1]
    if k == 1:
        chart = _histogram(rows[:, 0], (low[0], high[0]), side)
    elif k == 2:
        chart = _scatter(rows, (low[0], high[0]), (low[1], high[1]), side)
    else:
        chart = _curves(rows, (min(low), max(high)), side)
    return chart.pixels()


class Chart:
    """Axes with a grid over a region, drawn enlarged and scaled down for smooth edges."""

    def __init__(self, side: int, x: Range, y: Range) -> None:
        self.side, self.x, self.y = side, x, y
        self.unit = side * OVERSAMPLING / 400
        self._image = Pictures.new("RGB", (side * OVERSAMPLING,) * 2, PAPER)
        self.draw = ImageDraw.Draw(self._image, "RGBA")
        self.left, self.right = 46 * self.unit, 386 * self.unit
        self.top, self.bottom = 14 * self.unit, 366 * self.unit
        self._font = ImageFont.load_default(12 * self.unit)
        self._axes()

    def across(self, x: Floats | float) -> Floats | float:
        """The horizontal coordinate of a value, in pixels."""
        return self.left + (x - self.x[0]) / (self.x[1] - self.x[0]) * (self.right - self.left)

    def down(self, y: Floats | float) -> Floats | float:
        """The vertical coordinate of a value, in pixels."""
        return self.bottom - (y - self.y[0]) / (self.y[1] - self.y[0]) * (self.bottom - self.top)

    def pixels(self) -> NDArray[np.uint8]:
        """The picture, uint8 [side, side, 3]."""
        self.draw.rectangle((self.left, self.top, self.right, self.bottom), outline=GREY, width=round(self.unit))
        return np.asarray(self._image.reduce(OVERSAMPLING))

    def _axes(self) -> None:
        width = round(self.unit)
        for value in ticks(*self.x):
            x = float(self.across(value))
            self.draw.line((x, self.top, x, self.bottom), fill=GRID, width=width)
            self.draw.text((x, self.bottom + 6 * self.unit), label(value), INK, self._font, anchor="mt")
        for value in ticks(*self.y):
            y = float(self.down(value))
            self.draw.line((self.left, y, self.right, y), fill=GRID, width=width)
            self.draw.text((self.left - 6 * self.unit, y), label(value), INK, self._font, anchor="rm")


def ticks(low: float, high: float) -> list[float]:
    """Round values that divide a range into about five parts."""
    raw = (high - low) / 5
    power = 10.0 ** floor(log10(raw))
    step = power * min((s for s in (1, 2, 5, 10) if s * power >= raw * 0.999), default=10)
    return [i * step for i in range(ceil(low / step - 1e-9), floor(high / step + 1e-9) + 1)]


def label(value: float) -> str:
    """The text of a tick."""
    return f"{value:.6g}"


def _scatter(rows: Floats, x: Range, y: Range, side: int) -> Chart:
    chart = Chart(side, x, y)
    is_inside = (rows >= (x[0], y[0])).all(1) & (rows <= (x[1], y[1])).all(1)
    radius = chart.unit * float(np.clip(16 / sqrt_count(rows), 2.0, 4.0))
    strength = int(np.clip(255 * 12 / sqrt_count(rows), 110, 230))
    for across, down in zip(chart.across(rows[is_inside, 0]), chart.down(rows[is_inside, 1]), strict=True):  # type: ignore[arg-type]
        chart.draw.ellipse((across - radius, down - radius, across + radius, down + radius), fill=(*ACCENT, strength))
    return chart


def sqrt_count(rows: Floats) -> float:
    """The square root of the number of rows, to which the size of a mark is proportional."""
    return float(np.sqrt(len(rows)))


def _histogram(values: Floats, x: Range, side: int) -> Chart:
    counts, edges = np.histogram(values, BINS, x)
    chart = Chart(side, x, (0.0, max(1.0, float(counts.max()) * 1.08)))
    gap = 0.6 * chart.unit
    for count, start, stop in zip(counts, edges, edges[1:], strict=False):
        if count:
            box = (float(chart.across(start)) + gap, float(chart.down(count)), float(chart.across(stop)) - gap, chart.bottom)
            chart.draw.rectangle(box, fill=ACCENT)
    return chart


def _curves(rows: Floats, y: Range, side: int) -> Chart:
    chart = Chart(side, (0.0, float(rows.shape[1] - 1)), y)
    across = chart.across(np.arange(rows.shape[1], dtype=np.float64))
    strength = int(np.clip(255 * 4 / sqrt_count(rows), 50, 255))
    for row in np.clip(rows, *y):
        line = [float(v) for pair in zip(across, chart.down(row), strict=True) for v in pair]  # type: ignore[arg-type]
        chart.draw.line(line, fill=(*ACCENT, strength), width=round(1.6 * chart.unit), joint="curve")
    return chart
