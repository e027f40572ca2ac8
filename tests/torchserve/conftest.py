"""Archives of one model of each kind, built once by the command that users have."""

from __future__ import annotations

import importlib.util
import os
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


@pytest.fixture(scope="session")
def archives(root: Path, make_once: Callable[[str, Callable[[Path], None]], Path]) -> Path:
    """A folder with ``<name>.onnx`` and ``<name>.mar`` of each kind of output."""
    if importlib.util.find_spec("model_archiver") is None:
        pytest.skip("torch-model-archiver is not installed (the extra torchserve)")

    def build(folder: Path) -> None:
        for name, make in MAKERS.items():
            (folder / f"{name}.onnx").write_bytes(make())
            run(root, "build", folder / f"{name}.onnx")

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
