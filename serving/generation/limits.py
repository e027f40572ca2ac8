"""How large a response may be, and which formats are too slow to encode on the event loop."""

from __future__ import annotations

from contract import Image
from serving.encoding.animations import AnimationFormat
from serving.encoding.formats import Format, picture_pixels, picture_sides
from serving.errors import BadParameter
from serving.generation.parameters import GENERATE
from serving.generation.query import SampleQuery
from serving.model.load import ModelFacts
from serving.settings import Settings

QUICK_PIXELS = 2**16
"""A picture of more pixels is encoded in a thread: on the event loop all other requests would wait for it."""


def check_size(query: SampleQuery, name: str, form: Format, settings: Settings) -> int:
    """Check that a response in the format of that name is not too large, and that the format has what the query sets.

    Returns:
        Pixels of all images of the response; 0 if it holds no images.

    Raises:
        BadParameter: naming the parameter to change.
    """
    if query.n > settings.max_images and not form.is_bulk:
        raise BadParameter("n", str(query.n), GENERATE["n"].type.allowed(settings))
    if query.scale != 1 and not form.is_picture:
        raise BadParameter("scale", str(query.scale), f"1 for {name}; pictures only can be enlarged")
    if query.columns is not None and not form.is_sheet:
        raise BadParameter("cols", str(query.columns), f"left out for {name}; contact sheets only have columns")
    output = query.model.card.output
    if not (form.is_picture or isinstance(output, Image)):
        return 0
    is_apart = isinstance(output, Image) and not form.is_sheet  # one file an image: no black tiles fill the last line
    height, width = picture_sides(output, query.n, query.scale, query.n if is_apart else query.columns)
    pixels = height * width
    if pixels > settings.max_pixels:
        single = picture_pixels(output, 1, 1)
        check_smallest(query.model, name, single, settings)
        is_many = query.scale == 1 and query.n * single > settings.max_pixels  # in any number of columns
        check_pixels(*(("n", query.n) if is_many else _largest(query)), pixels, settings)
    if not is_apart and max(height, width) > form.max_side:
        check_sides(*_largest(query), (height, width), name, form)
    return pixels


def check_smallest(model: ModelFacts, name: str, pixels: int, settings: Settings) -> None:
    """Check that the smallest answer of a model in the format of that name has no more pixels than allowed.

    Raises:
        BadParameter: naming the model, since no other parameter can help.
    """
    if pixels > settings.max_pixels:
        allowed = f"one whose smallest answer in {name} has at most {settings.max_pixels} pixels, not {pixels}"
        raise BadParameter("model", model.card.name, allowed)


def check_pixels(parameter: str, value: int, pixels: int, settings: Settings) -> None:
    """Check that a response has no more pixels than allowed.

    Raises:
        BadParameter: naming the parameter.
    """
    if pixels > settings.max_pixels:
        raise BadParameter(
            parameter, str(value), f"so small that the answer has at most {settings.max_pixels} pixels, not {pixels}"
        )


def check_sides(parameter: str, value: int, sides: tuple[int, int], name: str, form: Format | AnimationFormat) -> None:
    """Check that the format of that name can hold a picture of this height and width.

    Raises:
        BadParameter: naming the parameter.
    """
    if max(sides) > form.max_side:
        allowed = f"such that height and width are at most {form.max_side} pixels in {name}, not {sides[0]} and {sides[1]}"
        raise BadParameter(parameter, str(value), allowed)


def is_slow(form: Format, pixels: int) -> bool:
    """Whether a response with this number of pixels is encoded in a thread."""
    return form.is_slow or pixels > QUICK_PIXELS


def _largest(query: SampleQuery) -> tuple[str, int]:
    """Return the parameter that makes a response large, and its value."""
    if query.scale > 1:
        return "scale", query.scale
    return ("n", query.n) if query.columns is None else ("cols", query.columns)
