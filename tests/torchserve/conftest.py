"""Archives of one model of each kind, built once by the command that users have."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.serving import tiny_onnx

MAKERS = {
    "conditional": tiny_onnx.conditional,
    "colour": tiny_onnx.colour,
    "points2": tiny_onnx.points,
    "tokens": tiny_onnx.tokens,
}


ADOPTED = ("dcgan", "labels", "large", "style")
"""Generators that others trained, of tests/training/adopt/models.py."""


@pytest.fixture(scope="session")
def archives(root: Path, make_once: Callable[[str, Callable[[Path], None]], Path]) -> Path:
    """A folder with ``<name>.onnx`` and ``<name>.mar`` of each kind of output, and of each adopted generator."""
    if importlib.util.find_spec("model_archiver") is None:
        pytest.skip("torch-model-archiver is not installed (the extra torchserve)")

    def build(folder: Path) -> None:
        from tests.training.adopt.models import adopt_all

        for name, make in MAKERS.items():
            (folder / f"{name}.onnx").write_bytes(make())
        adopted = make_once("adopted", adopt_all)
        for name in ADOPTED:
            shutil.copy(adopted / f"{name}.onnx", folder)
        for file in sorted(folder.glob("*.onnx")):
            run(root, "build", file)

    return make_once("archives", build)


@pytest.fixture(scope="session")
def mar(archives: Path) -> bytes:
    """An honest archive."""
    return (archives / "conditional.mar").read_bytes()


def run(root: Path, *arguments: object, code: int = 0) -> str:
    """What ``python -m deploy.torchserve`` prints; it must end with this exit code."""
    command = [sys.executable, "-m", "deploy.torchserve", *map(str, arguments)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr
