"""ONNX operators as torch functions, so that an exported graph can be differentiated."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from itertools import product
from typing import Any

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor
from torch.nn import functional as F

from training.errors import ExportError

Attributes = Mapping[str, Any]
Operator = Callable[..., Any]
"""From the inputs of a node, None for one that is left out, and the keyword ``a``, its attributes, to its output or outputs."""

DTYPES = {
    onnx.TensorProto.FLOAT: torch.float32,
    onnx.TensorProto.DOUBLE: torch.float64,
    onnx.TensorProto.FLOAT16: torch.float16,
    onnx.TensorProto.INT64: torch.int64,
    onnx.TensorProto.INT32: torch.int32,
    onnx.TensorProto.UINT8: torch.uint8,
    onnx.TensorProto.BOOL: torch.bool,
}
CONVOLVE = {3: F.conv1d, 4: F.conv2d, 5: F.conv3d}
"""By the dimensions of the weight."""
CONVOLVE_BACK = {3: F.conv_transpose1d, 4: F.conv_transpose2d, 5: F.conv_transpose3d}
TORCH_CUBIC = -0.75
"""The coefficient of torch's cubic interpolation, and of ONNX's where a node gives none."""
REPEATING = {
    ("asymmetric", "floor"),
    ("tf_half_pixel_for_nn", "floor"),
    *product(("half_pixel", "pytorch_half_pixel"), ("round_prefer_floor", "round_prefer_ceil")),
}
"""Coordinates and roundings of Resize by which an enlargement by a whole factor repeats each pixel."""


def _axes(given: Tensor | Sequence[int] | None) -> list[int]:
    return [] if given is None else [int(axis) for axis in (given.tolist() if isinstance(given, Tensor) else given)]


def _constant(*, a: Attributes) -> Tensor:
    if "value" in a:
        return torch.from_numpy(np.array(numpy_helper.to_array(a["value"])))
    return torch.tensor(next(value for name, value in a.items() if name.startswith("value_")))


def _reshape(x: Tensor, shape: Tensor, *, a: Attributes) -> Tensor:
    sizes = shape.tolist()
    return x.reshape([x.shape[i] if n == 0 and not a.get("allowzero") else n for i, n in enumerate(sizes)])


def _unsqueeze(x: Tensor, axes: Tensor, *, a: Attributes) -> Tensor:
    places = sorted(axis % (x.ndim + len(axes)) for axis in _axes(axes))
    for axis in places:
        x = x.unsqueeze(axis)
    return x


def _squeeze(x: Tensor, axes: Tensor | None = None, *, a: Attributes) -> Tensor:
    return x.squeeze() if axes is None else x.squeeze(tuple(_axes(axes)))


def _slice(
    x: Tensor, starts: Tensor, ends: Tensor, axes: Tensor | None = None, steps: Tensor | None = None, *, a: Attributes
) -> Tensor:
    places = _axes(axes) or list(range(len(starts)))
    strides = _axes(steps) or [1] * len(places)
    for axis, start, end, step in zip(places, starts.tolist(), ends.tolist(), strides, strict=True):
        if step < 0:
            start = max(start, -x.shape[axis])
            x, start, end, step = x.flip(axis), -start - 1, -end - 1 if end >= -x.shape[axis] else x.shape[axis], -step
        index = [slice(None)] * x.ndim
        index[axis] = slice(start, end, step)
        x = x[tuple(index)]
    return x


def _split(x: Tensor, sizes: Tensor | None = None, *, a: Attributes) -> list[Tensor]:
    axis = a.get("axis", 0)
    if sizes is not None:
        return list(x.split(sizes.tolist(), axis))
    return list(x.split(-(-x.shape[axis] // a["outputs"]), axis))


def _gather(x: Tensor, index: Tensor, *, a: Attributes) -> Tensor:
    axis = a.get("axis", 0)
    index = index.long().to(x.device)
    taken = x.index_select(axis, torch.where(index < 0, index + x.shape[axis], index).flatten())
    return taken.reshape([*x.shape[:axis], *index.shape, *x.shape[axis:][1:]])


def _gemm(x: Tensor, w: Tensor, b: Tensor | None = None, *, a: Attributes) -> Tensor:
    x = x.T if a.get("transA") else x
    y = (x @ (w.T if a.get("transB") else w)).mul(a.get("alpha", 1.0))
    return y if b is None else y.add(b, alpha=a.get("beta", 1.0))


def _check_pads(a: Attributes) -> None:
    if a.get("auto_pad", b"NOTSET") != b"NOTSET":
        raise ExportError(f"convolutions must have explicit pads, got auto_pad {a['auto_pad'].decode()}")


def _conv(x: Tensor, w: Tensor, b: Tensor | None = None, *, a: Attributes) -> Tensor:
    _check_pads(a)
    ndim = w.ndim - 2
    pads = a.get("pads", [0] * 2 * ndim)
    x = F.pad(x, [n for i in reversed(range(ndim)) for n in (pads[i], pads[i + ndim])])
    how = {"stride": a.get("strides", 1), "dilation": a.get("dilations", 1), "groups": a.get("group", 1)}
    return CONVOLVE[w.ndim](x, w, b, **how)


def _conv_transpose(x: Tensor, w: Tensor, b: Tensor | None = None, *, a: Attributes) -> Tensor:
    _check_pads(a)
    ndim = w.ndim - 2
    pads = a.get("pads", [0] * 2 * ndim)
    if pads[:ndim] != pads[ndim:] or "output_shape" in a:
        raise ExportError(f"transposed convolutions must have equal pads on both sides, got {list(pads)}")
    how = {"stride": a.get("strides", 1), "dilation": a.get("dilations", 1), "groups": a.get("group", 1)}
    more = {"padding": pads[:ndim], "output_padding": a.get("output_padding", 0)}
    return CONVOLVE_BACK[w.ndim](x, w, b, **how, **more)


def _resize(
    x: Tensor, region: Tensor | None = None, scales: Tensor | None = None, sizes: Tensor | None = None, *, a: Attributes
) -> Tensor:
    mode, where = a.get("mode", b"nearest").decode(), a.get("coordinate_transformation_mode", b"half_pixel").decode()
    target = sizes.tolist()[2:] if sizes is not None and len(sizes) else None
    if target is None:
        assert scales is not None
        target = [int(n * scale) for n, scale in zip(x.shape[2:], scales.tolist()[2:], strict=True)]
    if (
        mode == "nearest"
        and (where, a.get("nearest_mode", b"round_prefer_floor").decode()) in REPEATING
        and all(big % small == 0 for big, small in zip(target, x.shape[2:], strict=True))
    ):
        return F.interpolate(x, target, mode="nearest")
    curve = a.get("cubic_coeff_a", TORCH_CUBIC)
    smooth = {
        "linear": {3: "linear", 4: "bilinear"}.get(x.ndim),
        "cubic": "bicubic" if x.ndim == 4 and curve == TORCH_CUBIC else None,
    }
    if smooth.get(mode) is None or where not in ("half_pixel", "pytorch_half_pixel", "align_corners"):
        allowed = f"by whole factors, linearly, or by cubics of coefficient {TORCH_CUBIC}"
        got = f"{mode}, {where}" + (f", coefficient {curve:g}" if mode == "cubic" else "")
        raise ExportError(f"images may be enlarged {allowed}, got {got}")
    return F.interpolate(x, target, mode=str(smooth[mode]), align_corners=where == "align_corners")


def _pad(x: Tensor, pads: Tensor, value: Tensor | None = None, axes: Tensor | None = None, *, a: Attributes) -> Tensor:
    places = [axis % x.ndim for axis in _axes(axes)] or list(range(x.ndim))
    amounts = [(0, 0)] * x.ndim
    for i, axis in enumerate(places):
        amounts[axis] = (int(pads[i]), int(pads[i + len(places)]))
    flat = [n for pair in reversed(amounts) for n in pair]
    mode = a.get("mode", b"constant").decode()
    if mode == "constant":
        return F.pad(x, flat, value=0.0 if value is None else float(value))
    return F.pad(x, flat[: 2 * (x.ndim - 2)], mode={"edge": "replicate", "wrap": "circular"}.get(mode, mode))


def _depth_to_space(x: Tensor, *, a: Attributes) -> Tensor:
    size, (n, _, h, w) = a["blocksize"], x.shape
    if a.get("mode", b"DCR") == b"CRD":
        return F.pixel_shuffle(x, size)
    return x.reshape(n, size, size, -1, h, w).permute(0, 3, 4, 1, 5, 2).reshape(n, -1, h * size, w * size)


def _normalise_layer(x: Tensor, w: Tensor, b: Tensor | None = None, *, a: Attributes) -> Tensor:
    return F.layer_norm(x, x.shape[a.get("axis", -1) :], w, b, a.get("epsilon", 1e-5))


def _reduced(reduce: Callable[..., Tensor]) -> Operator:
    """A reduction over the axes of an attribute or of an input; over all where none are given."""

    def operate(x: Tensor, axes: Tensor | None = None, *, a: Attributes) -> Tensor:
        places = _axes(axes if axes is not None else a.get("axes"))
        if not places and a.get("noop_with_empty_axes"):
            return x
        return reduce(x, dim=places or list(range(x.ndim)), keepdim=bool(a.get("keepdims", 1)))

    return operate


def _plain(function: Callable[..., Any]) -> Operator:
    """An operator without attributes."""
    return lambda *inputs, a: function(*inputs)


def _divide(x: Tensor, y: Tensor) -> Tensor:
    """A quotient; that of whole numbers is cut off towards zero."""
    is_whole = not (x.is_floating_point() or y.is_floating_point())
    return torch.div(x, y, rounding_mode="trunc" if is_whole else None)


def _one_hot(index: Tensor, depth: Tensor, values: Tensor, *, a: Attributes) -> Tensor:
    hot = F.one_hot(index.long(), int(depth)).to(values.dtype)
    return (values[0] + (values[1] - values[0]) * hot).movedim(-1, a.get("axis", -1))


def _round(x: Tensor, *, a: Attributes) -> Tensor:
    """Rounded values with the gradient of the identity: the true one is 0, and no latent before it could be searched."""
    return x.round().detach() + (x - x.detach())


def _clip(x: Tensor, low: Tensor | None = None, high: Tensor | None = None, *, a: Attributes) -> Tensor:
    return x if low is None and high is None else x.clamp(low, high)


PLAIN: Mapping[str, Callable[..., Any]] = {
    "Abs": torch.abs,
    "Add": torch.add,
    "And": torch.logical_and,
    "Cos": torch.cos,
    "Div": _divide,
    "Equal": torch.eq,
    "Erf": torch.erf,
    "Exp": torch.exp,
    "Greater": torch.gt,
    "GreaterOrEqual": torch.ge,
    "Identity": lambda x: x,
    "Less": torch.lt,
    "LessOrEqual": torch.le,
    "Log": torch.log,
    "MatMul": torch.matmul,
    "Max": lambda *parts: reduce(torch.maximum, parts),
    "Min": lambda *parts: reduce(torch.minimum, parts),
    "Mul": torch.mul,
    "Neg": torch.neg,
    "Not": torch.logical_not,
    "Or": torch.logical_or,
    "PRelu": lambda x, slope: torch.where(x < 0, slope * x, x),
    "Pow": torch.pow,
    "Reciprocal": torch.reciprocal,
    "Relu": F.relu,
    "Sigmoid": torch.sigmoid,
    "Sin": torch.sin,
    "Softplus": F.softplus,
    "Sqrt": torch.sqrt,
    "Sub": torch.sub,
    "Tanh": torch.tanh,
    "Where": torch.where,
    "Expand": lambda x, shape: x.expand(torch.broadcast_shapes(x.shape, tuple(shape.tolist()))),
    "Tile": lambda x, repeats: x.repeat(*repeats.tolist()),
}
"""Operators without attributes."""

OPERATORS: Mapping[str, Operator] = {
    **{name: _plain(function) for name, function in PLAIN.items()},
    "BatchNormalization": lambda x, w, b, mean, var, *, a: F.batch_norm(x, mean, var, w, b, eps=a.get("epsilon", 1e-5)),
    "Cast": lambda x, *, a: x.to(DTYPES[a["to"]]),
    "Clip": _clip,
    "Concat": lambda *parts, a: torch.cat(parts, a["axis"]),
    "Constant": _constant,
    "ConstantOfShape": lambda shape, *, a: torch.full(
        shape.tolist(), numpy_helper.to_array(a["value"]).item() if "value" in a else 0.0
    ),
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "DepthToSpace": _depth_to_space,
    "Elu": lambda x, *, a: F.elu(x, a.get("alpha", 1.0)),
    "Flatten": lambda x, *, a: x.flatten(a.get("axis", 1)).reshape(x.shape[: a.get("axis", 1)].numel(), -1),
    "Gather": _gather,
    "Gelu": lambda x, *, a: F.gelu(x, approximate=a.get("approximate", b"none").decode()),
    "Gemm": _gemm,
    "InstanceNormalization": lambda x, w, b, *, a: F.instance_norm(x, weight=w, bias=b, eps=a.get("epsilon", 1e-5)),
    "LayerNormalization": _normalise_layer,
    "LeakyRelu": lambda x, *, a: F.leaky_relu(x, a.get("alpha", 0.01)),
    "LogSoftmax": lambda x, *, a: x.log_softmax(a.get("axis", -1)),
    "OneHot": _one_hot,
    "Pad": _pad,
    "ReduceMax": _reduced(torch.amax),
    "ReduceMean": _reduced(torch.mean),
    "ReduceSum": _reduced(torch.sum),
    "Reshape": _reshape,
    "Resize": _resize,
    "Round": _round,
    "Shape": lambda x, *, a: torch.tensor(x.shape[a.get("start", 0) : a.get("end", x.ndim)]),
    "Slice": _slice,
    "Softmax": lambda x, *, a: x.softmax(a.get("axis", -1)),
    "Split": _split,
    "Squeeze": _squeeze,
    "Transpose": lambda x, *, a: x.permute(a.get("perm", list(range(x.ndim))[::-1])),
    "Unsqueeze": _unsqueeze,
}
"""The operators that exported and adopted generators hold."""
