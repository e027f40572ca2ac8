"""Samples as one picture: images side by side, points over the region of the data, sequences as rows of colours."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from training.report.pictures import FAINT, INK, PALETTE, dress, new_figure, place, render

if TYPE_CHECKING:
    from matplotlib.figure import Figure

GRID_PX = 720
"""A grid is enlarged by the greatest whole factor that keeps its longer side within this."""
GAP_PX = 2
GAP_LEVEL = 64
POINTS_PX = 640
LEGEND_PX, BELOW_PX, RIGHT_PX = 42, 52, 36
"""Above, below and to the right of a plot of points."""
MOST_POINTS = 4_000
MOST_SEQUENCES = 64

Region = tuple[tuple[float, ...], tuple[float, ...]]
"""Per component the least, and per component the greatest value that a plot shows."""
Floats = NDArray[np.floating]


def draw_samples(outputs: np.ndarray, *, backdrop: np.ndarray | None = None, region: Region | None = None) -> Image.Image:
    """The picture of a generator's outputs.

    Args:
        outputs: images uint8 [n,h,w,c] with c = 1 or 3, points float [n,k], or tokens int64 [n,t].
        backdrop: real points [m,k] to compare with; unused for images.
        region: what the plot of points shows; by default what holds the backdrop, or else the outputs.

    Raises:
        ValueError: naming the type and shape that is none of them, or has no rows.
    """
    if outputs.dtype == np.uint8 and outputs.ndim == 4 and outputs.shape[-1] in (1, 3) and len(outputs):
        return draw_grid(outputs)
    if np.issubdtype(outputs.dtype, np.floating) and outputs.ndim == 2 and outputs.size:
        return draw_points(outputs, backdrop, region)
    if outputs.dtype == np.int64 and outputs.ndim == 2 and outputs.size:
        return draw_sequences(outputs, backdrop)
    found = f"{outputs.dtype} {list(outputs.shape)}"
    raise ValueError(f"samples must be uint8 [n,h,w,1|3], float [n,k] or int64 [n,t] with n >= 1, got {found}")


def draw_grid(images: np.ndarray) -> Image.Image:
    """Images uint8 [n,h,w,c] row by row, each pixel a square of whole size, with a narrow gap between the images."""
    count, height, width, channels = images.shape
    columns = count_columns(count)
    rows = math.ceil(count / columns)
    scale = max(1, GRID_PX // max(columns * width, rows * height))
    cell_height, cell_width = height * scale + GAP_PX, width * scale + GAP_PX
    sheet = np.full((rows * cell_height - GAP_PX, columns * cell_width - GAP_PX, channels), GAP_LEVEL, np.uint8)
    for index, image in enumerate(images):
        top, left = index // columns * cell_height, index % columns * cell_width
        sheet[top : top + height * scale, left : left + width * scale] = image.repeat(scale, 0).repeat(scale, 1)
    return Image.fromarray(sheet[..., 0] if channels == 1 else sheet)


def count_columns(count: int) -> int:
    """Columns that fill a grid without a hole if one at most twice as wide as high exists, or else the squarest."""
    squarest = math.ceil(math.sqrt(count))
    whole = [columns for columns in range(squarest, count + 1) if count % columns == 0 and columns * columns <= 2 * count]
    return whole[0] if whole else squarest


def draw_points(points: Floats, backdrop: Floats | None, region: Region | None) -> Image.Image:
    """Points [n,k]: a histogram for k = 1, a scatter plot for k = 2, a curve over the component's number for more."""
    points = points[np.isfinite(points).all(1)]
    real = None if backdrop is None else np.asarray(backdrop)[:MOST_POINTS]
    low, high = region or _region_of(points if real is None else real)
    figure = new_figure(POINTS_PX, POINTS_PX, dpi=110)
    draw = {1: _histogram, 2: _scatter}.get(points.shape[1], _strands)
    draw(figure, points[:MOST_POINTS], real, low, high)
    axes = figure.axes[0]
    dress(axes)
    handles, labels = axes.get_legend_handles_labels()
    legend = figure.legend(
        handles, labels, loc="upper left", ncols=2, frameon=False, fontsize=10, labelcolor=INK, markerscale=2.2
    )
    for handle in legend.legend_handles:
        if handle is not None:
            handle.set_alpha(1)
    place([axes], above=[LEGEND_PX], below=BELOW_PX, right=RIGHT_PX)
    return render(figure)


def draw_sequences(tokens: NDArray[np.int64], backdrop: NDArray[np.int64] | None) -> Image.Image:
    """Tokens [n,t] as a row of colours for each sequence, the same token in the same colour; real sequences on the left."""
    figure = new_figure(POINTS_PX, POINTS_PX, dpi=110)
    parts = {"generated": tokens} if backdrop is None else {"real": backdrop, "generated": tokens}
    highest = max(int(part.max()) for part in parts.values())
    for axes, (title, part) in zip(np.atleast_1d(figure.subplots(1, len(parts))), parts.items(), strict=True):
        axes.imshow(part[:MOST_SEQUENCES], cmap="turbo", vmin=0, vmax=highest, aspect="auto", interpolation="nearest")
        axes.set_title(title, fontsize=10, color=INK)
        dress(axes)
        axes.grid(visible=False)
        axes.set(xlabel="place in the sequence", yticks=[])
    figure.subplots_adjust(left=0.03, right=0.97, bottom=0.09, top=0.95, wspace=0.08)
    return render(figure)


def _histogram(figure: Figure, points: Floats, real: Floats | None, low: tuple[float, ...], high: tuple[float, ...]) -> None:
    axes = figure.subplots()
    edges = np.linspace(low[0], high[0], 61)
    width = edges[1] - edges[0]
    density = np.histogram(points[:, 0], edges)[0] / max(len(points), 1) / width
    ceiling = float(density.max(initial=0.0))
    if real is not None:
        truth = np.histogram(real[:, 0], edges)[0] / len(real) / width
        axes.stairs(truth, edges, fill=True, color=FAINT, label="real")
        ceiling = 2 * float(truth.max())
    axes.stairs(density, edges, fill=True, color=PALETTE[0], alpha=0.25)
    axes.stairs(density, edges, color=PALETTE[0], linewidth=1.6, label=_generated(points, low, high))
    axes.set(xlim=(low[0], high[0]), ylim=(0, ceiling * 1.05 or 1.0), xlabel="value", ylabel="density")


def _scatter(figure: Figure, points: Floats, real: Floats | None, low: tuple[float, ...], high: tuple[float, ...]) -> None:
    axes = figure.subplots()
    if real is not None:
        axes.scatter(real[:, 0], real[:, 1], s=9, color="#9aa3b0", alpha=0.45, linewidths=0, label="real")
    label = _generated(points, low, high)
    axes.scatter(points[:, 0], points[:, 1], s=11, color=PALETTE[0], alpha=0.6, linewidths=0, label=label)
    axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), xlabel="first component", ylabel="second component")
    if 0.5 <= (high[0] - low[0]) / (high[1] - low[1]) <= 2:
        axes.set_aspect("equal")


def _strands(figure: Figure, points: Floats, real: Floats | None, low: tuple[float, ...], high: tuple[float, ...]) -> None:
    axes = figure.subplots()
    number = np.arange(1, points.shape[1] + 1)
    if real is not None:
        axes.plot(number, real[:100].T, color=FAINT, linewidth=0.8, label=["real", *[""] * (len(real[:100]) - 1)])
    label = [_generated(points, low, high), *[""] * (len(points[:100]) - 1)]
    axes.plot(number, points[:100].T, color=PALETTE[0], linewidth=0.8, alpha=0.5, label=label)
    axes.set(ylim=(min(low), max(high)), xlabel="component", ylabel="value")


def _generated(points: Floats, low: tuple[float, ...], high: tuple[float, ...]) -> str:
    outside = int(((points < low) | (points > high)).any(1).sum())
    return f"generated ({outside:,} of {len(points):,} outside)" if outside else "generated"


def _region_of(points: Floats) -> Region:
    """The box of the points and a twentieth of its size around it."""
    if not len(points):
        return (0.0,) * points.shape[1], (1.0,) * points.shape[1]
    low, high = points.min(0).astype(float), points.max(0).astype(float)
    margin = np.maximum((high - low) / 20, np.where(high > low, 0, 0.5) + 1e-6 * np.abs(high))
    return tuple((low - margin).tolist()), tuple((high + margin).tolist())
