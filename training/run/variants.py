"""Variants of a recipe: other samplers of the same nets, each a model of its own."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import replace

from contract import Card
from training.data import DataSet
from training.errors import TrainingError
from training.export.sample_grid import sampler_of
from training.export.samplers import Sampler, sampler_for
from training.files import MODEL
from training.game.loop import Game
from training.game.recipe import Recipe, Variant

MOST_NAME = 64
"""Letters of a model's name, at most; see ``contract.check_names``."""


def model_name(recipe: str, data: DataSet) -> str:
    """Name of the model in requests: what a folder's name has besides letters, digits, dots and dashes becomes a dash."""
    plain = unicodedata.normalize("NFKD", data.name).encode("ascii", "ignore").decode()
    return re.sub(r"[^A-Za-z0-9._-]+", "-", f"{recipe}-{plain}")[:MOST_NAME].rstrip("-")


def variant_of(recipe: Recipe, name: str) -> Variant:
    """The variant of that name.

    Raises:
        TrainingError: there is none; the message has those that the recipe has.
    """
    known = {variant.name: variant for variant in recipe.variants}
    if name not in known:
        raise TrainingError(f"the variants of {recipe.name} are {', '.join(known) or 'none'}, got {name!r}")
    return known[name]


def model_of(game: Game, data: DataSet, card: Card, variant: Variant | None) -> tuple[Sampler, Card, str]:
    """The sampler, the card and the file name of a game's own model, or of a variant of it; ``card`` is that of the former."""
    if variant is None:
        return sampler_of(game, data), card, MODEL
    latents = variant.latents(len(data.classes))
    sampler = sampler_for(data, variant.sampler(game.sampling_nets()), tuple(latents), game.recipe.pixels)
    name, classes = model_name(f"{card.recipe}-{variant.name}", data), variant.classes or card.classes
    return sampler, replace(card, name=name, latents=latents, classes=classes), f"model-{variant.name}.onnx"
