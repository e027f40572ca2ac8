"""The catalogue: every recipe by name."""

from training.recipe import Recipe
from training.recipes import dcgan, toys, vanilla

CATALOGUE: dict[str, Recipe] = {r.name: r for r in (*dcgan.RECIPES, *vanilla.RECIPES, *toys.RECIPES)}
DEFAULT = "cdcgan_r1"
