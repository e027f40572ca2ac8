"""The rewriting of transposed convolutions: the same function, in other operators."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import onnx
import pytest
import torch
from torch import nn

from contract import Card, Image, Uniform
from training.export.fold_batchnorm import fold_batch_norm
from training.export.samplers import ImageSampler
from training.export.subpixel import doubles, rewrite_transposed
from training.export.to_onnx import export
from training.nets import conv

KERNELS = [(4, 1, 0), (5, 2, 1), (2, 0, 0), (3, 1, 1), (6, 2, 0), (1, 0, 1), (7, 3, 1), ((4, 5), (1, 2), (0, 1))]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("kernel, padding, output_padding", KERNELS)
def test_a_rewritten_layer_is_the_same_function(kernel: int, padding: int, output_padding: int, bias: bool) -> None:
    """A convolution and a shuffle give what the transposed convolution gives, at odd and even sizes and in every batch."""
    torch.manual_seed(0)
    layer = nn.ConvTranspose2d(3, 5, kernel, 2, padding, output_padding, bias=bias)
    rewritten = rewrite_transposed(layer)
    assert [type(part) for part in rewritten.modules()][1:] == [nn.Conv2d, nn.PixelShuffle]
    for batch in range(1, 8):
        for height, width in ((1, 1), (4, 7), (7, 4), (8, 8)):
            x = torch.randn(batch, 3, height, width)
            torch.testing.assert_close(rewritten(x), layer(x), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    "layer",
    [
        nn.ConvTranspose2d(4, 4, 4, 2, 0),
        nn.ConvTranspose2d(4, 4, 4, 2, 1, groups=2),
        nn.ConvTranspose2d(4, 4, 3, 1, 1),
        nn.ConvTranspose2d(4, 4, 3, 2, 2, 1, dilation=2),
    ],
    ids=["another size", "groups", "another stride", "dilated"],
)
def test_what_does_not_double_its_input_stays(layer: nn.ConvTranspose2d) -> None:
    """A layer that is no doubling is left as it is, alone or inside a net."""
    assert not doubles(layer)
    assert isinstance(rewrite_transposed(layer), nn.ConvTranspose2d)
    assert isinstance(rewrite_transposed(nn.Sequential(layer)).get_submodule("0"), nn.ConvTranspose2d)


def generators() -> dict[str, tuple[nn.Module, tuple[torch.Tensor, ...]]]:
    z = torch.rand(7, 16) * 2 - 1
    return {
        "dcgan": (conv.dcgan_generator(16, (1, 28, 28), width=4, last=nn.Tanh()), (z,)),
        "dcgan64": (conv.dcgan_generator(16, (3, 64, 64), width=2, last=nn.Tanh()), (z,)),
        "cdcgan_r1": (conv.small_generator(16, 10, (1, 28, 28), width=4), (z, torch.arange(7))),
    }


@pytest.mark.parametrize("name", generators())
def test_a_rewritten_generator_is_the_same_function(name: str) -> None:
    """A folded generator, rewritten, gives the same images without one transposed convolution, and is itself untouched."""
    torch.manual_seed(0)
    net, latents = generators()[name]
    net(*latents)
    folded = fold_batch_norm(net)
    rewritten = rewrite_transposed(folded)
    assert not any(isinstance(layer, nn.ConvTranspose2d) for layer in rewritten.modules())
    assert any(isinstance(layer, nn.ConvTranspose2d) for layer in folded.modules())
    torch.testing.assert_close(rewritten(*latents), net.eval()(*latents), atol=1e-5, rtol=0)


CARD = Card(
    name="small",
    recipe="dcgan",
    paper="none",
    latents={"z": Uniform(16)},
    output=Image(28, 28, 1),
    classes=(),
    data="none",
    data_licence="none",
    steps=0,
    images=0,
    versions={},
    runtime="",
)


@pytest.mark.slow
@pytest.mark.parametrize(
    "upsampling, present, absent",
    [
        ("convtranspose", "ConvTranspose", "DepthToSpace"),
        ("depthtospace", "DepthToSpace", "ConvTranspose"),
    ],
)
def test_the_exported_graph_has_the_form_asked_for(
    upsampling: Literal["convtranspose", "depthtospace"], present: str, absent: str, tmp_path: Path
) -> None:
    """The file upsamples by the operator asked for, DepthToSpace in mode CRD, and was found faithful to torch."""
    torch.manual_seed(0)
    sampler = ImageSampler(conv.dcgan_generator(16, (1, 28, 28), width=4, last=nn.Tanh()), ("z",), "tanh")
    difference = export(sampler, CARD, tmp_path / "model.onnx", upsampling=upsampling)
    nodes = onnx.load(tmp_path / "model.onnx").graph.node
    operators = [node.op_type for node in nodes]
    assert operators.count(present) == 2
    assert absent not in operators
    assert difference["output"] <= 1
    modes = [a.s for node in nodes if node.op_type == "DepthToSpace" for a in node.attribute if a.name == "mode"]
    assert set(modes) <= {b"CRD"}
