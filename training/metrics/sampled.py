"""Samples of an exported model as the service would give them: the file itself runs on onnxruntime, seeds 0, 1, 2, ..."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from contract import Card, CardError, Image, card_from_metadata, draw, picture_inputs
from training.errors import ScoreError
from training.export.runtime import mistake_of, open_session

BATCH = 100


@dataclass(frozen=True, kw_only=True)
class Sampled:
    """What a model file gave."""

    card: Card
    digest: str
    """SHA-256 of the file."""
    items: Tensor
    """uint8 [N,C,H,W], float32 [N,k] or int64 [N,t]."""
    asked: Tensor | None
    """int64 [N], the class that each sample was drawn for; None for an unconditional model."""

    def __getitem__(self, rows: slice) -> Sampled:
        return replace(self, items=self.items[rows], asked=None if self.asked is None else self.asked[rows])


def sample_model(model: Path, count: int) -> Sampled:
    """The samples of seeds 0..count-1, on the CPU.

    Raises:
        ScoreError: the file is not there, is no ONNX model, or needs a picture.
        CardError: it has no card, or a false one.
    """
    if not model.is_file():
        raise ScoreError(f"there is no model {model}")
    content = model.read_bytes()
    try:
        session = open_session(content, intra_op_threads=0)
    except Exception as error:  # onnxruntime's own errors share no base class
        raise ScoreError(f"{model} is not a model that onnxruntime runs: {mistake_of(error)}") from error
    try:
        card = card_from_metadata(session.get_modelmeta().custom_metadata_map)
    except CardError as error:
        raise CardError(f"{model}: {error}") from None
    if card.picture is not None and not card.picture.is_optional:
        raise ScoreError(f"{model} changes a picture, and makes no samples of its own; score its run directory")
    outputs, asked = [], []
    for start in range(0, count, BATCH):
        seeds = range(start, min(start + BATCH, count))
        drawn = draw(card.latents, seeds)
        given = {} if card.picture is None else picture_inputs(card.picture, [None] * len(seeds))
        made = torch.from_numpy(session.run(None, {**drawn, **given})[0])
        outputs.append(made.permute(0, 3, 1, 2).contiguous() if isinstance(card.output, Image) else made)
        asked += [drawn["y"]] if card.classes else []
    return Sampled(
        card=card,
        digest=hashlib.sha256(content).hexdigest(),
        items=torch.cat(outputs),
        asked=torch.from_numpy(np.concatenate(asked)) if asked else None,
    )
