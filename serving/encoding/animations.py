"""Frames to moving pictures: WebP and APNG hold the very pixels, GIF those of grey frames and 256 colours a frame else.

A frame of a WebP or an APNG is pixel-equal to the still picture of its row; so is a frame of a GIF whose row is grey or has no
more than 256 colours. Other rows are reduced in a GIF to the 256 colours of a median cut, without dither. Equal neighbours may
be stored as one frame that is shown for longer, and frames that are all equal as a still picture. A WebP or a GIF lasts as
long as its frames should, to one tick of its clock.
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
"""Ticks a second of the format's clock."""
MAX_FPS = 50
"""Frames a second, at most: readers take a GIF's delay of one tick for a tenth of a second."""
MAX_LOOP = 65535
"""How often an animation may be played, at most; a field of 16 bits."""


@dataclass(frozen=True, kw_only=True)
class Animation:
    """Frames, and how they are shown."""

    frames: Pixels
    """uint8 [n, height, width, channels], two or more; 1 channel is grey, 3 are RGB."""
    fps: int
    """Frames a second, 1..50."""
    loop: int = 0
    """How often it is played; 0 is for ever."""
    scale: int = 1
    """Each pixel becomes a square of so many."""
    texts: Mapping[str, str] = field(default_factory=dict)
    """ASCII texts by keyword, kept in APNG as texts and in GIF as a comment."""


@dataclass(frozen=True)
class AnimationFormat:
    """One way to write an animation."""

    media_type: str
    encode: Callable[[Animation], bytes]
    max_side: int
    """Pixels of width or height, at most."""


def there_and_back(frames: Pixels) -> Pixels:
    """Frames followed by themselves in reverse, without either end twice: a loop without a jump.

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
    # GIF counts how often it is repeated after the first time, and is played once where it does not say
    repeats = {0: {"loop": 0}, 1: {}}.get(animation.loop, {"loop": animation.loop - 1})
    comment = "\n".join(animation.texts.values()).encode("ascii")
    return _save(pictures, "GIF", delays, optimize=False, interlace=0, comment=comment, **repeats)


def durations(count: int, fps: int, ticks: int) -> list[int]:
    """Ticks for which each of some frames is shown, so that each begins at the tick nearest to its time.

    Args:
        count: how many frames.
        fps: frames a second.
        ticks: ticks a second.
    """
    starts = [(2 * frame * ticks + fps) // (2 * fps) for frame in range(count + 1)]
    return [stop - start for start, stop in zip(starts, starts[1:], strict=False)]


def _enlarged(frames: Pixels, scale: int) -> Pixels:
    return frames if scale == 1 else frames.repeat(scale, 1).repeat(scale, 2)


def _with_palette(frame: Pixels, scale: int) -> Pictures.Image:
    """One frame of at most 256 colours, its own ones if they are no more; reduced first and enlarged then, which is cheaper."""
    height, width, channels = frame.shape
    places, palette = (frame[:, :, 0], None) if channels == 1 else _reduced(frame)
    large = _enlarged(places[None, :, :, None], scale)
    size = (width * scale, height * scale)
    if palette is None:
        return Pictures.frombytes("L", size, large.tobytes())
    picture = Pictures.frombytes("P", size, large.tobytes())
    picture.putpalette(palette)
    return picture


def _reduced(frame: Pixels) -> tuple[Pixels, bytes]:
    """Places in a palette [height, width], and the palette as RGB bytes."""
    colours, places = np.unique(frame.reshape(-1, 3), axis=0, return_inverse=True)
    if len(colours) <= 256:
        return places.reshape(frame.shape[:2]).astype(np.uint8), colours.tobytes()
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
    """By format, a hash of what this process's encoder makes of fixed frames; see ``encoders.fingerprints``."""
    ramp = np.arange(4 * 24 * 24 * 3, dtype=np.int64).reshape(4, 24, 24, 3)
    noise = (ramp * ramp * 2654435761 >> 13).astype(np.uint8)
    noise[:, 8:16] = 7
    probes = [Animation(frames=frames, fps=24, scale=2) for frames in (noise[..., :1], noise)]
    return {name: hashlib.sha256(b"".join(map(form.encode, probes))).hexdigest()[:16] for name, form in ANIMATIONS.items()}
