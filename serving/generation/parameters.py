"""The query parameters of the routes for samples, each declared once.

The parser, the words of a refusal, the OpenAPI document and the tables of docs/SERVICE.md follow from these declarations.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from contract import MAX_SEED
from serving.encoding.animations import MAX_FPS, MAX_LOOP
from serving.errors import BadParameter, MissingParameter
from serving.settings import Settings

INTEGER = re.compile(r"0|[1-9][0-9]{0,9}", re.ASCII)
NUMBER = re.compile(r"-?(?:(?:0|[1-9][0-9]{0,9})(?:\.[0-9]{1,20})?|\.[0-9]{1,20})", re.ASCII)


@dataclass(frozen=True)
class Integer:
    """An integer in ASCII digits without sign, space or leading zero."""

    low: int
    high: int | str
    """The greatest value, or the name of the setting that holds it."""
    bulk: str | None = None
    """The setting that holds the greatest value for formats that programs read, where that is another one."""

    def bounds(self, settings: Settings) -> tuple[int, int]:
        """Return the greatest value, and the greatest one for bulk formats."""
        high: int = self.high if isinstance(self.high, int) else getattr(settings, self.high)
        return high, max(high, getattr(settings, self.bulk)) if self.bulk else high

    def allowed(self, settings: Settings) -> str:
        """Return the range in words."""
        high, bulk = self.bounds(settings)
        return f"{self.low}..{high}" + (f", and up to {bulk} as npy or tar" if bulk > high else "")

    def parse(self, name: str, text: str, settings: Settings) -> int:
        """Return the value of a parameter.

        Raises:
            BadParameter: the text is no integer in the range.
        """
        if not INTEGER.fullmatch(text) or not self.low <= int(text) <= self.bounds(settings)[1]:
            raise BadParameter(name, text, self.allowed(settings))
        return int(text)


@dataclass(frozen=True)
class Number:
    """A decimal number without an exponent, or, if only those are allowed, an integer."""

    low: float
    high: float
    is_integer: bool = False

    def allowed(self, settings: Settings) -> str:
        """Return the range in words."""
        return f"{'an integer' if self.is_integer else 'a number'} {self.low:g}..{self.high:g}"

    def parse(self, name: str, text: str, settings: Settings) -> float:
        """Return the value of a parameter.

        Raises:
            BadParameter: the text is no number in the range.
        """
        pattern = INTEGER if self.is_integer else NUMBER
        if not pattern.fullmatch(text) or not self.low <= float(text) <= self.high:
            raise BadParameter(name, text, self.allowed(settings))
        return int(text) if self.is_integer else float(text) + 0.0  # -0.0 becomes 0.0: one value, one entity tag


@dataclass(frozen=True)
class Choice:
    """One of several words."""

    values: tuple[str, ...] = ()
    """Empty where they depend on the models that are served."""

    def allowed(self, settings: Settings) -> str:
        """Return the words."""
        return f"one of {', '.join(self.values)}"

    def parse(self, name: str, text: str, settings: Settings) -> str:
        """Return the value of a parameter.

        Raises:
            BadParameter: the text is none of the words.
        """
        if self.values and text not in self.values:
            raise BadParameter(name, text, self.allowed(settings))
        return text


@dataclass(frozen=True)
class RouteParameter:
    """A query parameter of a route, the same for every model.

    Args:
        name: as it stands in the query.
        type: which values it takes, and how they are written.
        doc: one sentence on what it does.
        default: the value without it; an integer default is lowered to a setting that allows less.
        absent: what happens without it, in words, where the default is None.
        is_required: whether a request without it is refused.
    """

    name: str
    type: Integer | Number | Choice
    doc: str
    default: Any = None
    absent: str = ""
    is_required: bool = False

    def default_for(self, settings: Settings) -> Any:
        """Return the value that the route uses without the parameter."""
        if self.default is None or self.default == 1 or not isinstance(self.type, Integer):  # every setting allows 1
            return self.default
        return min(self.default, self.type.bounds(settings)[0])

    def read(self, values: Mapping[str, str], settings: Settings) -> Any:
        """Return the value that a query gives the parameter, or its default.

        Raises:
            BadParameter: the value is wrong.
            MissingParameter: it is required and absent.
        """
        text = values.get(self.name)
        if text is not None:
            return self.type.parse(self.name, text, settings)
        if self.is_required:
            raise MissingParameter(self.name, f"a seed {self.type.allowed(settings)}")
        return self.default_for(settings)


Route = Mapping[str, RouteParameter]
"""A route's parameters by name, in the order of the documentation."""


def _route(*parameters: RouteParameter) -> Route:
    return {parameter.name: parameter for parameter in parameters}


def _seed(name: str, doc: str) -> RouteParameter:
    return RouteParameter(name, SEEDS, doc, is_required=True)


SEEDS = Integer(0, MAX_SEED)
FORMAT = RouteParameter("format", Choice(), "The format; it wins over `Accept`.", absent="by `Accept`, else the first")
SCALE = RouteParameter("scale", Integer(1, "max_scale"), "Width and height of each pixel; pictures only.", default=1)
MODEL = RouteParameter("model", Choice(), "The name of the model.", absent="the first model that suits the route")

GENERATE = _route(
    RouteParameter("seed", SEEDS, "The sample's seed.", absent="a random seed, sent in `X-Seed`; the answer is `no-store`"),
    RouteParameter("n", Integer(1, "max_images", "max_bulk"), "How many samples, of `seed` and the seeds after it.", default=1),
    FORMAT,
    SCALE,
    RouteParameter(
        "cols",
        Integer(1, "max_images"),
        "Images in a line of a contact sheet, at most `n`.",
        absent="the root of `n`, rounded up",
    ),
    MODEL,
)
TRANSFORM = dict(GENERATE)
"""The same parameters, for models that change the picture in the request's body."""
MIX = _route(
    _seed("a", "The seed at `t=0`."),
    _seed("b", "The seed at `t=1`."),
    RouteParameter("t", Number(0, 1), "Where the sample lies between `a` and `b`.", default=0.5),
    FORMAT,
    SCALE,
    MODEL,
)
ARITHMETIC = _route(
    _seed("a", "The seed that `b` is subtracted from."),
    _seed("b", "The seed that is subtracted."),
    _seed("c", "The seed that is added."),
    FORMAT,
    SCALE,
    MODEL,
)
WALK = _route(
    _seed("from", "The first frame's seed."),
    _seed("to", "The last frame's seed."),
    RouteParameter("frames", Integer(2, "max_frames"), "How many frames, evenly apart, both ends included.", default=24),
    FORMAT,
    RouteParameter("fps", Integer(1, MAX_FPS), "Frames a second.", default=12),
    RouteParameter("loop", Integer(0, MAX_LOOP), "How often it is played; 0 means without end.", default=0),
    RouteParameter(
        "back", Choice(("on", "off")), "Whether it returns to the first seed, neither end shown twice.", default="off"
    ),
    SCALE,
    MODEL,
)
