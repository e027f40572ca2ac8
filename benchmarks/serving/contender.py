"""A contender: how a server is installed, started and asked, read from contender.toml in a folder of its own."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from string import Template
from typing import Any, Literal

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
FOLDER = HERE / "contenders"
OURS = "ours"


@dataclass(frozen=True)
class Batching:
    """A setting of a server that gathers requests; all servers get it as BENCH_BATCH and BENCH_WAIT_MS."""

    size: int = 1
    """The most requests in a batch; 1: the server does not gather any."""
    wait_ms: int = 0
    """How long the first request of a batch waits for others, in milliseconds."""

    def __str__(self) -> str:
        return "single requests" if self.size == 1 else f"batches of {self.size} within {self.wait_ms} ms"


@dataclass(frozen=True, kw_only=True)
class Contender:
    """What contender.toml says. ``$names`` in commands, environment and templates are filled in at each start."""

    name: str
    """The folder's name."""
    title: str
    """What the table calls it."""
    advice: str
    """Whose advice the settings follow, and which."""
    start: tuple[str, ...]
    """The command that serves until SIGTERM."""
    path: str
    """Where it is asked, up to the seed; for a POST the whole path."""
    body: tuple[str, ...] = ()
    """For a POST: the media type, and the text before and after the seed."""
    prepare: tuple[tuple[str, ...], ...] = ()
    """Commands that run before each start and end by themselves."""
    batches: tuple[Batching, ...] = (Batching(),)
    """The settings that it is measured with, each in a run of its own; at each load its best one counts."""
    templates: tuple[str, ...] = ()
    """Files of the folder that are copied to ``$work``, their ``$names`` filled in."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables in addition to those of all contenders."""
    venv: str
    """The contender whose requirements.txt it runs in; the project's own environment where that has none."""
    role: Literal["contender", "extra", "limit"] = "contender"
    """An extra row varies a contender; a limit serves no model and shows what the machine gives."""

    @property
    def folder(self) -> Path:
        """Where its files are."""
        return FOLDER / self.name

    @property
    def request(self) -> tuple[str, ...]:
        """What distinct_seeds.lua takes."""
        return (self.path, *self.body)


def load_contenders(folder: Path = FOLDER) -> dict[str, Contender]:
    """Every contender by name, ours first.

    Raises:
        ValueError: a file has a key that is none, or lacks one; the message names both.
    """
    found = [_load(file) for file in sorted(folder.glob("*/contender.toml"))]
    return {c.name: c for c in sorted(found, key=lambda c: (c.name != OURS, c.role == "limit", c.name))}


def _load(file: Path) -> Contender:
    values: dict[str, Any] = {"venv": file.parent.name, **tomllib.loads(file.read_text())}
    values["prepare"] = tuple(map(tuple, values.get("prepare", ())))
    values |= {key: tuple(values.get(key, ())) for key in ("start", "body", "templates")}
    if "batches" in values:
        values["batches"] = tuple(Batching(*pair) for pair in values["batches"])
    try:
        return Contender(name=file.parent.name, **values)
    except TypeError as error:
        raise ValueError(f"{file}: {error}") from None


def fill(text: str, names: Mapping[str, str]) -> str:
    """The text with its ``$names`` replaced.

    Raises:
        KeyError: there is no such name.
    """
    return Template(text).substitute(names)
