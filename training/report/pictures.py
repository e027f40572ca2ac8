"""Pictures as files: PNG bytes, and figures drawn without a screen."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

from PIL import Image
from PIL.PngImagePlugin import PngInfo

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Okabe and Ito's colours, distinct with any colour vision."""
INK = "#30343b"
FAINT = "#c9ced6"
EDGE_PX = 8
"""Between the left edge of a figure and what is written there."""


def png_bytes(image: Image.Image, software: str = "") -> bytes:
    """The picture as PNG, the same bytes for the same pixels; ``software`` is its text of that name."""
    text, buffer = PngInfo(), io.BytesIO()
    if software:
        text.add_text("Software", software)
    image.save(buffer, format="png", compress_level=6, pnginfo=text)
    return buffer.getvalue()


def jpeg_bytes(image: Image.Image) -> bytes:
    """The picture as JPEG of quality 85."""
    buffer = io.BytesIO()
    image.save(buffer, format="jpeg", quality=85)
    return buffer.getvalue()


def new_figure(width_px: int, height_px: int, *, dpi: int = 144) -> Figure:
    """An empty figure of a size in pixels, drawn by Agg and known to no window system."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # its import takes half a second: only for who draws
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width_px / dpi, height_px / dpi), dpi=dpi, facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def place(panels: Sequence[Axes], *, above: Sequence[int], below: int, right: int, shares: Sequence[float] = (1,)) -> None:
    """Place panels one below the other, to the right of what the widest of their vertical axes needs.

    matplotlib's constrained layout measures every text twice and takes as long as drawing does.

    Args:
        panels: drawn on one figure, from the top; what they show and say is complete.
        above: pixels above each panel, for titles and legends.
        below: pixels below the last one.
        right: pixels to the right of all.
        shares: of each panel in the height that is left.
    """
    figure = panels[0].get_figure(root=True)
    assert figure is not None
    width, height = figure.canvas.get_width_height()
    boxes = [axes.yaxis.get_tightbbox(figure.canvas.get_renderer()) for axes in panels]  # type: ignore[attr-defined]
    left = EDGE_PX + max(axes.bbox.x0 - box.x0 for axes, box in zip(panels, boxes, strict=True) if box is not None)
    top, free = float(height), height - below - sum(above)
    for axes, margin, share in zip(panels, above, shares, strict=True):
        top -= margin
        tall = free * share / sum(shares)
        axes.set_position((left / width, (top - tall) / height, (width - left - right) / width, tall / height))
        top -= tall


def dress(axes: Axes) -> None:
    """The look that all plots share: no box, a faint grid behind the data, quiet ticks."""
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(FAINT)
    axes.grid(color=FAINT, linewidth=0.6, alpha=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(which="both", labelcolor=INK, labelsize=9, length=3, color=FAINT)
    axes.xaxis.label.set_color(INK)
    axes.yaxis.label.set_color(INK)


def render(figure: Figure) -> Image.Image:
    """The figure's pixels."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="rgba")
    return Image.frombytes("RGBA", figure.canvas.get_width_height(), buffer.getvalue()).convert("RGB")
