"""How large an answer may be, and which are too slow to be made on the event loop."""

from __future__ import annotations

from contract import Image
from serving.encoding.animations import AnimationFormat
from serving.encoding.formats import Format, picture_sides
from serving.errors import BadParameter
from serving.generation.query import SampleQuery, counts
from serving.settings import Settings

QUICK_PIXELS = 2**16
"""A picture of more pixels is encoded in a thread: everyone else on the event loop would wait for it."""


def check_size(wanted: SampleQuery, name: str, form: Format, settings: Settings) -> int:
    """See that an answer in the format of that name is not too large, and that all that is asked means something there.

    Returns:
        How many pixels the answer has, of all its images; 0 if it is no images.

    Raises:
        BadParameter: naming the parameter that must be another, or smaller.
    """
    if wanted.n > settings.max_images and not form.is_bulk:
        raise BadParameter("n", str(wanted.n), counts(settings))
    if wanted.scale != 1 and not form.is_picture:
        raise BadParameter("scale", str(wanted.scale), f"1 for {name}; pictures only can be enlarged")
    if wanted.columns is not None and not form.is_sheet:
        raise BadParameter("cols", str(wanted.columns), f"left out for {name}; contact sheets only have columns")
    output = wanted.model.card.output
    if not (form.is_picture or isinstance(output, Image)):
        return 0
    is_apart = isinstance(output, Image) and not form.is_sheet  # images one by one, with nothing left over in black
    height, width = picture_sides(output, wanted.n, wanted.scale, wanted.n if is_apart else wanted.columns)
    pixels = height * width
    if pixels > settings.max_pixels:
        check_pixels(*_largest(wanted), pixels, settings)
    if not is_apart and max(height, width) > form.max_side:
        check_sides(*_largest(wanted), (height, width), name, form)
    return pixels


def check_pixels(blame: str, value: int, pixels: int, settings: Settings) -> None:
    """See that an answer has no more pixels than are allowed.

    Raises:
        BadParameter: naming the parameter to blame.
    """
    if pixels > settings.max_pixels:
        raise BadParameter(
            blame, str(value), f"so small that the answer has at most {settings.max_pixels} pixels, not {pixels}"
        )


def check_sides(blame: str, value: int, sides: tuple[int, int], name: str, form: Format | AnimationFormat) -> None:
    """See that the format of that name can hold a picture of this height and width.

    Raises:
        BadParameter: naming the parameter to blame.
    """
    if max(sides) > form.max_side:
        allowed = f"such that height and width are at most {form.max_side} pixels in {name}, not {sides[0]} and {sides[1]}"
        raise BadParameter(blame, str(value), allowed)


def is_slow(form: Format, pixels: int) -> bool:
    """Whether an answer of so many pixels is to be encoded in a thread."""
    return form.is_slow or pixels > QUICK_PIXELS


def _largest(wanted: SampleQuery) -> tuple[str, int]:
    """The parameter to blame for a large answer, and its value."""
    if wanted.scale > 1:
        return "scale", wanted.scale
    return ("n", wanted.n) if wanted.columns is None else ("cols", wanted.columns)
