"""PyTorch generators trained elsewhere: adopted, or refused with one sentence."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from contract import Card, Categorical, Image, Normal, card_from_metadata
from tests.training.adopt import generators
from tests.training.adopt.conftest import Adopt

pytestmark = pytest.mark.slow

Z = ("--latent", "z=normal:12")


def card_of(path: Path) -> Card:
    return card_from_metadata({entry.key: entry.value for entry in onnx.load(path).metadata_props})


MISTAKES = [
    ("generators:Dense", ("--latent", "z=normal:13"), r"not take the latents z \[n, 13\]: first \(Linear\): mat1 and mat2"),
    ("generators:Dense", ("--latent", "z=13"), "--latent must be NAME=normal:SIZE"),
    ("generators:Dense", ("--latent", "z=uniform:12:1:0"), "low must be less than high"),
    ("generators:Dense", ("--latent", "scale=normal:1@z"), "'scale', which is reserved"),
    ("generators:Dense", ("--latent", "seed=normal:12@z"), "called seed, which is the name of the seed in a request"),
    ("generators:Dense", (), "declare the generator's latents by --latent"),
    ("generators:Dense", (*Z, *Z), "--latent declares z twice"),
    ("generators:Dense", (*Z, "--latent", "y=categorical:3"), "no parameter for the latent y; it has z"),
    ("generators:Dense", ("--latent", "z=normal:12@x"), "no parameter 'x' for the latent z; it has z"),
    ("generators:Conditional", ("--latent", "noise=normal:16"), "forward needs 'labels' as well"),
    ("generators:Conditional", ("--latent", "noise=normal:16", "--latent", "y=categorical:11@labels"), "index out of range"),
    (
        "generators:Conditional",
        ("--latent", "y=categorical:10", "--latent", "z=normal:16"),
        r"not take the latents y \[n\] as noise, z \[n, 16\] as labels: ",
    ),
    ("generators:StyleGenerator", ("--latent", "z=normal:32"), r"draws noise itself \(randn_like in StyleGenerator.forward\)"),
    ("generators:NumpyNoise", Z, "two runs on the same latents differ"),
    ("generators:BatchStatistics", Z, r"norm \(BatchNorm2d\) normalises by the statistics of the batch"),
    ("generators:BatchMean", Z, "a picture depends on the other rows of its batch"),
    ("generators:Unbounded", Z, "outside the -1 to 1 of --output tanh; --clamp cuts"),
    ("generators:Pictures", (*Z, "--output", "unit"), "outside the 0 to 1 of --output unit; is it --output tanh?"),
    ("generators:Positive", (*Z, "--output", "uint8"), "black by --output uint8"),
    ("generators:Vectors", Z, r"pictures \[n,c,h,w\] of 1 or 3 channels, got \[n,12\]"),
    ("generators:Levels", (*Z, "--output", "uint8"), r"got \[n,2,2,3\]; is it --layout nhwc\?"),
    ("generators:Infinite", Z, "not finite"),
    ("generators:Dictionary", Z, "must return a tensor, or a tuple that starts with one, got dict"),
    ("generators:NoOperator", Z, "ONNX has no operator for prims.bessel_j0, which"),
    ("refused:Half", Z, r"float32 here \(first \(Linear\): mat1 and mat2 must have the same dtype.*\): leave .half"),
    ("refused:HalfConvolution", Z, r"float32 here \(last \(Conv2d\): Input type.*\): leave .half"),
    ("refused:HalfOutput", Z, r"must be of float32 or uint8, got bfloat16: let forward end in .float\(\)"),
    ("refused:Squeezed", Z, "takes 7 rows, and not one alone: Squeezed.forward: "),
    ("generators:Dense", (*Z, "--licence", " "), "--licence must not be empty"),
    ("generators:Dense", (*Z, "--data", ""), "--data must not be empty"),
    ("generators:FixedRows", Z, r"fixes the number of rows: take it from x.shape\[0\], not from len\(x\)"),
    ("generators:Deciding", Z, "decides by the values of a tensor, as `if` or .item.. do"),
    ("generators.py:Dense", Z, r"package.module:callable, got 'generators.py:Dense'; is it generators:Dense\?"),
    ("weights.pt", Z, "got 'weights.pt'; a file of weights belongs to --weights"),
    ("generators:Pictures", ("--latent", "y=onehot:12@z", "--classes", "a"), "must name the 12 values of the latent y, got 1"),
    ("generators:Dense", (*Z, "--classes", "a"), "a latent y, which is not declared, got 1"),
    ("generators:no_module", Z, "must return a torch.nn.Module, got int"),
    ("sys:exit", Z, "sys:exit cannot be called in .*SystemExit"),
    ("generators:Dense:x:", Z, "generators:Dense:x: cannot be called"),
    ("generators:absent", Z, "cannot be called in .*AttributeError"),
    ("absent_package:make", Z, "cannot be called in .*No module named 'absent_package'"),
    ("generators", Z, "must be a file.onnx or package.module:callable, got 'generators'"),
    ("generators:Dense", (*Z, "--name", "a b"), "card.name must be 1..64 letters"),
]


@pytest.mark.parametrize(("source", "options", "sentence"), MISTAKES, ids=[f"{m[0]} {m[2][:30]}" for m in MISTAKES])
def test_each_mistake_is_one_sentence(
    adopt: Adopt, tmp_path: Path, source: str, options: tuple[str, ...], sentence: str
) -> None:
    """Exit code 2, one line that says what is wrong, and no file."""
    code, printed = adopt(source, *options)
    assert code == 2
    (line,) = printed.splitlines()
    assert line.startswith("error: ")
    assert re.search(sentence, line), line
    assert not (tmp_path / "model.onnx").exists()


def test_weights_of_other_keys_are_named(adopt: Adopt, tmp_path: Path) -> None:
    """The first names, the prefix that would fit, other shapes, a checkpoint without a key, a file that is a program."""
    state = generators.Dense().state_dict()
    path = tmp_path / "g.pt"

    def printed_for(value: object, *options: str) -> str:
        torch.save(value, path)
        return adopt("generators:Dense", *Z, "--weights", str(path), *options)[1]

    other = printed_for({f"module.{name}": values for name, values in state.items()})
    assert (
        "lacks first.weight, first.bias and has module.first.weight, module.first.bias too many; is it --strip module.?"
        in other
    )
    assert "first.bias is [3] in the file and [12] in the net" in printed_for({**state, "first.bias": torch.zeros(3)})
    assert "is no state dict; name one of its own by --key: g, ema" in printed_for({"g": state, "ema": state, "step": 3})
    assert "holds no state dict under --key best; it holds g" in printed_for({"g": state}, "--key", "best")
    whole = path.read_bytes()
    assert "no weight of" in printed_for(state, "--strip", "net.")
    assert "cannot be loaded without running code from it" in printed_for(generators.Dense())
    for content in (b"<html>", whole[: len(whole) // 2], b""):
        path.write_bytes(content)
        assert f"{path} is damaged, or no file of torch.save" in adopt("generators:Dense", *Z, "--weights", str(path))[1]
    assert "is no state dict; it holds none" in printed_for({0: torch.zeros(3)})
    assert "holds no state dict under --key 0; it holds none" in printed_for({0: state}, "--key", "0")
    assert "is it" not in printed_for({"body.3.first.weight": torch.zeros(3), "other": torch.zeros(1)})
    assert "No such file" in adopt("generators:Dense", *Z, "--weights", str(tmp_path / "absent.pt"))[1]


def test_weights_are_found_in_a_checkpoint(adopt: Adopt, tmp_path: Path) -> None:
    """--key names the state dict and --strip cuts a prefix; the written file holds these weights."""
    state = {"first.weight": 0.01 * torch.eye(12), "first.bias": torch.full((12,), 0.2)}
    torch.save({"ema": {**{f"g.{k}": v for k, v in state.items()}, "d.bias": torch.zeros(1)}}, tmp_path / "c.pt")
    code, _ = adopt("generators:Dense", *Z, "--weights", str(tmp_path / "c.pt"), "--key", "ema", "--strip", "g.")
    assert code == 0
    levels = np.concatenate([golden.output.ravel() for golden in card_of(tmp_path / "model.onnx").goldens])
    assert np.abs(levels - 152.7).max() < 6  # tanh(0.2), and at most four sigma of 0.01


def test_other_layouts_and_ranges(adopt: Adopt, tmp_path: Path) -> None:
    """uint8 [n,h,w,c] passes, --clamp cuts, an instance normalisation is no batch statistic, a doubtful range is noted."""
    assert adopt("generators:Levels", *Z, "--output", "uint8", "--layout", "nhwc")[0] == 0
    assert card_of(tmp_path / "model.onnx").output == Image(2, 2, 3)
    assert adopt("generators:Unbounded", *Z, "--clamp")[0] == 0
    assert adopt("generators:InstanceNorm", *Z)[0] == 0
    assert "note: no value of the output is below 0" in adopt("generators:Positive", *Z)[1]


def test_a_generator_that_cannot_be_copied_is_adopted(adopt: Adopt) -> None:
    """Its batch normalisation is not folded, which needs a copy."""
    code, printed = adopt("generators:Locked", *Z)
    assert code == 0, printed


@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
@pytest.mark.parametrize("source", ["spectral", "weighted", "doubled"])
def test_weights_of_a_hook_are_adopted(adopt: Adopt, tmp_path: Path, source: str) -> None:
    """Those of torch.nn.utils are computed once; a hook of another kind only keeps the normalisation from being folded."""
    code, printed = adopt(f"hooked:{source}", "--latent", "z=normal:12x1x1")
    assert code == 0, printed
    assert {node.op_type for node in onnx.load(tmp_path / "model.onnx").graph.node}.isdisjoint({"MatMul", "Div"})


def test_a_class_may_be_one_hot(adopt: Adopt, tmp_path: Path) -> None:
    """y=onehot:K is the class y in requests and a row of zeros and a one for the generator."""
    code, printed = adopt("generators:Pictures", "--latent", "y=onehot:12@z", "--classes", *"abcdefghijkl")
    assert code == 0, printed
    card = card_of(tmp_path / "model.onnx")
    assert card.latents == {"y": Categorical(12)}
    assert card.classes == tuple("abcdefghijkl")


def test_a_card_says_what_the_options_say(adopt: Adopt, tmp_path: Path) -> None:
    """Licence, data, paper and name; nothing is claimed of the training."""
    adopt("generators:Pictures", *Z, "--licence", "CC BY 4.0", "--data", "shapes", "--paper", "arXiv:0000.00000")
    card = card_of(tmp_path / "model.onnx")
    assert (card.name, card.recipe, card.data, card.data_licence) == ("mine", "adopted", "shapes", "CC BY 4.0")
    assert (card.paper, card.steps, card.images, card.latents) == ("arXiv:0000.00000", 0, 0, {"z": Normal(12)})
