"""Encode frames as an animation: WebP, APNG or GIF.

A frame of a WebP or an APNG is pixel-equal to the still picture of its row; so is a frame of a GIF whose row is grey or has at
most 256 colours. A GIF reduces other rows to 256 colours by median cut, without dither. Equal neighbours may be stored as one
frame of longer duration, and frames that are all equal as a still picture. The duration of a WebP or a GIF is exact to one tick
of its clock.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pictures

from serving.encoding.png import write_apng

Pixels = NDArray[np.uint8]

WEBP_TICKS, GIF_TICKS = 1000, 100
"""Ticks per second of the format's clock."""
MAX_FPS = 50
"""Frames per second, at most: viewers show a GIF's delay of one tick as a tenth of a second."""
MAX_LOOP = 65535
"""Plays of an animation, at most; the field has 16 bits."""


@dataclass(frozen=True, kw_only=True)
class Animation:
    """Frames and how they are played."""

    frames: Pixels
    """uint8 [n, height, width, channels], two or more; 1 channel is grey, 3 are RGB."""
    fps: int
    """Frames per second, 1..50."""
    loop: int = 0
    """Number of plays; 0 means endless."""
    scale: int = 1
    """Side of the square that each pixel becomes."""
    texts: Mapping[str, str] = field(default_factory=dict)
    """ASCII texts by keyword: text chunks in APNG, a comment in GIF."""


@dataclass(frozen=True)
class AnimationFormat:
    """An animation format."""

    media_type: str
    encode: Callable[[Animation], bytes]
    max_side: int
    """Pixels of width or height, at most."""


def there_and_back(frames: Pixels) -> Pixels:
    """Append the frames in reverse without repeating either end: a loop without a jump.

    Args:
        frames: [n, ...], two or more; the result is [2n - 2, ...].
    """
    return np.concatenate([frames, frames[-2:0:-1]])


def encode_apng(animation: Animation) -> bytes:
    """An APNG; its delays are exact."""
    return write_apng(_enlarged(animation.frames, animation.scale), animation.texts, animation.fps, animation.loop)


def encode_webp(animation: Animation) -> bytes:
    """A lossless animated WebP, its delays in milliseconds."""
    frames = _enlarged(animation.frames, animation.scale)
    pictures = [Pictures.fromarray(frame[:, :, 0] if frame.shape[2] == 1 else frame) for frame in frames]
    delays = durations(len(pictures), animation.fps, WEBP_TICKS)
    return _save(pictures, "WEBP", delays, loop=animation.loop, lossless=True, quality=75, method=2)


def encode_gif(animation: Animation) -> bytes:
    """A GIF, its delays in hundredths of a second."""
    pictures = [_with_palette(frame, animation.scale) for frame in animation.frames]
    delays = [10 * ticks for ticks in durations(len(pictures), animation.fps, GIF_TICKS)]
    # GIF counts the repeats after the first play; without the field it is played once
    repeats = {0: {"loop": 0}, 1: {}}.get(animation.loop, {"loop": animation.loop - 1})
    comment = "\n".join(animation.texts.values()).encode("ascii")
    return _save(pictures, "GIF", delays, optimize=False, interlace=0, comment=comment, **repeats)


def durations(count: int, fps: int, ticks: int) -> list[int]:
    """The duration of each frame in ticks, so that each begins at the tick nearest to its time.

    Args:
        count: number of frames.
        fps: frames per second.
        ticks: ticks per second.
    """
    starts = [(2 * frame * ticks + fps) // (2 * fps) for frame in range(count + 1)]
    return [stop - start for start, stop in zip(starts, starts[1:], strict=False)]


def _enlarged(frames: Pixels, scale: int) -> Pixels:
    return frames if scale == 1 else frames.repeat(scale, 1).repeat(scale, 2)


def _with_palette(frame: Pixels, scale: int) -> Pictures.Image:
    """A frame of at most 256 colours, unchanged if it has no more. It is reduced before it is enlarged, which is cheaper."""
    height, width, channels = frame.shape
    indices, palette = (frame[:, :, 0], None) if channels == 1 else _reduced(frame)
    large = _enlarged(indices[None, :, :, None], scale)
    size = (width * scale, height * scale)
    if palette is None:
        return Pictures.frombytes("L", size, large.tobytes())
    picture = Pictures.frombytes("P", size, large.tobytes())
    picture.putpalette(palette)
    return picture


def _reduced(frame: Pixels) -> tuple[Pixels, bytes]:
    """Palette indices [height, width], and the palette as RGB bytes."""
    colours, indices = np.unique(frame.reshape(-1, 3), axis=0, return_inverse=True)
    if len(colours) <= 256:
        return indices.reshape(frame.shape[:2]).astype(np.uint8), colours.tobytes()
    picture = Pictures.fromarray(frame).quantize(256, Pictures.Quantize.MEDIANCUT, dither=Pictures.Dither.NONE)
    return np.asarray(picture), bytes(picture.getpalette() or ())


def _save(pictures: list[Pictures.Image], name: str, delays: list[int], **options: object) -> bytes:
    buffer = io.BytesIO()
    first, *others = pictures
    first.save(buffer, name, save_all=True, append_images=others, duration=delays, **options)
    return buffer.getvalue()


ANIMATIONS: dict[str, AnimationFormat] = {
    "webp": AnimationFormat("image/webp", encode_webp, max_side=16383),
    "apng": AnimationFormat("image/apng", encode_apng, max_side=2**31 - 1),
    "gif": AnimationFormat("image/gif", encode_gif, max_side=65535),
}
"""The formats by name, the default one first."""


def animation_fingerprints() -> dict[str, str]:
    """By format, a hash of this process's encoding of fixed frames; see ``formats.fingerprints``."""
    ramp = np.arange(4 * 24 * 24 * 3, dtype=np.int64).reshape(4, 24, 24, 3)
    noise = (ramp * ramp * 2654435761 >> 13).astype(np.uint8)
    noise[:, 8:16] = 7
    probes = [Animation(frames=frames, fps=24, scale=2) for frames in (noise[..., :1], noise)]
    return {name: hashlib.sha256(b"".join(map(form.encode, probes))).hexdigest()[:16] for name, form in ANIMATIONS.items()}
