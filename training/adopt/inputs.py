"""``--latent NAME=KIND:SIZE``: a latent as the command line declares it, and how the generator takes it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract import CardError, Categorical, Latent, Latents, draw, parameters, runtime
from contract.latents import latents_from_json
from training.errors import AdoptError

FORMS = "NAME=normal:SIZE, NAME=uniform:SIZE:LOW:HIGH, NAME=categorical:CLASSES or NAME=onehot:CLASSES, each with @INPUT or not"
PATTERN = re.compile(
    r"(?P<name>[A-Za-z_]\w*)=(?P<kind>normal|uniform|categorical|onehot):(?P<size>[1-9]\d*(?:x[1-9]\d*)*)"
    r"(?::(?P<low>-?[\d.]+):(?P<high>-?[\d.]+))?(?:@(?P<target>\S+))?"
)
OUTPUT = "image"
SEED = "seed"
"""The input of the Open Inference Protocol that stands for all latents."""
SERVICE_SEEDS = runtime.PROBE_SEEDS
"""Seeds whose pictures the service compares when it loads a model file."""
PROBE_SEEDS = (*range(60), *SERVICE_SEEDS[4:])
"""Seeds whose samples are checked, and which the service checks for NaN."""
PROBES = len(PROBE_SEEDS)


@dataclass(frozen=True, kw_only=True)
class Input:
    """One latent of a generator from elsewhere."""

    name: str
    """Its name in requests and in the model file."""
    latent: Latent
    shape: tuple[int, ...]
    """Shape of one row as the generator takes it; () for a class number."""
    is_one_hot: bool = False
    """Whether the generator takes a class as a row of zeros and a one."""
    target: str | None = None
    """Parameter of ``forward``, input or random node of a graph that takes it; None: the one of its name, else in order."""

    def __str__(self) -> str:
        return f"{self.name} [{', '.join(map(str, ('n', *self.shape)))}]"


def parse_inputs(texts: Sequence[str]) -> tuple[Input, ...]:
    """The latents that the options ``--latent`` declare, in order.

    Raises:
        AdoptError: one has none of the forms, a size is out of range, or two have the same name or go to the same input.
    """
    inputs = tuple(map(_parse, texts))
    names = [one.name for one in inputs]
    if not names:
        raise AdoptError(f"declare the generator's latents by --latent, as {FORMS}")
    for name, use in ((OUTPUT, "the output"), (SEED, "the seed in a request")):
        if name in names:
            raise AdoptError(f"no latent can be called {name}, which is the name of {use}")
    if repeated := {name for name in names if names.count(name) > 1}:
        raise AdoptError(f"--latent declares {', '.join(sorted(repeated))} twice")
    targets = [one.target or one.name for one in inputs]
    if repeated := {target for target in targets if targets.count(target) > 1}:
        raise AdoptError(f"--latent gives {', '.join(sorted(repeated))} two latents")
    try:
        parameters(latents_of(inputs))
    except CardError as error:
        raise AdoptError(str(error)) from None
    return inputs


def _parse(text: str) -> Input:
    match = PATTERN.fullmatch(text)
    if match is None or (match["low"] is not None and match["kind"] != "uniform"):
        raise AdoptError(f"--latent must be {FORMS}, got {text!r}")
    shape = tuple(map(int, match["size"].split("x")))
    is_class, is_one_hot = match["kind"] in ("categorical", "onehot"), match["kind"] == "onehot"
    if is_class and (prod(shape[1:]) > 1 or (len(shape) > 1 and not is_one_hot)):
        right = f"{match['kind']}:CLASSES{', or onehot:CLASSESx1x1 for [n,CLASSES,1,1]' if is_one_hot else ''}"
        raise AdoptError(f"--latent {text}: a class has no axes, use {match['name']}={right}")
    spec: dict[str, Any] = {"kind": "categorical" if is_class else match["kind"]}
    spec["classes" if is_class else "size"] = prod(shape)
    try:
        if match["low"] is not None:
            spec |= {"low": float(match["low"]), "high": float(match["high"])}
        latent = latents_from_json({match["name"]: spec})[match["name"]]
    except ValueError as error:  # CardError is one
        raise AdoptError(f"--latent {text}: {error}") from None
    row = () if is_class and not is_one_hot else shape
    return Input(name=match["name"], latent=latent, shape=row, is_one_hot=is_one_hot, target=match["target"])


def latents_of(inputs: Sequence[Input]) -> Latents:
    """The declaration of these latents, as a card has it."""
    return {one.name: one.latent for one in inputs}


def draw_probes(inputs: Sequence[Input], rows: slice) -> dict[str, NDArray[Any]]:
    """Latents of some of the 64 seeds; the first two have the first and the last class of a categorical latent."""
    latents = latents_of(inputs)
    places = range(PROBES)[rows]
    # One by one: a row of noise takes ten times its size while it is drawn.
    drawn = [draw(latents, [PROBE_SEEDS[place]]) for place in places]
    joined: dict[str, NDArray[Any]] = {name: np.concatenate([row[name] for row in drawn]) for name in latents}
    for one in inputs:
        if isinstance(one.latent, Categorical):
            ends = {0: 0, 1: one.latent.classes - 1}
            for row, place in enumerate(places):
                joined[one.name][row] = ends.get(place, joined[one.name][row])
    return joined
