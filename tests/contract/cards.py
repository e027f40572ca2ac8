"""A card for tests to change, and how its text is read."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from contract import METADATA_KEY, Card, Categorical, Golden, Image, Normal, Uniform, card_from_metadata, card_to_json


def read(text: str) -> Card:
    """The card of a model whose metadata hold this text, among others."""
    return card_from_metadata({METADATA_KEY: text, "other": "is none of our business"})


EXAMPLE = Card(
    name="cdcgan-mnist",
    recipe="cdcgan",
    paper="arXiv:1511.06434",
    latents={"z": Normal(100), "y": Categorical(2), "c": Uniform(2)},
    output=Image(2, 2, 1),
    classes=("zero", "one"),
    data="mnist",
    data_licence="CC BY-SA 3.0",
    steps=10,
    images=640,
    scores={"fid-lenet@3fa1c2": 1.5},
    versions={"numpy": "2.4.6"},
    runtime="onnxruntime-1.31-cpu-x86_64",
    goldens=(Golden(seed=7, latents="ab" * 32, output=np.array([[[1], [2]], [[3], [255]]], np.uint8)),),
)


def example() -> dict[str, Any]:
    """The example as JSON has it, for a test to change."""
    value: dict[str, Any] = json.loads(card_to_json(EXAMPLE))
    return value
