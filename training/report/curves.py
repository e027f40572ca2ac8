"""The learning curve and the accuracy curve of a run, drawn from its logged rows."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from training.report.journal import Record
from training.report.pictures import INK, PALETTE, dress, new_figure, place, render
from training.report.scalars import is_accuracy, is_loss, loss_of, say_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH_PX, HEIGHT_PX = 1080, 720
MARGIN_PX, LINE_PX, BELOW_PX, RIGHT_PX = 18, 30, 80, 48
"""Above a panel in addition to its legend, a line of a legend, below the last panel, and to the right, for half a number."""
MOST_IN_A_LINE, LETTER_PX, HANDLE_PX = 5, 12, 56
"""Names in a line of a legend, and what a letter and the stroke before a name take."""
BINS = 600
"""Longer series are drawn as the mean and the extremes of this many stretches, which look the same."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Series:
    """One logged scalar: ``steps`` and ``values``, both [n], n >= 1, all finite."""

    steps: Floats
    values: Floats


def draw_learning_curve(rows: Sequence[Record]) -> Image.Image | None:
    """Every player's loss over the steps and, below, the terms that it is the sum of; None when no loss was logged."""
    series = collect(rows)
    losses = {name: line for name, line in series.items() if is_loss(name)}
    if not losses:
        return None
    terms = _terms(series, losses)
    figure = new_figure(WIDTH_PX, HEIGHT_PX)
    panels = figure.subplots(2 if terms else 1, 1, sharex=True, squeeze=False)[:, 0]
    _draw_lines(panels[0], losses)
    panels[0].set_ylabel("loss, mean of a batch")
    if terms:
        _draw_lines(panels[1], terms, PALETTE[len(losses) :] + PALETTE[: len(losses)])
        panels[1].set_ylabel("terms")
        _spread(panels[1], terms)
    _finish(list(panels), "Learning curve", rows, shares=(2.4, 1) if terms else (1,))
    return render(figure)


def draw_accuracy_curve(rows: Sequence[Record]) -> Image.Image | None:
    """The share of real and of generated samples that D tells rightly; None when no accuracy was logged."""
    named = {name: line for name, line in collect(rows).items() if is_accuracy(name)}
    if not named:
        return None
    figure = new_figure(WIDTH_PX, HEIGHT_PX)
    axes = figure.subplots()
    axes.axhline(0.5, color=INK, linewidth=1.1, linestyle=(0, (5, 4)), zorder=1.5)
    _draw_lines(axes, named, say_value=lambda value: f"{100 * value:.0f} %")
    axes.set_ylim(-0.02, 1.02)
    axes.set_ylabel("share that D tells rightly")
    axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")
    axes.annotate(
        "equilibrium: D can only guess", (1, 0.5), (-4, 4), "axes fraction", "offset points", ha="right", fontsize=9, color=INK
    )
    _finish([axes], "Accuracy curve", rows)
    return render(figure)


def collect(rows: Sequence[Record]) -> dict[str, Series]:
    """Every scalar of the rows under its name, in the order of first appearance, without the values that are not finite."""
    points: dict[str, list[tuple[float, float]]] = {}
    for row in rows:
        for name, value in row.items():
            if name not in ("step", "images") and isinstance(value, int | float) and np.isfinite(value):
                points.setdefault(name, []).append((row["step"], value))
    arrays = {name: np.array(pairs, np.float64) for name, pairs in points.items()}
    return {name: Series(steps=array[:, 0], values=array[:, 1]) for name, array in arrays.items()}


def smooth(values: Floats, width: int) -> Floats:
    """A mean weighted by a bell over ``width`` neighbours to either side [n] -> [n]; at the ends over those that exist."""
    bell = np.exp(-0.5 * (np.arange(-width, width + 1) / max(width / 2.5, 1e-9)) ** 2)
    weights = np.convolve(np.ones_like(values), bell)[width : width + len(values)]
    smoothed: Floats = np.convolve(values, bell)[width : width + len(values)] / weights
    return smoothed


def _terms(series: dict[str, Series], losses: dict[str, Series]) -> dict[str, Series]:
    """The scalars of the players in addition to their losses, but not one that is the whole loss under another name."""
    chosen = {}
    for name, line in series.items():
        whole = losses.get(loss_of(name))
        if whole is not None and name not in losses and not np.array_equal(line.values, whole.values):
            chosen[name] = line
    return chosen


def _draw_lines(
    axes: Axes,
    lines: dict[str, Series],
    palette: Sequence[str] = PALETTE,
    say_value: Callable[[float], str] = lambda value: f"{value:#.3g}",
) -> None:
    """Each series twice, as logged in a light colour and smoothed in full; the legend says its last smoothed value.

    The one value in a hundred that leaps out furthest is cut off rather than press all others flat.
    """
    lows, highs = [], []
    for number, (name, line) in enumerate(lines.items()):
        colour = palette[number % len(palette)]
        steps, means, raw_steps, raw = _stretches(line)
        smoothed = smooth(means, math.ceil(len(means) / 40) if len(means) > 8 else 0)
        axes.plot(raw_steps, raw, color=colour, alpha=0.28, linewidth=0.8)
        marker = "o" if len(steps) == 1 else ""
        label = f"{say_name(name)}   {say_value(float(smoothed[-1]))}"
        axes.plot(steps, smoothed, color=colour, linewidth=2.2, marker=marker, label=label)
        lows.append(float(np.quantile(raw, 0.005)))
        highs.append(float(np.quantile(raw, 0.995)))
    low, high = min(lows), max(highs)
    margin = (high - low) * 0.06 or max(abs(high), 1.0) * 0.1
    axes.set_ylim(low - margin, high + margin)


def _frame_steps(axes: Axes, rows: Sequence[Record]) -> None:
    first, last = rows[0]["step"], rows[-1]["step"]
    margin = (last - first) * 0.01 or 1.0
    axes.set_xlim(first - margin, last + margin)


def _spread(axes: Axes, lines: dict[str, Series]) -> None:
    """A logarithmic scale for positive lines of which the greatest would press the least flat."""
    medians = [float(np.median(line.values)) for line in lines.values()]
    least = min(float(line.values.min()) for line in lines.values())
    if least > 0 and max(medians) > 20 * min(medians):
        axes.set_yscale("log")
        axes.yaxis.set_minor_formatter("")
        axes.set_ylim(least * 0.8, max(float(line.values.max()) for line in lines.values()) * 1.25)


def _stretches(line: Series) -> tuple[Floats, Floats, Floats, Floats]:
    """Mean steps and mean values [b], then steps and extreme values [r] of at most 600 stretches of a series."""
    if len(line.steps) <= 2 * BINS:
        return line.steps, line.values, line.steps, line.values
    cuts = np.linspace(0, len(line.steps), BINS + 1).astype(int)[:-1]
    counts = np.diff([*cuts, len(line.steps)])
    steps, means = np.add.reduceat(line.steps, cuts) / counts, np.add.reduceat(line.values, cuts) / counts
    extremes = np.stack([np.minimum.reduceat(line.values, cuts), np.maximum.reduceat(line.values, cuts)], 1)
    return steps, means, steps.repeat(2), extremes.ravel()


def _columns(labels: Sequence[str]) -> int:
    """How many names a line of a legend holds without running out of the picture."""
    widest = max((len(label) for label in labels), default=1) * LETTER_PX + HANDLE_PX
    return max(1, min(MOST_IN_A_LINE, len(labels), WIDTH_PX // widest))


def _finish(panels: Sequence[Axes], title: str, rows: Sequence[Record], *, shares: Sequence[float] = (1,)) -> None:
    top, bottom, lines = panels[0], panels[-1], []
    for axes in panels:
        dress(axes)
        handles, labels = axes.get_legend_handles_labels()
        columns = _columns(labels)
        lines.append(math.ceil(len(labels) / columns))
        axes.legend(
            handles,
            labels,
            loc="lower right",
            bbox_to_anchor=(1.01, 0.99),
            ncols=columns,
            frameon=False,
            fontsize=10,
            labelcolor=INK,
            handlelength=1.4,
            columnspacing=1.6,
            borderpad=0.2,
        )
        _frame_steps(axes, rows)
    top.set_title(title, loc="left", fontsize=14, fontweight="bold", color=INK, pad=10)
    bottom.annotate(
        "light: as logged   full: smoothed",
        (1, 0),
        (0, -32),
        "axes fraction",
        "offset points",
        ha="right",
        va="center",
        fontsize=8,
        color="#767d88",
    )
    bottom.locator_params("x", nbins=10, integer=True, steps=[1, 2, 5, 10])
    bottom.xaxis.set_major_formatter(lambda step, _: f"{step:,.0f}")
    batches = {row["images"] / row["step"] for row in rows if row["step"] and row.get("images")}
    bottom.set_xlabel(f"training step of {batches.pop():g} images" if len(batches) == 1 else "training step")
    place(panels, above=[MARGIN_PX + LINE_PX * n for n in lines], below=BELOW_PX, right=RIGHT_PX, shares=shares)
