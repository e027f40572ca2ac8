"""The catalogue: every recipe by name."""

from itertools import chain

from training.recipe import Recipe
from training.recipes import dcgan, energy, margin, packing, r3gan, several, toys, vanilla, variational

MODULES = (
    dcgan,
    vanilla,
    toys,
    packing,
    energy,
    margin,
    several,
    variational,
    r3gan,
)
CATALOGUE: dict[str, Recipe] = {recipe.name: recipe for recipe in chain.from_iterable(m.RECIPES for m in MODULES)}
DEFAULT = "cdcgan_r1"
