"""How large an answer may be, and which are too slow to be made on the event loop."""

from __future__ import annotations

from contract import Image
from serving.animations import AnimationFormat
from serving.encoders import Format, picture_pixels, picture_sides
from serving.errors import BadParameter
from serving.parameters import Wanted, counts
from serving.settings import Settings

QUICK_PIXELS = 2**16
"""A picture of more pixels is encoded in a thread: everyone else on the event loop would wait for it."""


def check_size(wanted: Wanted, name: str, form: Format, settings: Settings) -> None:
    """See that an answer in the format of that name is not too large, and that all that is asked means something there.

    Raises:
        BadParameter: naming the parameter that must be another, or smaller.
    """
    if wanted.n > settings.max_images and not form.is_bulk:
        raise BadParameter("n", str(wanted.n), counts(settings))
    if wanted.scale != 1 and not form.is_picture:
        raise BadParameter("scale", str(wanted.scale), f"1 for {name}; pictures only can be enlarged")
    if wanted.columns is not None and not form.is_sheet:
        raise BadParameter("cols", str(wanted.columns), f"left out for {name}; contact sheets only have columns")
    blame, value = _largest(wanted)
    check_pixels(blame, value, answer_pixels(wanted, form), settings)
    sides = picture_sides(wanted.model.card.output, wanted.n, wanted.scale, wanted.columns) if form.is_sheet else (0, 0)
    check_sides(blame, value, sides, name, form)


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


def answer_pixels(wanted: Wanted, form: Format) -> int:
    """How many pixels an answer has: those of the one picture, of all images one by one, or none."""
    output = wanted.model.card.output
    if form.is_sheet or (form.is_picture and not isinstance(output, Image)):
        return picture_pixels(output, wanted.n, wanted.scale, wanted.columns)
    return picture_pixels(output, wanted.n, wanted.scale, wanted.n) if isinstance(output, Image) else 0


def is_slow(wanted: Wanted, form: Format) -> bool:
    """Whether an answer is to be encoded in a thread."""
    return form.is_slow or answer_pixels(wanted, form) > QUICK_PIXELS


def _largest(wanted: Wanted) -> tuple[str, int]:
    """The parameter to blame for a large answer, and its value."""
    if wanted.scale > 1:
        return "scale", wanted.scale
    return ("n", wanted.n) if wanted.columns is None else ("cols", wanted.columns)
