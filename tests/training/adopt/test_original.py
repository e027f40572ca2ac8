"""ONNX generators next to what their files say: coordinates of old operator sets, types and shapes of inputs and of noise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from contract import Categorical, draw
from serving.model.load import load_model
from tests.training.adopt.conftest import Adopt
from tests.training.adopt.test_graph import BODY, SHAPE, Z, graph, save

UPSAMPLED = 'x = Reshape(latent, shape) u = Upsample <mode = "{mode}"> (x, scales) picture = Tanh(u)'
RESIZED = UPSAMPLED.replace("Upsample", "Resize")
SCALES = f"{SHAPE}, float[4] scales = {{1,1,2,2}}"
NOISY = "x = Reshape(latent, shape) e = RandomNormal <shape = [1,3,2,2]> () y = Add(x, e) picture = Tanh(y)"


@pytest.mark.parametrize("mode", ["linear", "nearest"])
@pytest.mark.parametrize(("body", "opset"), [(UPSAMPLED, 9), (RESIZED, 10)], ids=["upsample", "resize"])
def test_an_old_resize_keeps_its_coordinates(adopt: Adopt, tmp_path: Path, body: str, opset: int, mode: str) -> None:
    """Below operator set 11 a pixel lies at its corner; the pictures are those of the file."""
    source = save(graph(body.format(mode=mode), output="float[1,3,4,4] picture", opset=opset, constants=SCALES), tmp_path)
    code, printed = adopt(source, *Z)
    assert code == 0, printed
    model = load_model(tmp_path / "model.onnx", "cpu")
    session = onnxruntime.InferenceSession(source, providers=["CPUExecutionProvider"])
    (before,) = session.run(None, {"latent": draw(model.card.latents, [5])["z"]})
    assert np.abs(model.sample([5])[0] - (before[0].transpose(1, 2, 0) * 127.5 + 127.5)).max() <= 1


def test_pictures_are_compared_with_the_file_before_its_conversion(
    adopt: Adopt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A conversion that moves pixels is refused."""
    monkeypatch.setattr("training.adopt.original.OLD_COORDINATES", {})
    body = UPSAMPLED.format(mode="linear")
    source = save(graph(body, output="float[1,3,4,4] picture", opset=9, constants=SCALES), tmp_path)
    code, printed = adopt(source, *Z)
    assert (code, "differs from the one in the file by more than a grey level" in printed) == (2, True), printed


@pytest.mark.parametrize("latent", ["y=normal:1", "y=uniform:1:0:9", "y=normal:1@label"])
def test_a_class_of_a_graph_takes_no_fractions(adopt: Adopt, tmp_path: Path, latent: str) -> None:
    """They would be cut to whole numbers; the refusal says what to declare."""
    body = "a = Reshape(latent, shape) b = Cast <to = 1> (label) c = Reshape(b, one) d = Mul(a, c) picture = Tanh(d)"
    constants = f"{SHAPE}, int64[4] one = {{1,1,1,1}}"
    source = save(graph(body, "float[1,12] latent, int64[1] label", constants=constants), tmp_path)
    code, printed = adopt(source, *Z, "--latent", latent)
    target = "@label" if "@" in latent else ""
    assert (code, printed) == (2, f"error: the graph takes label as int64: use --latent y=categorical:CLASSES{target}\n")


@pytest.mark.parametrize("latent", ["normal:1x1x1", "normal:12", "normal:2x3x2"])
def test_noise_of_another_shape_is_refused(adopt: Adopt, tmp_path: Path, latent: str) -> None:
    """It would be stretched over the node's; the refusal names the shape of one row."""
    code, printed = adopt(save(graph(NOISY), tmp_path), *Z, "--latent", f"noise={latent}@e")
    assert code == 2, printed
    assert "e (RandomNormal) draws other noise than the latent noise: use noise=normal:3x2x2@e" in printed


def test_the_shape_of_noise_is_named_as_far_as_it_is_known(adopt: Adopt, tmp_path: Path) -> None:
    """Noise without an axis of rows needs one, which its user chooses."""
    code, printed = adopt(save(graph(NOISY), tmp_path), *Z)
    assert (code, "bind it to a latent, --latent noise=normal:3x2x2@e\n" in printed) == (2, True), printed
    source = save(graph(NOISY.replace("[1,3,2,2]", "[2,2]")), tmp_path)
    code, printed = adopt(source, *Z)
    assert (code, "bind it to a latent, --latent noise=normal:SIZE@e\n" in printed) == (2, True), printed
    code, printed = adopt(source, *Z, "--latent", "e=normal:1x2x2")
    assert code == 0, printed


@pytest.mark.parametrize("shape", ["", "[1]"])
def test_one_number_for_all_rows_is_refused(adopt: Adopt, tmp_path: Path, shape: str) -> None:
    """The refusal says how to export it; onnxruntime's own words follow."""
    body = "a = Mul(latent, psi) x = Reshape(a, shape) picture = Tanh(x)"
    source = save(graph(body, f"float[1,12] latent, float{shape} psi"), tmp_path)
    code, printed = adopt(source, *Z, "--latent", "psi=uniform:1:0.5:1")
    assert code == 2
    sentence = "the graph takes psi as one number for all rows: export it with one for each, as psi [n, 1] (the graph takes one"
    assert sentence in printed


def test_a_number_that_the_graph_gives_to_each_row_is_adopted(adopt: Adopt, tmp_path: Path) -> None:
    """As one of a single axis may be; the file is compared by inputs of its own shape."""
    body = "p = Reshape(psi, one) a = Mul(latent, p) x = Reshape(a, shape) picture = Tanh(x)"
    source = save(graph(body, "float[1,12] latent, float psi", constants=f"{SHAPE}, int64[2] one = {{1,1}}"), tmp_path)
    code, printed = adopt(source, *Z, "--latent", "psi=uniform:1:0.5:1")
    assert code == 0, printed


def test_a_class_may_be_a_map_of_one_pixel(adopt: Adopt, tmp_path: Path) -> None:
    """y=onehot:4x1x1 goes to an input [1,4,1,1]."""
    body = "x = Mul(hot, gain) picture = Tanh(x)"
    model = graph(body, "float[1,4,1,1] hot", "float[1,3,4,4] picture", constants="float[3,4,4,4] kernel = {0}")
    del model.graph.initializer[:]
    kernel = np.random.default_rng(1).normal(size=(4, 3, 4, 4)).astype(np.float32)
    model.graph.initializer.append(onnx.numpy_helper.from_array(kernel, "kernel"))
    model.graph.node[0].CopyFrom(onnx.helper.make_node("ConvTranspose", ["hot", "kernel"], ["x"]))
    code, printed = adopt(save(model, tmp_path), "--latent", "y=onehot:4x1x1@hot")
    assert code == 0, printed
    assert load_model(tmp_path / "model.onnx", "cpu").card.latents == {"y": Categorical(4)}


def test_a_graph_without_memory_is_reported_as_such(adopt: Adopt, tmp_path: Path) -> None:
    """And not as one that the latents do not fit."""
    body = (
        f"{BODY.replace('picture', 'y')} size = Mul(shape, huge) v = Expand(latent, wide) w = ReduceMax(v) picture = Add(y, w)"
    )
    constants = f"{SHAPE}, int64[4] huge = {{1,1,1,1}}, int64[4] wide = {{1000000,1000000,1000,12}}"
    code, printed = adopt(save(graph(body, constants=constants), tmp_path), *Z)
    assert (code, "error: not enough memory to run the generator (" in printed) == (2, True), printed
