"""A graph as torch reads it against onnxruntime."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn
from torch.nn import functional as F

from training.errors import ExportError
from training.export.from_onnx import DifferentiableGraph
from training.export.operators import OPERATORS
from training.export.runtime import open_session
from training.export.to_onnx import trace

CPU = torch.device("cpu")


class Many(nn.Module):
    """A generator of many operators: joined latents, reductions, enlargements, slices, padding, normalisation."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Linear(9, 8 * 3 * 3)
        self.norm = nn.LayerNorm(72)
        self.conv = nn.Conv2d(8, 8, 3, stride=1, padding=1, groups=2)
        self.instance = nn.InstanceNorm2d(8, affine=True)
        self.up = nn.ConvTranspose2d(8, 8, 3, 2, 1, 1)
        self.prelu = nn.PReLU(8)
        self.last = nn.Conv2d(2, 1, 1)

    def forward(self, *inputs: Tensor) -> Tensor:
        return torch.round(self.levels(*inputs)).clamp(0, 255).to(torch.uint8)

    def levels(self, z: Tensor, y: Tensor) -> Tensor:
        """Before rounding."""
        z = torch.cat([z * (z.square().mean(1, keepdim=True) + 1e-3).rsqrt(), F.one_hot(y, 4).float()], 1)
        x = F.gelu(self.norm(self.stem(z))).unflatten(1, (8, 3, 3))
        x = F.interpolate(F.leaky_relu(self.instance(self.conv(x)), 0.2), scale_factor=2.0)
        x = F.elu(self.prelu(self.up(x))) + F.interpolate(x, scale_factor=2.0, mode="bilinear")
        x = F.pad(x, (1, 1, 1, 1), mode="reflect")[:, :, 1:-1, 1:-1]
        x = F.pixel_shuffle(x, 2)
        a, b = x.split(1, 1)
        x = torch.where(a > 0, a.exp().clamp(max=3.0), b.sigmoid()) + x.amax((2, 3), keepdim=True)
        return torch.as_tensor(self.last(x).tanh().permute(0, 2, 3, 1) * 127.5 + 127.5)


@pytest.fixture(scope="module")
def graph() -> onnx.ModelProto:
    """The net exported as recipes are."""
    examples = {"z": torch.zeros(2, 5), "y": torch.zeros(2, dtype=torch.int64)}
    return trace(Many().eval(), examples, "image")


@pytest.mark.slow
@pytest.mark.parametrize("rows", [1, 2, 5])
def test_it_computes_what_onnxruntime_computes(graph: onnx.ModelProto, rows: int) -> None:
    """Within a grey level, in any batch, in floats that are not rounded yet."""
    z, y = torch.randn(rows, 5), torch.arange(rows) % 4
    expected = open_session(graph.SerializeToString()).run(None, {"z": z.numpy(), "y": y.numpy()})[0]
    levels = DifferentiableGraph(graph, CPU)({"z": z, "y": y}).detach()
    assert (np.abs(levels.numpy() - expected) <= 0.51).all()


def test_operators_take_what_onnx_allows() -> None:
    """Max and Min of one or more tensors, and pads that wrap around."""
    value = helper.make_tensor_value_info
    nodes = [
        helper.make_node("Max", ["z", "low", "ramp"], ["most"]),
        helper.make_node("Min", ["most"], ["least"]),
        helper.make_node("Pad", ["least", "pads"], ["padded"], mode="wrap"),
        helper.make_node("Round", ["padded"], ["rounded"]),
        helper.make_node("Cast", ["rounded"], ["image"], to=TensorProto.UINT8),
    ]
    weights = {"low": np.float32(20), "ramp": np.arange(3, dtype=np.float32) * 30, "pads": np.array([0, 0, 1, 2, 0, 0, 2, 1])}
    model = helper.make_model(
        helper.make_graph(
            nodes,
            "g",
            [value("z", TensorProto.FLOAT, ["n", 1, 2, 3])],
            [value("image", TensorProto.UINT8, ["n", 1, 5, 6])],
            [numpy_helper.from_array(np.asarray(array), name) for name, array in weights.items()],
        ),
        opset_imports=[helper.make_opsetid("", 20)],
        ir_version=10,
    )
    z = 255 * torch.rand(4, 1, 2, 3)
    expected = open_session(model.SerializeToString()).run(None, {"z": z.numpy()})[0]
    assert (DifferentiableGraph(model, CPU)({"z": z}).round().numpy() == expected).all()


WHERE = ("half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric", "tf_half_pixel_for_nn")
NEAREST = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")


@pytest.mark.parametrize(
    ("op", "constants", "options"),
    [
        *[
            (
                "Resize",
                [None, np.array([1, 1, 3, 2], np.float32)],
                {"coordinate_transformation_mode": where, "nearest_mode": nearest},
            )
            for where in WHERE
            for nearest in NEAREST
        ],
        ("Slice", [np.array([-9]), np.array([-99]), np.array([3]), np.array([-1])], {}),
        ("ReduceSum", [np.array([], np.int64)], {"noop_with_empty_axes": 1}),
        *[
            (
                "Resize",
                [None, np.array([1, 1, 3, 2], np.float32)],
                {"mode": "cubic", "coordinate_transformation_mode": where, **more},
            )
            for where in WHERE[:4]
            for more in ({}, {"cubic_coeff_a": -0.75}, {"cubic_coeff_a": -0.5})
        ],
    ],
)
def test_an_operator_computes_the_same_or_is_refused(op: str, constants: list[Any], options: dict[str, Any]) -> None:
    """No option of it changes the result in onnxruntime alone."""
    names = ["" if value is None else f"c{place}" for place, value in enumerate(constants)]
    weights = [numpy_helper.from_array(value, name) for value, name in zip(constants, names, strict=True) if value is not None]
    value = helper.make_tensor_value_info
    nodes = [helper.make_node(op, ["x", *names], ["y"], **options)]
    graph = helper.make_graph(
        nodes, "g", [value("x", TensorProto.FLOAT, [1, 2, 3, 4])], [value("y", TensorProto.FLOAT, None)], weights
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    x = torch.randn(1, 2, 3, 4)
    expected = open_session(model.SerializeToString()).run(None, {"x": x.numpy()})[0]
    attributes = {one.name: helper.get_attribute_value(one) for one in nodes[0].attribute}
    try:
        found = OPERATORS[op](x, *(None if value is None else torch.from_numpy(value) for value in constants), a=attributes)
    except ExportError:
        assert op == "Resize"
        is_linear_grid = options["coordinate_transformation_mode"] in WHERE[:2]
        assert not is_linear_grid or options.get("nearest_mode") in NEAREST[2:] or options.get("cubic_coeff_a") == -0.5
    else:
        np.testing.assert_allclose(found.numpy(), expected, rtol=0, atol=1e-5 if options.get("mode") == "cubic" else 0)


def test_a_refusal_of_a_resize_names_what_there_is() -> None:
    """A cubic of another coefficient is named with it."""
    with pytest.raises(ExportError, match=r"linearly, or by cubics of coefficient -0.75, got cubic, half_pixel, .* -0.5$"):
        OPERATORS["Resize"](torch.ones(1, 1, 2, 2), None, torch.ones(4), a={"mode": b"cubic", "cubic_coeff_a": -0.5})


@pytest.mark.parametrize("kind", [np.int64, np.int32, np.float32])
def test_a_quotient_of_whole_numbers_is_whole(kind: type[np.number[Any]]) -> None:
    """Cut off towards zero; that of other numbers is not."""
    x, y = np.array([7, -7, 7, 8], kind), np.array([2, 2, -2, 4], kind)
    node, numbers = helper.make_node("Div", ["x", "y"], ["q"]), helper.np_dtype_to_tensor_dtype(np.dtype(kind))
    *inputs, output = (helper.make_tensor_value_info(name, numbers, [4]) for name in ("x", "y", "q"))
    graph = helper.make_graph([node], "g", inputs, [output])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    expected = open_session(model.SerializeToString()).run(None, {"x": x, "y": y})[0]
    found = OPERATORS["Div"](torch.from_numpy(x), torch.from_numpy(y), a={}).numpy()
    assert found.dtype == kind
    assert np.array_equal(found, expected)


@pytest.mark.slow
def test_its_gradient_is_that_of_the_net(graph: onnx.ModelProto) -> None:
    """By the latents, through every layer."""
    z, y, weights = torch.randn(3, 5).requires_grad_(), torch.tensor([0, 1, 3]), torch.rand(3, 24, 24, 1)
    read, net = DifferentiableGraph(graph, CPU), Many().eval()
    ours, theirs = (
        torch.autograd.grad((levels * weights).sum(), z)[0] for levels in (read({"z": z, "y": y}), net.levels(z, y))
    )
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-2)


def test_a_node_without_a_gradient_is_named() -> None:
    """The message says which, and what would do."""
    nodes = [
        helper.make_node("STFT", ["x", "n"], ["a"]),
        helper.make_node("Round", ["a"], ["b"]),
        helper.make_node("Cast", ["b"], ["image"], to=TensorProto.UINT8),
    ]
    with pytest.raises(ExportError, match=r"without a known gradient: STFT; use its run directory"):
        DifferentiableGraph(_model(nodes), CPU)


def test_rounding_inside_a_graph_lets_gradients_pass() -> None:
    """Values are rounded, half to even, and the gradient is that of the identity: PPGN rounds its features after each step."""
    nodes = [
        helper.make_node("Round", ["x"], ["r"]),
        helper.make_node("Tanh", ["r"], ["a"]),
        helper.make_node("Round", ["a"], ["b"]),
        helper.make_node("Cast", ["b"], ["image"], to=TensorProto.UINT8),
    ]
    x = torch.tensor([[0.5, 1.5, -0.4, 0.7]]).requires_grad_()
    levels = DifferentiableGraph(_model(nodes), CPU)({"x": x})
    rounded = torch.tensor([[0.0, 2.0, 0.0, 1.0]])
    assert torch.equal(levels, rounded.tanh())
    torch.testing.assert_close(torch.autograd.grad(levels.sum(), x)[0], 1 - rounded.tanh().square())


def test_a_graph_without_rounding_is_refused() -> None:
    """Its pixels may be anything."""
    with pytest.raises(ExportError, match="must end in Round, Clip and Cast"):
        DifferentiableGraph(_model([helper.make_node("Tanh", ["x"], ["image"])]), CPU)


def _model(nodes: list[onnx.NodeProto]) -> onnx.ModelProto:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])
    image = helper.make_tensor_value_info("image", TensorProto.UINT8, ["n", 4])
    return helper.make_model(helper.make_graph(nodes, "g", [x], [image], [numpy_helper.from_array(np.array(2), "n")]))
