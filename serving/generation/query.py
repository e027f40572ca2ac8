"""Query strings, that of ``/generate`` first of all, read strictly: what is not exactly right is refused, never guessed.

A query is empty, or ``name=value`` joined by ``&``. ``%41`` stands for a byte of UTF-8 and ``+`` for itself. Each name
may stand once. Integers are ASCII digits without sign, space or leading zero; numbers are decimal, without an exponent.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import unquote_to_bytes

from contract import MAX_SEED, Parameter
from serving.encoding.formats import sheet_columns
from serving.engine.registry import ModelEntry
from serving.errors import BadParameter, BadQuery, RepeatedParameter, UnknownParameter, cut
from serving.model.load import Model
from serving.settings import Settings

GENERATE = ("seed", "n", "format", "scale", "cols", "model")
"""Parameters of ``/generate`` for every model."""
MAX_QUERY = 4096
"""Characters of a query string, at most; a longer one is refused before it is looked at."""

VISIBLE = re.compile(r"[!-~]*", re.ASCII)
BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})", re.ASCII)
INTEGER = re.compile(r"0|[1-9][0-9]{0,9}", re.ASCII)
NUMBER = re.compile(r"-?(?:(?:0|[1-9][0-9]{0,9})(?:\.[0-9]{1,20})?|\.[0-9]{1,20})", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class SampleQuery:
    """What a query asks for, checked but for what depends on the model's output."""

    entry: ModelEntry
    seed: int | None = None
    """The first seed; None means that any will do."""
    n: int = 1
    """How many seeds, from the first."""
    scale: int = 1
    """Enlargement of pictures."""
    columns: int | None = None
    """Images side by side in a contact sheet; None means ``sheet_columns``."""
    format: str | None = None
    """The format's name; None leaves it to the Accept header."""
    overrides: Mapping[str, float] = field(default_factory=dict)
    """Values that replace drawn ones, in declared order."""

    @property
    def model(self) -> Model:
        """What makes the samples."""
        return self.entry.model


def parse_query(
    query: str, models: Mapping[str, ModelEntry], settings: Settings, addressed: ModelEntry | None = None
) -> SampleQuery:
    """What a raw query string asks for; the first of the models is the default one.

    Where the address names the model already (``addressed``), there is no parameter ``model``.

    Raises:
        BadQuery, UnknownParameter, RepeatedParameter, BadParameter: naming the wrong value and the right one.
    """
    values, entry = read_query(query, models, GENERATE, addressed)
    n = _count(values, settings)
    seed = integer(values, "seed", 0, MAX_SEED)
    if seed is not None and seed + n - 1 > MAX_SEED:
        raise BadParameter("n", values["n"], f"1..{MAX_SEED - seed + 1} for this seed, as seeds end at {MAX_SEED}")
    columns = integer(values, "cols", 1, n)
    if columns == sheet_columns(n):
        columns = None
    return SampleQuery(
        entry=entry,
        seed=seed,
        n=n,
        scale=integer(values, "scale", 1, settings.max_scale) or 1,
        columns=columns,
        format=values.get("format"),
        overrides=given_values(values, entry.model, GENERATE),
    )


def _count(values: Mapping[str, str], settings: Settings) -> int:
    if "n" not in values:
        return 1
    return integer(values, "n", 1, max(settings.max_images, settings.max_bulk), allowed=counts(settings)) or 1


def counts(settings: Settings) -> str:
    """The values of ``n`` that there are, in words."""
    more = f", and up to {settings.max_bulk} as npy or tar" if settings.max_bulk > settings.max_images else ""
    return f"1..{settings.max_images}{more}"


def read_query(
    query: str, models: Mapping[str, ModelEntry], names: Sequence[str], addressed: ModelEntry | None = None
) -> tuple[dict[str, str], ModelEntry]:
    """Names and values of a query, each known to the route or to the model, and the model.

    Args:
        query: raw.
        models: by name, the default one first.
        names: the route's parameters; where a model's parameter has the same name, the route's is meant.
        addressed: the model that the address names; there is no parameter ``model`` then.

    Raises:
        BadQuery, UnknownParameter, RepeatedParameter, BadParameter: naming the wrong value and the right one.
    """
    values = split_query(query)
    entry = addressed or _find(values.pop("model", None), models)
    for name in values:
        if name == "model" or not (name in names or name in entry.model.parameters):  # the route's own has been taken out
            own = [name for name in names if name != "model" or not addressed]
            raise UnknownParameter(name, [*own, *(name for name in entry.model.parameters if name not in names)])
    return values, entry


def given_values(values: Mapping[str, str], model: Model, names: Sequence[str]) -> dict[str, float]:
    """What a query fixes of the model's own parameters, in declared order; ``names`` are those of the route.

    Raises:
        BadParameter: a value is wrong.
    """
    return {name: _value(p, values[name]) for name, p in model.parameters.items() if name in values and name not in names}


def split_query(query: str) -> dict[str, str]:
    """Names and values of a query string, decoded.

    Raises:
        BadQuery, RepeatedParameter: it is not well formed.
    """
    if not query:
        return {}
    if len(query) > MAX_QUERY:
        raise BadQuery(f"the query string must have at most {MAX_QUERY} characters, has {len(query)}")
    if not VISIBLE.fullmatch(query):
        raise BadQuery("the query string must be visible ASCII characters, others written as %41")
    values: dict[str, str] = {}
    for pair in query.split("&"):
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


def _find(name: str | None, models: Mapping[str, ModelEntry]) -> ModelEntry:
    if name is None:
        return models[next(iter(models))]
    if name not in models:
        raise BadParameter("model", name, f"one of {', '.join(models)}")
    return models[name]


def integer(values: Mapping[str, str], name: str, low: int, high: int, *, allowed: str = "") -> int | None:
    """An integer parameter's value, None if it is not there.

    Raises:
        BadParameter: it is no integer from ``low`` to ``high``; ``allowed`` says so in words.
    """
    if name not in values:
        return None
    text = values[name]
    if not INTEGER.fullmatch(text) or not low <= int(text) <= high:
        raise BadParameter(name, text, allowed or f"{low}..{high}")
    return int(text)


def fraction(values: Mapping[str, str], name: str) -> float | None:
    """A parameter's value 0..1, None if it is not there.

    Raises:
        BadParameter: it is no such number.
    """
    return _value(Parameter(name, "", 0, False, 0, 1), values[name]) if name in values else None


def _value(parameter: Parameter, text: str) -> float:
    allowed = f"{parameter.low:g}..{parameter.high:g}"
    pattern = INTEGER if parameter.is_integer else NUMBER
    if not pattern.fullmatch(text) or not parameter.low <= float(text) <= parameter.high:
        raise BadParameter(parameter.name, text, f"an integer {allowed}" if parameter.is_integer else f"a number {allowed}")
    return int(text) if parameter.is_integer else float(text) + 0.0  # -0.0 becomes 0.0: one value, one answer
