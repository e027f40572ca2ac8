"""Hashes of the PNG files of a model's golden seeds, as this process encodes them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from contract.pictures import has_no_picture
from serving.encoding.formats import FORMATS, fingerprint
from serving.engine.samples import sample_of
from serving.model.load import ModelFacts


@dataclass(frozen=True, kw_only=True)
class GoldenFiles:
    """Hashes for comparing the responses of two machines."""

    encoder: str | None
    """Fingerprint of the PNG encoder (zlib, and Pillow for plots); None if the output has no PNG format."""
    files: Mapping[str, str]
    """Golden seed to SHA-256 of the PNG that ``/generate`` sends; equal on machines with equal pixels, runtime and encoder.

    Seeds whose golden was made from a picture, too, are left out."""

    @property
    def digest(self) -> str:
        """One short hash over all files."""
        return hashlib.sha256(repr(sorted(self.files.items())).encode()).hexdigest()[:16]


def hash_golden_files(model: ModelFacts) -> GoldenFiles:
    """Render as a PNG, and hash, each golden of the card that was made from its seed alone, as ``/generate`` makes a sample.

    The goldens of a model with a picture were made from one; where it is optional, those of odd seeds were not.
    """
    output = model.card.output
    if "png" not in FORMATS[output.kind]:
        return GoldenFiles(encoder=None, files={})
    samples = [
        sample_of(model, row[None], golden.seed, {})
        for golden, row in zip(model.card.goldens, model.goldens.rows, strict=True)
        if model.card.picture is None or has_no_picture(model.card.picture, golden.seed)
    ]
    return GoldenFiles(
        encoder=fingerprint(output.kind, "png"),
        files={str(s.seed): hashlib.sha256(FORMATS[output.kind]["png"].encode(s)).hexdigest() for s in samples},
    )
