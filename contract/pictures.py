"""The picture that a generator changes: one more input of the graph, given by the request and not drawn from the seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract.errors import CardError
from contract.latents import Latents
from contract.outputs import Array
from contract.sampling import draw

PICTURE = "picture"
"""Name of the graph input that holds the pictures."""
HAS_PICTURE = "has_picture"
"""Name of the graph input of an optional picture: bool [n], whether the row has one."""

Inputs = Mapping[str, Array]
"""Every input of a graph by name, one row a sample: the latents, and the pictures if the model takes them."""


@dataclass(frozen=True)
class Picture:
    """Input ``picture``: uint8 [n, height, width, channels]; 1 channel is grey, 3 are RGB."""

    height: int
    width: int
    channels: int
    is_optional: bool = False
    """Whether a row may have none: the graph then has the input ``has_picture`` too, and ignores the pixels of such a row."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one picture."""
        return (self.height, self.width, self.channels)


def picture_to_json(picture: Picture) -> dict[str, Any]:
    """The declaration as plain JSON."""
    return dict(vars(picture))


def picture_from_json(value: Any, latents: Latents) -> Picture:
    """The declaration that ``picture_to_json`` wrote.

    Raises:
        CardError: naming the field and what is wrong with it, or the latent that has the input's name.
    """
    if not isinstance(value, dict):
        raise CardError(f"picture must be an object, got {value!r}")
    try:
        picture = Picture(**value)
    except TypeError as error:
        raise CardError(f"picture: {error}") from None
    for field in ("height", "width"):
        size = getattr(picture, field)
        if type(size) is not int or not 1 <= size <= 4096:
            raise CardError(f"picture.{field} must be 1..4096, got {size!r}")
    if type(picture.channels) is not int or picture.channels not in (1, 3):
        raise CardError(f"picture.channels must be 1 or 3, got {picture.channels!r}")
    if type(picture.is_optional) is not bool:
        raise CardError(f"picture.is_optional must be true or false, got {picture.is_optional!r}")
    for name in (PICTURE, HAS_PICTURE):
        if name in latents:
            raise CardError(f"latents: {name} is the name of the picture's input")
    return picture


def picture_inputs(picture: Picture, pictures: Sequence[NDArray[np.uint8] | None]) -> dict[str, Array]:
    """The graph's inputs for these pictures, one row each; None is a row without one, which gets black pixels."""
    black = np.zeros(picture.shape, np.uint8)
    inputs: dict[str, Array] = {PICTURE: np.stack([black if pixels is None else pixels for pixels in pictures])}
    if picture.is_optional:
        inputs[HAS_PICTURE] = np.array([pixels is not None for pixels in pictures])
    return inputs


def probe_inputs(latents: Latents, picture: Picture | None, seeds: Sequence[int]) -> Inputs:
    """Every input of a graph for the seeds of goldens and self-tests: the latents of ``draw``, and a picture of each seed.

    The exporter and every reader must use the same pictures, so they come from the seed too: ``probe_picture``. Where the
    picture is optional, odd seeds have none.

    Raises:
        DrawError: a seed is out of range.
    """
    drawn = draw(latents, seeds)
    if picture is None:
        return drawn
    pictures = [None if has_no_picture(picture, seed) else probe_picture(picture, seed) for seed in seeds]
    return {**drawn, **picture_inputs(picture, pictures)}


def has_no_picture(picture: Picture, seed: int) -> bool:
    """Whether the row of this seed in ``probe_inputs`` is without a picture: made from the seed alone."""
    return picture.is_optional and seed % 2 == 1


def probe_picture(picture: Picture, seed: int) -> NDArray[np.uint8]:
    """Uniform noise: the bytes, little-endian, of the stream ``numpy.random.Philox(key=[seed, 1])``.

    The latents of a seed come from the key ``[seed, 0]``, so the two are independent.
    """
    size = int(np.prod(picture.shape))
    raw = np.random.Philox(key=np.array([seed, 1], np.uint64)).random_raw(-(-size // 8))
    return np.frombuffer(raw.astype("<u8").tobytes(), np.uint8)[:size].reshape(picture.shape)
