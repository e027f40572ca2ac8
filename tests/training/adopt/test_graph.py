"""ONNX generators from elsewhere: rewired, or refused with one sentence that names the node or the input."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import onnxruntime
import pytest
import torch

from contract import Normal, draw
from serving.model.load import load_model
from tests.training.adopt import generators
from tests.training.adopt.conftest import Adopt

Z = ("--latent", "z=normal:12")
BODY = """
  x = Reshape(latent, shape)
  picture = Tanh(x)
"""


def graph(
    body: str = BODY,
    inputs: str = "float[1,12] latent",
    output: str = "float[1,3,2,2] picture",
    opset: int = 17,
    constants: str = "int64[4] shape = {1,3,2,2}",
) -> onnx.ModelProto:
    """A small graph with a batch of one row, as many exporters write it."""
    head = f'<ir_version: 8, opset_import: ["" : {opset}, "com.microsoft" : 1]>'
    return onnx.parser.parse_model(f"{head} g ({inputs}) => ({output}) <{constants}> {{ {body} }}")


def save(model: onnx.ModelProto, tmp_path: Path) -> str:
    onnx.save(model, tmp_path / "g.onnx")
    return str(tmp_path / "g.onnx")


def test_a_graph_of_one_row_becomes_one_of_any_number(adopt: Adopt, tmp_path: Path) -> None:
    """The input has the latent's name and n rows, the output is uint8 [n,h,w,c]; the service loads it."""
    code, printed = adopt(save(graph(), tmp_path), *Z)
    assert code == 0, printed
    model = onnx.load(tmp_path / "model.onnx")
    values = (*model.graph.input, *model.graph.output)
    shapes = {v.name: [d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim] for v in values}
    assert shapes == {"z": ["n", 12], "image": ["n", 2, 2, 3]}
    drawn = draw({"z": load_model(tmp_path / "model.onnx", "cpu").card.latents["z"]}, [5])["z"]
    expected = np.round(np.tanh(drawn).reshape(3, 2, 2).transpose(1, 2, 0) * 127.5 + 127.5)
    assert np.abs(load_model(tmp_path / "model.onnx", "cpu").sample([5])[0] - expected).max() <= 1


def test_the_file_is_the_same_twice(adopt: Adopt, tmp_path: Path) -> None:
    """Adopting again writes the same bytes."""
    source = save(graph(), tmp_path)
    adopt(source, *Z)
    before = (tmp_path / "model.onnx").read_bytes()
    adopt(source, *Z)
    assert (tmp_path / "model.onnx").read_bytes() == before


@pytest.mark.parametrize("name", ["x", "z", "latent", "shape"])
def test_names_of_the_graph_do_not_collide(adopt: Adopt, tmp_path: Path, name: str) -> None:
    """A latent may be called like an inner tensor, and an inner tensor ``image``."""
    code, printed = adopt(
        save(graph(BODY.replace("x", "image") if name == "z" else BODY), tmp_path), "--latent", f"{name}=normal:12"
    )
    assert code == 0, printed
    assert [value.name for value in onnx.load(tmp_path / "model.onnx").graph.input] == [name]


def test_latents_take_the_shape_and_type_of_their_inputs(adopt: Adopt, tmp_path: Path) -> None:
    """[1,12,1,1], int32 [1,1] and one-hot rows are made of [n,12] and of class numbers."""
    body = """
      a = Reshape(latent, shape)
      b = Cast <to = 1> (label)
      c = Reshape(b, one)
      d = ReduceSum <keepdims = 1> (hot, axes)
      e = Reshape(d, one)
      f = Mul(a, e)
      g = Add(f, c)
      picture = Tanh(g)
    """
    constants = "int64[4] shape = {1,3,2,2}, int64[4] one = {1,1,1,1}, int64[1] axes = {1}"
    source = save(graph(body, "float[1,12,1,1] latent, int32[1,1] label, float[1,4] hot", constants=constants), tmp_path)
    code, printed = adopt(source, *Z, "--latent", "y=categorical:10", "--latent", "k=onehot:4")
    assert code == 0, printed
    assert {"k", "y"} <= load_model(tmp_path / "model.onnx", "cpu").parameters.keys()


@pytest.mark.parametrize("kind", ["uint8", "int16", "bool"])
def test_a_class_may_be_of_any_type_of_whole_numbers(kind: str, adopt: Adopt, tmp_path: Path) -> None:
    """The graph is compared with the one in the file by inputs of the file's own type."""
    body = "a = Reshape(latent, shape) b = Cast <to = 1> (label) c = Reshape(b, one) d = Mul(a, c) picture = Tanh(d)"
    constants = "int64[4] shape = {1,3,2,2}, int64[4] one = {1,1,1,1}"
    source = save(graph(body, f"float[1,12] latent, {kind}[1] label", constants=constants), tmp_path)
    code, printed = adopt(source, *Z, "--latent", "y=categorical:2")
    assert code == 0, printed


def test_a_noise_node_is_bound_to_a_latent(adopt: Adopt, tmp_path: Path) -> None:
    """The node is named in the refusal, and replaced where a latent names it; then the seed fixes the picture."""
    body = "x = Reshape(latent, shape) noise_of_4 = RandomNormalLike(x) y = Add(x, noise_of_4) picture = Tanh(y)"
    source = save(graph(body), tmp_path)
    code, printed = adopt(source, *Z)
    assert code == 2
    assert "the node noise_of_4 (RandomNormalLike) draws noise" in printed
    assert "--latent noise=normal:3x2x2@noise_of_4" in printed
    for latent in ("noise=normal:3x2x2@noise_of_4", "noise_of_4=normal:3x2x2"):
        code, printed = adopt(source, *Z, "--latent", latent)
        assert code == 0, printed
    assert "RandomNormalLike" not in {node.op_type for node in onnx.load(tmp_path / "model.onnx").graph.node}


@pytest.mark.slow
def test_noise_of_a_large_picture_is_bound_to_a_latent(adopt: Adopt, tmp_path: Path) -> None:
    """A node of 1024x1024 values, as the last layers of StyleGAN have; the service loads the file."""
    body = """
      noise = RandomNormal <shape = [1,1,1024,1024]> ()
      strip = ReduceMean <axes = [2,3], keepdims = 1> (noise)
      x = Reshape(latent, shape)
      y = Add(x, strip)
      picture = Tanh(y)
    """
    code, printed = adopt(save(graph(body), tmp_path), *Z, "--latent", "e=normal:1x1024x1024@noise")
    assert code == 0, printed
    assert load_model(tmp_path / "model.onnx", "cpu", max_batch=2).card.latents["e"] == Normal(2**20)


def test_a_uniform_noise_node_is_bound_to_a_latent_of_its_bounds(adopt: Adopt, tmp_path: Path) -> None:
    """The bounds of the latent are compared in float32, as the node has them."""
    body = "x = Reshape(latent, shape) e = RandomUniformLike <low = -0.3, high = 0.1> (x) y = Add(x, e) picture = Tanh(y)"
    code, printed = adopt(save(graph(body), tmp_path), *Z, "--latent", "noise=uniform:3x2x2:-0.3:0.1@e")
    assert code == 0, printed


@pytest.mark.slow
def test_external_data_is_folded_in(adopt: Adopt, tmp_path: Path) -> None:
    """Weights in a file next to the graph become part of the model file."""
    net, folder = generators.dcgan().eval(), tmp_path / "theirs"
    folder.mkdir()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(net, (torch.zeros(1, 100, 1, 1),), folder / "g.onnx", dynamo=True, verbose=False)
    theirs = onnx.load(folder / "g.onnx")
    onnx.save(theirs, folder / "g.onnx", save_as_external_data=True, location="weights", size_threshold=0)
    assert (folder / "weights").stat().st_size > 100_000
    code, printed = adopt(str(folder / "g.onnx"), "--latent", "z=normal:100")
    assert code == 0, printed
    (folder / "weights").unlink()
    model = load_model(tmp_path / "model.onnx", "cpu")
    z = draw(model.card.latents, [42])["z"].reshape(1, 100, 1, 1)
    with torch.no_grad():
        expected = net(torch.from_numpy(z))[0].permute(1, 2, 0).numpy() * 127.5 + 127.5
    assert np.abs(model.sample([42])[0] - expected).max() <= 1
    assert adopt(str(folder / "g.onnx"), "--latent", "z=normal:100")[0] == 2


def test_an_old_operator_set_is_converted(adopt: Adopt, tmp_path: Path) -> None:
    """Operator set 11 becomes one whose operators the appended nodes know."""
    code, printed = adopt(save(graph(opset=11), tmp_path), *Z)
    assert code == 0, printed
    onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])


PICTURE = "picture = Tanh(x)"
SHAPE = "int64[4] shape = {1,3,2,2}"
NORM = "a = Reshape(latent, shape) x, m, v = BatchNormalization <training_mode = 1> (a, s, b, s, s)"
AFFINE = "int64[4] shape = {1,3,2,2}, float[3] s = {1,1,1}, float[3] b = {0,0,0}"
MEAN = "a = Reshape(latent, shape) m = ReduceMean <axes = [0], keepdims = 1> (a) x = Sub(a, m)"
LOOSE = graph(f"{MEAN} {PICTURE}", "float[n,12] latent", "float[n,3,2,2] picture", constants="int64[4] shape = {-1,3,2,2}")
MISTAKES = [
    (graph(), ("--latent", "z=normal:13"), r"takes latent as \[1, 12\], but --latent declares z \[n, 13\]"),
    (graph(), ("--latent", "z=normal:12@w"), "no input or random node 'w' for the latent z; it has latent"),
    (graph(), (*Z, "--latent", "y=categorical:3"), "no input for the latent y; it has latent"),
    (graph(inputs="float[1,12] latent, int64[1] label"), Z, r"needs label \[1\] as well"),
    (graph(), (*Z, "--output", "unit"), "outside the 0 to 1 of --output unit; is it --output tanh"),
    (
        graph("picture = Tanh(latent)", output="float[1,12] picture"),
        Z,
        r"pictures \[n,c,h,w\] of 1 or 3 channels, got \[n,12\]",
    ),
    (
        graph(f"{NORM} {PICTURE}", constants="int64[4] shape = {1,3,2,2}, float[3] s = {1,1,1}, float[3] b = {0,0,0}"),
        Z,
        "statistics of",
    ),
    (LOOSE, Z, "one row at a time only: a picture depends on the other rows"),
    (graph(BODY.replace("Tanh", "com.microsoft.Gelu")), Z, r"picture \(Gelu\) is of com.microsoft"),
    (
        graph(f"a = Mul(latent, nothing) x = Reshape(a, shape) {PICTURE}", constants=f"{SHAPE}, float[1] nothing = {{0}}"),
        Z,
        "64 seeds give one picture",
    ),
    (graph(), (*Z, "--weights", "g.pt"), "--weights, --key and --strip are for PyTorch modules"),
    (
        graph(inputs="float[4,12] latent", constants="int64[4] shape = {4,3,2,2}"),
        Z,
        "was exported for 4 rows: export it for one, or for any number (the graph does not run on these latents: Non-zero",
    ),
    (
        graph(f"{BODY.replace('picture', 'y')} picture = Cast <to = 8> (y)", output="string[1,3,2,2] picture"),
        Z,
        "the output must be of numbers, and is of strings",
    ),
    (
        graph("x = Reshape(latent, shape) e = RandomNormalLike <scale = 0.5> (x) y = Add(x, e) picture = Tanh(y)"),
        (*Z, "--latent", "noise=normal:3x2x2@e"),
        "e (RandomNormalLike) draws noise that is not standard normal",
    ),
    *[
        (graph(f"x = Reshape(latent, shape) {draw} y = Add(x, e) picture = Tanh(y)"), (*Z, *options), sentence)
        for draw, options, sentence in (
            (
                "e = RandomUniformLike(x)",
                (),
                "the node e (RandomUniformLike) draws noise, so a seed would not fix the pictures: "
                "bind it to a latent, --latent noise=uniform:3x2x2:0:1@e",
            ),
            (
                "e = RandomUniformLike(x)",
                ("--latent", "noise=normal:3x2x2@e"),
                "draws other noise than the latent noise: use noise=uniform:3x2x2:0:1@e",
            ),
            ("e = RandomUniformLike(x)", ("--latent", "e=uniform:3x2x2"), "than the latent e: use e=uniform:3x2x2:0:1@e"),
            (
                "e = RandomUniform <low = -0.3, high = 0.1, shape = [1,3,2,2]> ()",
                ("--latent", "e=onehot:12"),
                "than the latent e: use e=uniform:3x2x2:-0.3:0.1@e",
            ),
            ("e = RandomUniformLike <low = 1.0> (x)", (), "draws noise from 1 to 1, which no latent can replace"),
            ("e = RandomNormalLike(x)", ("--latent", "e=uniform:3x2x2:0:1"), "than the latent e: use e=normal:3x2x2@e"),
            ("p = Sigmoid(x) e = Bernoulli(p)", ("--latent", "e=normal:3x2x2"), "neither normal nor uniform, which no latent"),
        )
    ],
]


@pytest.mark.parametrize(("model", "options", "sentence"), MISTAKES, ids=[m[2][:30] for m in MISTAKES])
def test_each_mistake_is_one_sentence(
    adopt: Adopt, tmp_path: Path, model: onnx.ModelProto, options: tuple[str, ...], sentence: str
) -> None:
    """Exit code 2, one line that says what is wrong, and no file."""
    code, printed = adopt(save(model, tmp_path), *options)
    assert code == 2, printed
    (line,) = printed.splitlines()
    assert line.startswith("error: ")
    assert sentence in line or re.search(sentence, line), line
    assert "onnxruntime_src" not in line
    assert not (tmp_path / "model.onnx").exists()


def test_a_graph_that_the_service_would_refuse_is_refused(
    adopt: Adopt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More nodes than the service runs are one sentence; the limit is the contract's."""
    monkeypatch.setattr("training.adopt.served.MAX_NODES", 5)
    assert re.search(r"the graph has \d+ nodes; the service runs at most 5\n", adopt(save(graph(), tmp_path), *Z)[1])


def test_a_file_that_is_no_graph_is_refused(adopt: Adopt, tmp_path: Path) -> None:
    """Bytes of another kind, and a file that is not there."""
    (tmp_path / "g.onnx").write_bytes(b"\x08\x07 no graph")
    assert "is no valid ONNX model" in adopt(str(tmp_path / "g.onnx"), *Z)[1]
    without = graph()
    del without.graph.output[:]
    assert "g.onnx has no output" in adopt(save(without, tmp_path), *Z)[1]
    assert "No such file" in adopt(str(tmp_path / "absent.onnx"), *Z)[1]


@pytest.mark.parametrize("weights", [False, True], ids=["graph", "weights"])
def test_the_generators_own_file_is_not_replaced(adopt: Adopt, tmp_path: Path, weights: bool) -> None:
    """A graph called model.onnx, the name that --out has if it is not given, stays as it was; so do weights."""
    if weights:
        torch.save(generators.dcgan().state_dict(), tmp_path / "g.onnx")
        words = ["generators:dcgan", "--weights", str(tmp_path / "g.onnx"), "--latent", "z=normal:100x1x1"]
    else:
        words = [save(graph(), tmp_path), *Z]
    before = (tmp_path / "g.onnx").read_bytes()
    code, printed = adopt(*words, "--out", str(tmp_path / "g.onnx"))
    assert code == 2
    assert f"--out {tmp_path / 'g.onnx'} is the generator's own file" in printed
    assert (tmp_path / "g.onnx").read_bytes() == before


def test_a_folder_is_no_model_file(adopt: Adopt, tmp_path: Path) -> None:
    """The sentence blames the option, not the generator."""
    code, printed = adopt("generators:dcgan", "--latent", "z=normal:100x1x1", "--out", str(tmp_path))
    assert (code, printed) == (2, f"error: --out must name a file, and {tmp_path} is a folder\n")
