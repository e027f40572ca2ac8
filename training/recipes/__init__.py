"""The catalogue: every recipe by name."""

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
CATALOGUE: dict[str, Recipe] = {recipe.name: recipe for recipe in chain.from_iterable(m.RECIPES for m in MODULES)}
DEFAULT = "cdcgan_r1"
