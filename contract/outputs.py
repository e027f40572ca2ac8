"""The output of a generator: the graph's output is what the client sees, so the service need not know of tanh or sigmoid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from numpy.typing import NDArray

from contract.errors import CardError

Array = NDArray[Any]
"""Rows of any output or latent: the first axis counts rows."""


@dataclass(frozen=True)
class Image:
    """Output ``image``: uint8 [n, height, width, channels], rounded inside the graph; 1 channel is grey, 3 are RGB."""

    kind: ClassVar[str] = "image"
    dtype: ClassVar[str] = "uint8"
    height: int
    width: int
    channels: int

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.height, self.width, self.channels)


@dataclass(frozen=True)
class Points:
    """Output ``points``: float32 [n, size], in the units of the data."""

    kind: ClassVar[str] = "points"
    dtype: ClassVar[str] = "float32"
    size: int
    low: tuple[float, ...]
    """Per component, the least value of the region that a plot shows."""
    high: tuple[float, ...]
    """Per component, the greatest value of the region that a plot shows."""

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.size,)


@dataclass(frozen=True)
class Tokens:
    """Output ``tokens``: int64 [n, length], each 0..vocabulary-1."""

    kind: ClassVar[str] = "tokens"
    dtype: ClassVar[str] = "int64"
    length: int
    vocabulary: int

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.length,)


Output = Image | Points | Tokens


def output_to_json(output: Output) -> dict[str, Any]:
    """The output's declaration as plain JSON."""
    return {"kind": output.kind, **{k: list(v) if isinstance(v, tuple) else v for k, v in vars(output).items()}}


def output_from_json(value: Any) -> Output:
    """The declaration that ``output_to_json`` wrote.

    Raises:
        CardError: naming the field and what is wrong with it.
    """
    kinds: dict[str, type[Output]] = {"image": Image, "points": Points, "tokens": Tokens}
    if not isinstance(value, dict) or str(value.get("kind")) not in kinds:
        raise CardError(f"output.kind must be one of {', '.join(kinds)}, got {value!r}")
    fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in value.items() if k != "kind"}
    try:
        output = kinds[value["kind"]](**fields)
    except TypeError as error:
        raise CardError(f"output: {error}") from None
    for field, number in vars(output).items():
        if field in ("low", "high"):
            if not isinstance(number, tuple):
                raise CardError(f"output.{field} must be a list, got {number!r}")
        elif type(number) is not int or not 1 <= number <= 1_000_000:
            raise CardError(f"output.{field} must be 1..1000000, got {number!r}")
    if isinstance(output, Image) and output.channels not in (1, 3):
        raise CardError(f"output.channels must be 1 or 3, got {output.channels!r}")
    if isinstance(output, Points):
        _check_region(output)
    return output


def _check_region(points: Points) -> None:
    if not len(points.low) == len(points.high) == points.size:
        raise CardError(f"output.low and output.high must each have {points.size} numbers")
    for low, high in zip(points.low, points.high, strict=True):
        if not (type(low) in (int, float) and type(high) in (int, float) and -1e30 < low < high < 1e30):
            raise CardError(f"output: each low must be less than its high, got {low!r} and {high!r}")
