"""The catalogue: every recipe by name."""

import re
from collections.abc import Iterable
from itertools import chain

from training.game.recipe import Recipe
from training.recipes import (
    caae,
    conditional,
    dcgan,
    energy,
    infogan,
    lapgan,
    margin,
    mixture,
    packing,
    pictures,
    pix2pix,
    ppgn,
    progan,
    r3gan,
    salimans,
    seqgan,
    several,
    toys,
    vanilla,
    variational,
    wasserstein,
)

MODULES = (
    dcgan,
    pictures,
    vanilla,
    toys,
    wasserstein,
    conditional,
    infogan,
    salimans,
    lapgan,
    packing,
    energy,
    margin,
    mixture,
    several,
    variational,
    pix2pix,
    caae,
    progan,
    r3gan,
    seqgan,
    ppgn,
)


def by_name(recipes: Iterable[Recipe]) -> dict[str, Recipe]:
    """The recipes by name; ValueError where a name cannot be that of a folder and of a model, or two recipes have it."""
    found: dict[str, Recipe] = {}
    for recipe in recipes:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", recipe.name):
            raise ValueError(f"the name of a recipe must be letters, digits, underscores and dashes, got {recipe.name!r}")
        if recipe.name in found:
            raise ValueError(f"two recipes have the name {recipe.name!r}: give one of them another name")
        found[recipe.name] = recipe
    return found


CATALOGUE: dict[str, Recipe] = by_name(chain.from_iterable(m.RECIPES for m in MODULES))
DEFAULT = "cdcgan_r1"
