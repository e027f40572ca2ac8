"""Generators as their authors published them, adopted: DCGAN, conditional, StyleGAN2-like, and one of 256x256 pixels."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.training.adopt import generators
from tests.training.adopt.conftest import FOLDER
from training.__main__ import main

OPTIONS = {
    "dcgan": ("generators:dcgan", "--latent", "z=normal:100x1x1", "--output", "tanh"),
    "labels": (
        "generators:conditional",
        *("--latent", "z=normal:16", "--latent", "y=categorical:10@labels", "--output", "unit"),
    ),
    "style": (
        "generators:style",
        *("--latent", "z=normal:32", "--latent", f"noise=normal:{generators.StyleGenerator.NOISE}"),
        *("--latent", "psi=uniform:1:0.5:1", "--output", "tanh", "--clamp"),
    ),
    "large": ("generators:narrow", "--latent", "z=normal:128", "--output", "tanh"),
}


def adopt_all(folder: Path) -> None:
    """Write ``<name>.onnx`` of each into a folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(FOLDER)
        patch.setattr(sys, "path", list(sys.path))
        for name, words in OPTIONS.items():
            assert main(["adopt", *words, "--name", name, "--licence", "CC0", "--out", str(folder / f"{name}.onnx")]) == 0
