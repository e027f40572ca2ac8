"""Adopted generators in the real service; tests/torchserve asks TorchServe for the same files."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from PIL import Image

from contract import Normal, draw
from tests.harness.service import Server, running
from tests.training.adopt import generators
from tests.training.adopt.conftest import FOLDER
from tests.training.adopt.models import OPTIONS, adopt_all


@pytest.fixture(scope="module")
def models(make_once: Callable[[str, Callable[[Path], None]], Path]) -> Path:
    return make_once("adopted", adopt_all)


@pytest.fixture(scope="module")
def service(models: Path, root: Path) -> Iterator[Server]:
    with running(root, models=models) as server:
        yield server


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.parametrize(
    ("name", "query", "size"), [("dcgan", "", 32), ("labels", "&y=3", 16), ("style", "&psi=0.7", 64), ("large", "", 256)]
)
def test_it_is_served_and_verified(
    service: Server, models: Path, root: Path, tmp_path: Path, name: str, query: str, size: int
) -> None:
    """A picture of the generator's size, in its parameters, that `verify` makes again byte for byte."""
    answer = service.get(f"/generate?model={name}&seed=42{query}")
    assert answer.status == 200, answer.body
    assert Image.open(BytesIO(answer.body)).size == (size, size)
    (tmp_path / "42.png").write_bytes(answer.body)
    command = [sys.executable, "-m", "serving", "verify", str(tmp_path / "42.png"), "--models", str(models)]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True)
    assert (done.returncode, "match, bytes equal" in done.stdout) == (0, True), done.stdout + done.stderr
    assert service.get(f"/generate?model={name}&seed=43{query}").body != answer.body


@pytest.mark.slow
@pytest.mark.process
def test_psi_moves_the_picture(service: Server) -> None:
    """The truncation is a query parameter inside the declared range."""
    sent = [service.get(f"/generate?model=style&seed=1&psi={psi}").body for psi in (0.5, 1)]
    assert sent[0] != sent[1]
    assert service.get("/generate?model=style&seed=1&psi=2").status == 400


@pytest.mark.slow
@pytest.mark.process
def test_a_large_picture_comes_in_every_format(service: Server) -> None:
    """256x256 in colours; WebP loses nothing, AVIF at most three levels."""
    png = np.asarray(Image.open(BytesIO(service.get("/generate?model=large&seed=1&format=png").body)), int)
    for name, most in (("webp", 0), ("avif", 3), ("jpeg", 255)):
        answer = service.get(f"/generate?model=large&seed=1&format={name}")
        seen = np.asarray(Image.open(BytesIO(answer.body)), int)
        assert (answer.headers["content-type"], seen.shape) == (f"image/{name}", (256, 256, 3))
        assert np.abs(seen - png).max() <= most


@pytest.mark.slow
@pytest.mark.process
def test_the_picture_is_what_torch_computes(service: Server) -> None:
    """The pixels are those of the module on the seed's latents, within a grey level."""
    z = torch.from_numpy(draw({"z": Normal(100)}, [42])["z"]).view(1, 100, 1, 1)
    with torch.no_grad():
        expected = generators.dcgan().eval()(z)[0].permute(1, 2, 0).numpy() * 127.5 + 127.5
    seen = np.asarray(Image.open(BytesIO(service.get("/generate?model=dcgan&seed=42").body)), np.float32)
    assert np.abs(seen - expected).max() <= 1


@pytest.mark.slow
@pytest.mark.process
def test_the_file_is_the_same_twice_and_folded(models: Path, root: Path, tmp_path: Path) -> None:
    """Another process writes the same bytes; the batch normalisation and the spectral norm are gone from the graph."""
    out = tmp_path / "again.onnx"
    command = [
        sys.executable,
        "-m",
        "training",
        "adopt",
        *OPTIONS["dcgan"],
        "--name",
        "dcgan",
        "--licence",
        "CC0",
        "--out",
        str(out),
    ]
    subprocess.run(command, cwd=FOLDER, env={**os.environ, "PYTHONPATH": str(root)}, check=True, capture_output=True)
    assert out.read_bytes() == (models / "dcgan.onnx").read_bytes()
    assert "BatchNormalization" not in {node.op_type for node in onnx.load(models / "dcgan.onnx").graph.node}
    assert {node.op_type for node in onnx.load(models / "labels.onnx").graph.node}.isdisjoint({"MatMul", "Div"})
