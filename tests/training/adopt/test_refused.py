"""Files that the service would refuse when it loads them: refused by ``adopt``, in one sentence and before they are written."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
import torch
from onnx import numpy_helper

from serving.model import determinism, inspection
from serving.model.load import load_model
from tests.training.adopt.conftest import Adopt
from tests.training.adopt.test_graph import PICTURE, SHAPE, Z, graph, save
from training.adopt.inputs import PROBE_SEEDS, SERVICE_SEEDS

DROPOUT = f"x = Reshape(latent, shape) d = Dropout(x, ratio, training) {PICTURE.replace('x', 'd')}"
FLIPPED = f"x = Reshape(latent, shape) t = Not(off) d = Dropout(x, ratio, t) {PICTURE.replace('x', 'd')}"
CONSTANT = (
    f"x = Reshape(latent, shape) t = Constant <value = bool {{1}}> () d = Dropout(x, ratio, t) {PICTURE.replace('x', 'd')}"
)
RATIO = f"{SHAPE}, float ratio = {{0.0001}}"
FAINT = f"a = Mul(latent, faint) b = Add(a, shift) x = Reshape(b, shape) {PICTURE}"
RANDOM = "drops values at random, as in training: export in evaluation mode"
REFUSED = {
    "dropout": (graph(DROPOUT, constants=f"{RATIO}, bool training = {{1}}"), f"d (Dropout) {RANDOM}"),
    "dropout by a node": (graph(CONSTANT, constants=RATIO), f"d (Dropout) {RANDOM}"),
    "dropout by a computation": (graph(FLIPPED, constants=f"{RATIO}, bool off = {{0}}"), f"d (Dropout) {RANDOM}"),
    "collapsed": (
        graph(FAINT, constants=f"{SHAPE}, float faint = {{0.000001}}, float shift = {{0.3}}"),
        "8 seeds give one picture once it is rounded",
    ),
}


def refused(printed: str, tmp_path: Path) -> str:
    """The one line of a refusal, which leaves no file."""
    (line,) = printed.splitlines()
    assert line.startswith("error: ")
    assert not (tmp_path / "model.onnx").exists()
    return line


@pytest.mark.parametrize("name", REFUSED)
def test_a_graph_that_gives_no_picture_to_a_seed_is_refused(adopt: Adopt, tmp_path: Path, name: str) -> None:
    """Dropout in training mode, whose small ratio changes few pictures, and pictures that differ by parts of a level."""
    model, sentence = REFUSED[name]
    code, printed = adopt(save(model, tmp_path), *Z)
    assert code == 2
    assert sentence in refused(printed, tmp_path)


@pytest.mark.parametrize("training", [", bool training = {0}", ""])
def test_dropout_in_evaluation_mode_is_adopted(adopt: Adopt, tmp_path: Path, training: str) -> None:
    """It does nothing there; the service loads the file."""
    body = DROPOUT if training else DROPOUT.replace(", training", "")
    code, printed = adopt(save(graph(body, constants=RATIO + training), tmp_path), *Z)
    assert code == 0, printed
    load_model(tmp_path / "model.onnx", "cpu")


@pytest.mark.parametrize("place", ["initializer", "node"])
def test_an_infinite_constant_of_a_graph_is_refused(adopt: Adopt, tmp_path: Path, place: str) -> None:
    """A mask of minus infinity, as a weight or as a node; the sentence says what to use in its place."""
    model = graph(f"m = Max(latent, least) x = Reshape(m, shape) {PICTURE}")
    least = numpy_helper.from_array(torch.full((1,), -torch.inf).numpy(), "least")
    if place == "initializer":
        model.graph.initializer.append(least)
    else:
        model.graph.node.insert(0, onnx.helper.make_node("Constant", [], ["least"], value=least))
    code, printed = adopt(save(model, tmp_path), *Z)
    assert code == 2
    assert "the constant least holds NaN or infinity" in refused(printed, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("refused:Masked", "holds NaN or infinity, with which the service"),
        ("refused:Collapsed", "8 seeds give one picture once"),
    ],
)
def test_a_module_that_the_service_would_refuse_is_refused(adopt: Adopt, tmp_path: Path, source: str, sentence: str) -> None:
    """The same of a PyTorch module: attention with a mask of minus infinity, and a collapsed generator."""
    code, printed = adopt(source, *Z)
    assert code == 2
    assert sentence in refused(printed, tmp_path)


def test_the_seeds_are_the_services() -> None:
    """The pictures compared are those that the service compares, and values are finite for all seeds of its checks."""
    assert SERVICE_SEEDS == determinism.PROBE_SEEDS
    assert set(PROBE_SEEDS) >= {*determinism.PROBE_SEEDS, *inspection.SEEDS}
    assert len(PROBE_SEEDS) == len(set(PROBE_SEEDS)) == 64
