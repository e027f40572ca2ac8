"""The time-lapse: the same latents through the training, as an animated WebP."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from training.report.pictures import PALETTE

MOST_FRAMES, LEAST_FRAMES = 120, 24
LAST_FRAME_MS = 2_500
MOST_BYTES = 4_000_000
MOST_PIXELS = 1_250_000
"""Of a frame; larger pictures are made smaller: 120 frames are held in memory at once."""
CAPTION_PX = 30

Frame = tuple[int, Path]
T = TypeVar("T")


def encode_timelapse(samples: Sequence[Frame]) -> bytes:
    """An animated WebP of sample pictures (step, path): at most 120, evenly spread, the last held longest.

    Lossless when that fits into 4 MB, as it does for small grey images, else with loss, else with fewer frames too.
    """
    chosen = thin(samples, MOST_FRAMES)
    final_step = chosen[-1][0]
    frames = [_captioned(path, step, step / final_step if final_step else 1.0) for step, path in chosen]
    if sum(path.stat().st_size for _, path in chosen) <= MOST_BYTES:
        content = _encode(frames, lossless=True)
        if len(content) <= MOST_BYTES:
            return content
    content = _encode(frames, lossless=False)
    if len(content) > MOST_BYTES:
        affordable = int(0.95 * len(frames) * MOST_BYTES / len(content))
        content = _encode(thin(frames, max(LEAST_FRAMES, affordable)), lossless=False)
    return content


def is_picture(path: Path) -> bool:
    """Whether a file is a picture; a damaged one is left out, since a run must not fail by it after its last step."""
    try:
        with Image.open(path) as picture:
            picture.load()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return False
    return True


def thin(frames: Sequence[T], most: int) -> list[T]:
    """At most ``most`` of the frames, evenly spread, the first and the last among them."""
    kept = np.linspace(0, len(frames) - 1, min(most, len(frames))).round().astype(int)
    return [frames[index] for index in kept]


def _captioned(path: Path, step: int, progress: float) -> Image.Image:
    """The picture over a strip that says how far the training was."""
    with Image.open(path) as opened:
        factor = min(1.0, math.sqrt(MOST_PIXELS / (opened.width * opened.height)))
        size = round(opened.width * factor), round(opened.height * factor)
        picture = opened if factor == 1 else opened.convert("RGB").resize(size, Image.Resampling.BOX)
        frame = Image.new("RGB", (picture.width, picture.height + CAPTION_PX), "#16181d")
        frame.paste(picture, (0, 0))
    pen = ImageDraw.Draw(frame)
    pen.text((8, frame.height - 17), f"step {step:,}", font=ImageFont.load_default(15), fill="#e8eaee", anchor="lm")
    pen.rectangle((0, frame.height - 4, round(progress * (frame.width - 1)), frame.height - 1), fill=PALETTE[5])
    return frame


def _encode(frames: list[Image.Image], *, lossless: bool) -> bytes:
    each_ms = min(400, max(80, 8_000 // len(frames)))
    buffer = io.BytesIO()
    frames[0].save(
        buffer,
        format="webp",
        save_all=True,
        append_images=frames[1:],
        duration=[each_ms] * (len(frames) - 1) + [LAST_FRAME_MS],
        loop=0,
        lossless=lossless,
        quality=20 if lossless else 80,
        method=0 if lossless else 2,  # of lossless pictures method 2 takes three times as long and makes larger ones
    )
    return buffer.getvalue()
