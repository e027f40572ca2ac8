"""Query strings, read strictly: one that is not exactly right is refused, never guessed.

A query is empty, or ``name=value`` joined by ``&``. ``%41`` stands for a byte of UTF-8 and ``+`` for itself. Each name
may stand once.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote_to_bytes

from contract import MAX_SEED
from serving.encoding.formats import sheet_columns
from serving.engine.registry import ModelEntry
from serving.errors import (
    BadParameter,
    BadQuery,
    NoPictureTaken,
    PictureRequired,
    RepeatedParameter,
    UnknownParameter,
    cut,
)
from serving.generation.parameters import GENERATE, MODEL, TRANSFORM, Integer, Number, Route
from serving.model.load import ModelFacts
from serving.settings import Settings

MAX_QUERY = 4096
"""Characters of a query string, at most."""

VISIBLE = re.compile(r"[!-~]*", re.ASCII)
BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class SampleQuery:
    """What a query asks for, checked except for what depends on the model's output."""

    entry: ModelEntry
    seed: int | None = None
    """The first seed; None means a random one."""
    n: int = 1
    """Number of seeds, from the first."""
    scale: int = 1
    """Enlargement of pictures."""
    columns: int | None = None
    """Images side by side in a contact sheet; None means ``sheet_columns``."""
    format: str | None = None
    """The format's name; None leaves it to the Accept header."""
    overrides: Mapping[str, float] = field(default_factory=dict)
    """Parameter values that replace sampled ones, in declared order."""
    picture: str | None = None
    """SHA-256 of the given picture's pixels at the model's size; None if none was given."""

    @property
    def model(self) -> ModelFacts:
        """The model that makes the samples."""
        return self.entry.model


def parse_query(
    query_string: str,
    models: Mapping[str, ModelEntry],
    settings: Settings,
    addressed: ModelEntry | None = None,
    route: Route = GENERATE,
) -> SampleQuery:
    """Parse a query string of ``/generate`` or ``/transform``.

    Args:
        query_string: raw.
        models: by name, the default one first.
        settings: the limits.
        addressed: the model that the path names; there is no parameter ``model`` then.
        route: ``GENERATE`` or ``TRANSFORM``.

    Raises:
        BadQuery, UnknownParameter, RepeatedParameter, BadParameter: naming the wrong value and the right one.
        PictureRequired, NoPictureTaken: the route does not suit the model.
    """
    values, entry = read_query(query_string, models, route, addressed)
    n: int = GENERATE["n"].read(values, settings)
    seed: int | None = GENERATE["seed"].read(values, settings)
    if seed is not None and seed + n - 1 > MAX_SEED:
        raise BadParameter("n", values["n"], f"1..{MAX_SEED - seed + 1} for this seed, as seeds end at {MAX_SEED}")
    columns = Integer(1, n).parse("cols", values["cols"], settings) if "cols" in values else None
    if columns == sheet_columns(n):
        columns = None
    return SampleQuery(
        entry=entry,
        seed=seed,
        n=n,
        scale=GENERATE["scale"].read(values, settings),
        columns=columns,
        format=GENERATE["format"].read(values, settings),
        overrides=read_overrides(values, entry.model, GENERATE, settings),
    )


def read_query(
    query_string: str, models: Mapping[str, ModelEntry], route: Route, addressed: ModelEntry | None = None
) -> tuple[dict[str, str], ModelEntry]:
    """Return the values of a query by name, each name known to the route or to the model, and the model.

    Args:
        query_string: raw.
        models: by name, the default one first.
        route: the route's parameters; one hides a model's parameter of the same name.
        addressed: the model that the path names; there is no parameter ``model`` then.

    Raises:
        BadQuery, UnknownParameter, RepeatedParameter, BadParameter: naming the wrong value and the right one.
        PictureRequired, NoPictureTaken: the route does not suit the model.
    """
    values = split_query(query_string)
    entry = addressed or _find_model(values.pop(MODEL.name, None), models, route)
    if not suits(entry.model, route):
        if route is not TRANSFORM:
            raise PictureRequired(entry.model.card.name)
        raise NoPictureTaken(entry.model.card.name, [name for name, other in models.items() if suits(other.model, route)])
    own = entry.model.parameters
    for name in values:
        if name == MODEL.name or not (name in route or name in own):  # the route's ``model`` has been taken out
            known = [name for name in route if name != MODEL.name or not addressed]
            raise UnknownParameter(name, [*known, *(name for name in own if name not in route)])
    return values, entry


def read_overrides(values: Mapping[str, str], model: ModelFacts, route: Route, settings: Settings) -> dict[str, float]:
    """Return the values that a query gives the model's own parameters, in declared order.

    Raises:
        BadParameter: a value is wrong.
    """
    if values.keys() <= route.keys():
        return {}
    return {
        name: Number(p.low, p.high, p.is_integer).parse(name, values[name], settings)
        for name, p in model.parameters.items()
        if name in values and name not in route
    }


def split_query(query_string: str) -> dict[str, str]:
    """Return names and values of a query string, decoded.

    Raises:
        BadQuery, RepeatedParameter: it is not well formed.
    """
    if not query_string:
        return {}
    if len(query_string) > MAX_QUERY:
        raise BadQuery(f"the query string must have at most {MAX_QUERY} characters, has {len(query_string)}")
    if not VISIBLE.fullmatch(query_string):
        raise BadQuery("the query string must be visible ASCII characters, others written as %41")
    values: dict[str, str] = {}
    for pair in query_string.split("&"):
        name, equals, value = pair.partition("=")
        if not (name and equals):
            raise BadQuery("a query string is name=value joined by '&'", facts={"parameter": cut(name)})
        name = _decode(name)
        if name in values:
            raise RepeatedParameter(name)
        values[name] = _decode(value)
    return values


def _decode(text: str) -> str:
    if "%" not in text:
        return text
    if BAD_ESCAPE.search(text):
        raise BadQuery("a '%' must be followed by two hexadecimal digits")
    try:
        return unquote_to_bytes(text).decode("utf-8")
    except UnicodeDecodeError:
        raise BadQuery("escaped bytes must be UTF-8") from None


def suits(model: ModelFacts, route: Route) -> bool:
    """Return whether a route makes samples of a model: ``TRANSFORM`` needs an input for the picture, any other route none."""
    return model.card.picture is not None if route is TRANSFORM else not model.needs_picture


def _find_model(name: str | None, models: Mapping[str, ModelEntry], route: Route) -> ModelEntry:
    if name is None:
        first = models[next(iter(models))]
        if suits(first.model, route):  # nearly always, and a generator costs each request a microsecond
            return first
        return next((entry for entry in models.values() if suits(entry.model, route)), first)
    if name not in models:
        raise BadParameter(MODEL.name, name, f"one of {', '.join(models)}")
    return models[name]
