"""The exported file: faithful, folded, reproducible, and silent about the machine that made it."""

from __future__ import annotations

import math
import platform
import re
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm
from torch.nn.utils.parametrizations import weight_norm as weight_normed

from contract import Card, Normal, card_from_metadata, digest_latents, draw
from tests.training.conftest import tiny_config, tiny_context, train_tiny
from training.data import DataSet
from training.errors import ExportError
from training.export.fold_batchnorm import fold_batch_norm
from training.export.sample_grid import sampler_of
from training.export.to_onnx import OPSET, _parity, export
from training.game.loop import Game
from training.nets import conditional, conv, information, mlp, weight_norm
from training.run.job import MODEL, card_of, export_game, export_run, set_up


def game_of(recipe: str, folder: Path, tmp_path: Path) -> tuple[Game, DataSet]:
    return set_up(tiny_config(recipe, folder, steps=1), tiny_context(tmp_path))


def warm(net: nn.Module, *latents: torch.Tensor) -> nn.Module:
    """Gives batch normalisation statistics and gains that are not the identity."""
    net.train()
    for _ in range(3):
        net(*latents)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d) and module.affine:
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.5, 0.5)
    return net.eval()


@pytest.mark.parametrize(
    ("net", "inputs"),
    [
        (conv.dcgan_generator(100, (1, 28, 28), width=8, last=nn.Tanh()), (torch.randn(6, 100),)),
        (conv.dcgan_generator(100, (3, 32, 32), width=8, last=nn.Tanh()), (torch.randn(6, 100),)),
        (conv.small_generator(16, 10, (1, 28, 28), width=8), (torch.randn(6, 16), torch.arange(6))),
        (mlp.generator_norm_first(100, [32, 32], (1, 28, 28)), (torch.rand(6, 100),)),
        (
            conditional.every_layer_generator(16, 10, (1, 28, 28), width=8, dense=32),
            (torch.randn(6, 16), torch.arange(6)),
        ),
        (
            information.generator(16, 10, 2, (1, 28, 28), width=8, dense=32),
            (torch.randn(6, 16), torch.arange(6), torch.rand(6, 2)),
        ),
        (weight_norm.generator(16, [32, 32], (1, 28, 28)), (torch.rand(6, 16),)),
        (nn.Sequential(nn.BatchNorm1d(16, affine=False), nn.Linear(16, 8)), (torch.randn(6, 16),)),
        (
            nn.Sequential(spectral_norm(nn.Linear(16, 8)), nn.BatchNorm1d(8), nn.ReLU(), weight_normed(nn.Linear(8, 4))),
            (torch.randn(6, 16),),
        ),
    ],
    ids=[
        "dcgan28",
        "dcgan32x3",
        "small",
        "norm first",
        "label at every layer",
        "codes",
        "shift alone",
        "bare, first",
        "spectral norm",
    ],
)
def test_folding_removes_batch_normalisation_and_keeps_the_function(net: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
    """No batch normalisation is left and the outputs agree to 1e-5."""
    warm(net, *inputs)
    folded = fold_batch_norm(net)
    assert not any(isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d) for m in folded.modules())
    with torch.no_grad():
        assert torch.allclose(folded(*inputs), net(*inputs), atol=1e-5)


def test_a_chain_in_a_chain_stands_between_its_neighbours() -> None:
    """What is called before a normalisation is what stands before it, also where that is the end of a chain of its own."""
    net = warm(nn.Sequential(nn.Linear(4, 4), nn.Sequential(nn.Tanh(), nn.Linear(4, 4)), nn.BatchNorm1d(4)), torch.randn(9, 4))
    folded, x = fold_batch_norm(net), torch.randn(6, 4)
    assert not any(isinstance(module, nn.BatchNorm1d) for module in folded.modules())
    torch.testing.assert_close(folded(x), net(x))


def test_folding_stays_on_the_device_of_the_net() -> None:
    """Nothing of a net on another device is created on the CPU."""
    dense = [nn.Linear(16, 32), nn.Unflatten(1, (8, 2, 2)), nn.BatchNorm2d(8)]
    upsampled = [nn.ConvTranspose2d(8, 4, 4, 2, 1), nn.BatchNorm2d(4), nn.Flatten()]
    folded = fold_batch_norm(nn.Sequential(*dense, *upsampled, nn.BatchNorm1d(64), nn.Linear(64, 3)).to("meta"))
    assert {value.device.type for value in folded.state_dict().values()} == {"meta"}


@pytest.fixture(scope="module")
def exported(
    make_once: Callable[[str, Callable[[Path], None]], Path],
    picture_folder: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A model file in its run directory."""
    trained = make_once("exported", lambda run: train_tiny(tiny_config("cdcgan_r1", picture_folder, steps=2), run))
    return Path(shutil.copytree(trained, tmp_path_factory.mktemp("export") / "run")) / MODEL


@pytest.mark.slow
def test_the_file_is_one_and_its_graph_is_plain(exported: Path) -> None:
    """One opset, dynamic rows, no external data, no functions, no batch normalisation, uint8 NHWC out."""
    model = onnx.load(exported, load_external_data=False)
    onnx.checker.check_model(model, full_check=True)
    assert [(o.domain, o.version) for o in model.opset_import] == [("", 20)]
    assert "BatchNormalization" not in {node.op_type for node in model.graph.node}
    assert all(not tensor.external_data for tensor in model.graph.initializer)
    values = (*model.graph.input, *model.graph.output)
    shapes = {v.name: [d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim] for v in values}
    assert shapes == {"z": ["n", 64], "y": ["n"], "image": ["n", 28, 28, 1]}
    assert model.graph.output[0].type.tensor_type.elem_type == onnx.TensorProto.UINT8


def without_weights(path: Path) -> bytes:
    """The file but for its weights, whose bytes spell short words by chance."""
    model = onnx.load(path, load_external_data=False)
    for tensor in model.graph.initializer:
        tensor.ClearField("raw_data")
    return bytes(model.SerializeToString())


def traces_of_the_machine(data: bytes) -> list[str]:
    """Names of this machine, and anything that looks like a source file or a stack trace, in a file's bytes."""
    names = {str(Path.cwd()), str(Path.home()), sys.prefix, platform.node(), str(Path(torch.__file__).parent)}
    found = [name for name in names if len(name) > 4 and name.encode() in data]
    marks = rb"[A-Za-z0-9_]+\.py\b|site-packages|File \"|Traceback|stack_trace|/(?:home|root|usr|tmp|opt|var|Users)/\w"
    return found + [text.decode() for text in re.findall(marks, data)]


@pytest.mark.slow
def test_nodes_and_weights_have_the_names_of_their_modules(exported: Path) -> None:
    """A viewer shows where in the generator a node stands: every weight as in the state dict, no name twice."""
    graph = onnx.load(exported).graph
    weights = {tensor.name for tensor in graph.initializer}
    own = set(conv.small_generator(64, 10, (1, 28, 28), width=8).state_dict())
    assert {name for name in weights if name.endswith((".weight", ".bias"))} <= own
    assert weights & own
    assert not any(name.startswith(("inner.", "sampler.")) for name in weights)
    names = [node.name for node in graph.node]
    assert len(set(names)) == len(names)
    assert not any(name.startswith("node_") for name in names)
    dense = next(node for node in graph.node if node.op_type == "Gemm")
    assert dense.name == f"{dense.input[1].removesuffix('.weight')}/Gemm"


@pytest.mark.slow
def test_the_file_says_nothing_of_the_machine(exported: Path) -> None:
    """No path, module file or stack trace is in its bytes; the same search finds one in bytes that have it."""
    assert traces_of_the_machine(without_weights(exported)) == []
    assert traces_of_the_machine(b'..File "/home/me/x.py", line 3') != []


@pytest.mark.slow
def test_two_exports_are_the_same_bytes(exported: Path) -> None:
    """Exporting the checkpoint again gives the same file."""
    before = exported.read_bytes()
    exported.unlink()
    export_run(tiny_context(exported.parent))
    assert exported.read_bytes() == before


@pytest.mark.slow
def test_the_card_holds_goldens_that_the_file_reproduces(exported: Path) -> None:
    """Each golden's latents and output are what draw and onnxruntime give again."""
    session = onnxruntime.InferenceSession(exported, providers=["CPUExecutionProvider"])
    card = card_from_metadata(session.get_modelmeta().custom_metadata_map)
    assert [g.seed for g in card.goldens] == [0, 42, 2**31, 2**32 - 1]
    for golden in card.goldens:
        drawn = draw(card.latents, [golden.seed])
        assert digest_latents(drawn, 0) == golden.latents
        assert (session.run(None, dict(drawn))[0][0] == golden.output).all()
    assert card.classes == tuple("0123456789")
    assert card.runtime.startswith("onnxruntime-")


@pytest.mark.slow
def test_an_unfaithful_export_is_refused_and_not_written(picture_folder: Path, tmp_path: Path) -> None:
    """A net whose answer depends on the batch it is in cannot agree, and no file appears."""

    class Unstable(nn.Module):
        def forward(self, z: torch.Tensor) -> torch.Tensor:
            return z.mean(0, keepdim=True) + 0 * z

    game, data = game_of("toy1d", picture_folder, tmp_path)
    sampler = sampler_of(game, data)
    sampler.inner = Unstable()
    with pytest.raises(ExportError, match="a row of G's samples depends on the other rows of its batch: alone it differs by"):
        export(sampler, card_of(game, data), tmp_path / "model.onnx")
    assert not (tmp_path / "model.onnx").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda x: x + torch.randn_like(x), "G gives other samples for the same latents a second time"),
        (lambda x: x if x.sum() > 0 else -x, "the generator decides by the values of a tensor"),
        (lambda x: torch.linalg.inv(x[:, :, None])[:, :, 0], "ONNX has no operator for aten.linalg_inv_ex"),
    ],
    ids=["noise", "decision", "operator"],
)
def test_a_generator_that_cannot_be_exported_is_one_sentence(
    change: Callable[[torch.Tensor], torch.Tensor], sentence: str, picture_folder: Path, tmp_path: Path
) -> None:
    """It says why; the checkpoint stays, so that the net can be mended and exported."""

    class Changed(nn.Module):
        def forward(self, z: torch.Tensor) -> torch.Tensor:
            return change(z)

    game, data = game_of("toy1d", picture_folder, tmp_path)
    game.nets["G"] = Changed()
    with pytest.raises(ExportError, match=sentence):
        export_game(game, data, tiny_context(tmp_path))


def test_a_generator_that_gives_nan_is_not_exported(picture_folder: Path, tmp_path: Path) -> None:
    """T-12: NaN is refused, and no file appears."""

    class Nan(nn.Module):
        def forward(self, z: torch.Tensor) -> torch.Tensor:
            return z * math.inf - z * math.inf

    game, data = game_of("toy1d", picture_folder, tmp_path)
    sampler = sampler_of(game, data)
    sampler.inner = Nan()
    with pytest.raises(ExportError, match="NaN"):
        export(sampler, card_of(game, data), tmp_path / "model.onnx")
    assert not (tmp_path / "model.onnx").exists()


def test_a_graph_that_gives_nan_where_torch_does_not_is_refused(picture_folder: Path, tmp_path: Path) -> None:
    """NaN in onnxruntime alone is a difference, too."""
    game, data = game_of("toy1d", picture_folder, tmp_path)
    sampler, card = sampler_of(game, data), card_of(game, data)
    value = onnx.helper.make_tensor_value_info
    z, points = value("z", onnx.TensorProto.FLOAT, ["n", 1]), value("points", onnx.TensorProto.FLOAT, ["n", 1])
    nodes = [onnx.helper.make_node("Sub", ["z", "z"], ["zero"]), onnx.helper.make_node("Div", ["zero", "zero"], ["points"])]
    graph = onnx.helper.make_model(
        onnx.helper.make_graph(nodes, "g", [z], [points]), opset_imports=[onnx.helper.make_opsetid("", OPSET)], ir_version=10
    )
    with pytest.raises(ExportError, match="differs from torch by nan"):
        _parity(sampler, graph, graph, card, tolerance=1e-4)


def test_grey_levels_are_rounded_half_to_even_and_bounded() -> None:
    """The graph rounds as NumPy does, and what leaves the range is cut."""
    from training.export.samplers import ImageSampler

    class Constant(nn.Module):
        def forward(self, z: torch.Tensor) -> torch.Tensor:
            return z[:, :, None, None]

    levels = np.array([-3.0, 0.5, 1.5, 254.5, 300.0], np.float32)
    sampler = ImageSampler(Constant(), ("z",), "unit")
    assert sampler(torch.from_numpy(levels / 255)[:, None]).flatten().tolist() == [0, 0, 2, 254, 255]


@pytest.mark.slow
def test_a_card_needs_its_latents_in_the_graph(picture_folder: Path, tmp_path: Path) -> None:
    """The graph's inputs carry the latents' names, in declared order."""
    game, data = game_of("vanilla", picture_folder, tmp_path)
    card: Card = card_of(game, data)
    assert replace(card, latents={"z": Normal(3)}).latents == {"z": Normal(3)}
    export(sampler_of(game, data), card, tmp_path / "m.onnx")
    model = onnx.load(tmp_path / "m.onnx")
    assert [value.name for value in model.graph.input] == ["z"]
