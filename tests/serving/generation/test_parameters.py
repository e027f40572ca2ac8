"""The declarations of query parameters, and the tables of docs/SERVICE.md that follow from them."""

from __future__ import annotations

from pathlib import Path

import pytest

from contract import Image
from serving.encoding.animations import ANIMATIONS
from serving.encoding.formats import FORMATS
from serving.errors import BadParameter
from serving.generation.interpolate import ROWS
from serving.generation.parameters import ARITHMETIC, GENERATE, MIX, WALK, Choice, Integer, Number, Route, RouteParameter
from serving.settings import Settings

SETTINGS = Settings(models=(), max_frames=10, max_images=8, max_bulk=20)


def values(parameter: RouteParameter) -> str:
    """The second cell of a parameter's line."""
    match parameter.type:
        case Integer(low, high, bulk):
            limit = f"`GAN_{high.upper()}`" if isinstance(high, str) else high
            return f"{low}..{limit}" + (f", for `npy` and `tar` up to `GAN_{bulk.upper()}`" if bulk else "")
        case Number(low, high):
            return f"{low:g}..{high:g}"
        case Choice(words):
            return ", ".join(f"`{word}`" for word in words) or "listed by `/models`"


def table(route: Route) -> str:
    """The table of a route's parameters."""
    lines = ["| parameter | values | default | |", "|---|---|---|---|"]
    for parameter in route.values():
        default = f"`{parameter.default}`" if parameter.default is not None else parameter.absent or "required"
        lines.append(f"| `{parameter.name}` | {values(parameter)} | {default} | {parameter.doc} |")
    return "\n".join(lines)


def formats() -> str:
    """The table of formats by kind of output."""
    lines = ["| output | `/generate` | `/walk` |", "|---|---|---|"]
    for kind, forms in FORMATS.items():
        walks = [*(ANIMATIONS if kind == Image.kind else ()), *(name for name in forms if name in ROWS)]
        lines.append(f"| {kind} | {', '.join(f'`{name}`' for name in forms)} | {', '.join(f'`{name}`' for name in walks)} |")
    return "\n".join(lines)


@pytest.mark.parametrize(
    "expected",
    [table(GENERATE), table(WALK), table(MIX), table(ARITHMETIC), formats()],
    ids=["generate", "walk", "mix", "arithmetic", "formats"],
)
def test_the_documentation_has_the_table(root: Path, expected: str) -> None:
    """docs/SERVICE.md has each table as the declarations give it."""
    assert f"\n{expected}\n" in (root / "docs/SERVICE.md").read_text(), f"docs/SERVICE.md must have this table:\n{expected}"


def test_a_limit_is_the_settings() -> None:
    """A range ends at its setting, for formats that programs read at another one, and a default is lowered to it."""
    assert GENERATE["n"].type.allowed(SETTINGS) == "1..8, and up to 20 as npy or tar"
    assert GENERATE["n"].read({"n": "20"}, SETTINGS) == 20
    assert (WALK["frames"].read({}, SETTINGS), WALK["frames"].read({}, Settings(models=()))) == (10, 24)
    with pytest.raises(BadParameter, match=r"frames must be 2\.\.10, got '11'"):
        WALK["frames"].read({"frames": "11"}, SETTINGS)


def test_minus_zero_is_zero() -> None:
    """Both have the same entity tag."""
    assert str(MIX["t"].read({"t": "-0.0"}, SETTINGS)) == "0.0"
