"""PyTorch generators with unusual habits: what can be adopted is, and each other one is refused with what to do."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from contract import Categorical, draw
from serving.model.load import load_model
from tests.training.adopt import unusual
from tests.training.adopt.conftest import Adopt
from training.__main__ import main
from training.adopt.pictures import PictureFormat
from training.errors import AdoptError
from training.export.explain import explain

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::DeprecationWarning")]

Z = ("--latent", "z=normal:12")
SHIFT = ("--latent", "shift=uniform:12:0:1")
BLACK = ("--output", "unit", "--clamp")
MISTAKES = [
    ("unusual:scripted", Z, r"^error: unusual:scripted is TorchScript.*onnx.export\(net, z, PATH, dynamo=False\), and adopt"),
    ("unusual:partly_scripted", Z, "^error: the module 0 of unusual:partly_scripted is TorchScript"),
    ("unusual:Lazy", Z, "first.weight has no values yet.*call the net once in the function"),
    ("unusual:Fused", Z, "takes its groups from the number of rows, which ONNX cannot:.*fused_modconv=False"),
    ("unusual:Autocast", Z, "changes the precision of its numbers, in which onnxruntime has no Gemm: leave .half.*autocast"),
    ("unusual:RowByRow", Z, "fixes the number of rows.*without a loop over them"),
    ("unusual:Layered", (*Z, "--latent", "psi=uniform:1:0.5:1"), r"psi \[n, 1\]: Layered.forward: The size of tensor a"),
    ("unusual:LeakyFunction", Z, "ONNX has no operator for aten.rrelu_with_noise"),
    ("unusual:Immense", Z, r"not enough memory to run the generator \(.*can't allocate memory"),
    ("unusual:Slashed", (*Z, *SHIFT), "takes 'shift' by its place only: declare 'gain' before it as well"),
    ("generators:Dense", ("--latent", "w=normal:12@z", *Z), "--latent gives z two latents"),
    ("training.networks:Generator", Z, "package training hides the generator's: rename that one, or export an ONNX file"),
    ("generators:Pictures", ("--latent", "y=onehot:3x4@z"), "class has no axes, use y=onehot:CLASSES, or onehot:CLASSESx1x1"),
    ("generators:Conditional", (*Z, "--latent", "y=categorical:2x5"), "a class has no axes, use y=categorical:CLASSES"),
    ("generators:Pictures", (*Z, *BLACK), "is -.* to .*, outside the 0 to 1 of --output unit; is it --output tanh"),
    ("unusual:Levels255", (*Z, "--clamp"), "outside the -1 to 1 of --output tanh; is it --output uint8"),
    ("unusual:Levels255", (*Z, *BLACK), "outside the 0 to 1 of --output unit; is it --output uint8"),
    ("unusual:Overshooting", (*Z, "--output", "unit"), "outside the 0 to 1 of --output unit; --clamp cuts what is outside"),
]


@pytest.mark.parametrize(("source", "options", "sentence"), MISTAKES, ids=[f"{m[0]} {m[2][:30]}" for m in MISTAKES])
def test_each_mistake_is_one_sentence(
    adopt: Adopt, tmp_path: Path, source: str, options: tuple[str, ...], sentence: str
) -> None:
    """Exit code 2, one line that says what to do, and no file."""
    code, printed = adopt(source, *options)
    assert code == 2, printed
    (line,) = printed.splitlines()
    assert re.search(sentence, line), line
    assert not (tmp_path / "model.onnx").exists()


@pytest.mark.parametrize(
    ("source", "share"),
    [
        ("unusual:Overshooting", r"\d+% of the values, which are -0.2 to 1.2, to --output unit"),
        ("unusual:BelowZero", "tanh[?]"),
    ],
)
def test_what_is_cut_is_said(adopt: Adopt, source: str, share: str) -> None:
    """The share, and between which values they lie; another range is asked for where it holds them and is hardly filled."""
    code, printed = adopt(source, *Z, *BLACK)
    assert code == 0, printed
    assert re.search(f"^note: --clamp cuts .*{share}", printed), printed


def test_nothing_is_said_where_nothing_is_cut(adopt: Adopt) -> None:
    """--clamp changes nothing for a generator that keeps its range."""
    code, printed = adopt("generators:Pictures", *Z, "--clamp")
    assert (code, printed.startswith("adopted")) == (0, True), printed


@pytest.mark.parametrize(
    ("source", "options"),
    [("InPlace", ()), ("Slash", SHIFT), ("Slashed", ()), ("Leaky", ()), ("Hungry", ())],
)
def test_it_is_adopted(adopt: Adopt, tmp_path: Path, source: str, options: tuple[str, ...]) -> None:
    """The pictures are those of the module, within a grey level."""
    torch.manual_seed(1)
    code, printed = adopt(f"unusual:{source}", *Z, *options)
    assert code == 0, printed
    model = load_model(tmp_path / "model.onnx", "cpu")
    drawn = [torch.from_numpy(values) for values in draw(model.card.latents, [5]).values()]
    torch.manual_seed(1)
    net = getattr(unusual, source)().eval()
    with torch.no_grad():
        expected = net(*drawn)[0].permute(1, 2, 0).numpy() * 127.5 + 127.5
    assert np.abs(model.sample([5])[0] - expected).max() <= 1


def test_latents_that_are_changed_in_place_cost_no_node(adopt: Adopt, tmp_path: Path) -> None:
    """The graph has no copy of its input."""
    assert adopt("unusual:InPlace", *Z)[0] == 0
    assert "Identity" not in {node.op_type for node in onnx.load(tmp_path / "model.onnx").graph.node}


def test_a_class_may_be_a_map_of_one_pixel(adopt: Adopt, tmp_path: Path) -> None:
    """y=onehot:4x1x1 is the class y in requests and [n,4,1,1] for the generator."""
    code, printed = adopt("unusual:Labelled", "--latent", "y=onehot:4x1x1")
    assert code == 0, printed
    assert load_model(tmp_path / "model.onnx", "cpu").card.latents == {"y": Categorical(4)}


def test_what_a_generator_prints_is_no_output(
    adopt: Adopt, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """It goes to stderr, so that a model in /dev/stdout stays whole."""
    options = [*Z, "--output", "tanh", "--name", "mine", "--licence", "CC0", "--out", str(tmp_path / "model.onnx")]
    assert main(["adopt", "unusual:Talking", *options]) == 0
    captured = capsys.readouterr()
    assert captured.out.startswith("adopted ")
    assert captured.err.startswith("parameters: 0\nforward\n")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[ONNXRuntimeError] : 1 : FAIL : the node X is odd", "cannot be exported to ONNX: the node X is odd"),
        ("[ONNXRuntimeError] : 2 : INVALID_ARGUMENT : Got invalid dimensions for input", "fixes the number of rows"),
    ],
)
def test_an_error_of_onnxruntime_is_what_it_says(text: str, sentence: str) -> None:
    """Only shapes that differ have to do with the number of rows."""
    assert sentence in explain(RuntimeError(text))


def test_the_pictures_of_all_batches_have_one_shape() -> None:
    """Outputs are noted batch by batch; one of another shape is refused where it comes."""
    seen = PictureFormat(values="tanh", layout="nchw").seen()
    seen.add(np.zeros((8, 3, 2, 2)))
    seen.add(np.ones((4, 3, 2, 2)))
    assert (seen.count, seen.is_varied, str(seen)) == (144, True, "0 to 1")
    with pytest.raises(AdoptError, match=r"depends on the latents: it is \[n,3,2,2\], then \[n,3,2,4\]"):
        seen.add(np.zeros((8, 3, 2, 4)))
