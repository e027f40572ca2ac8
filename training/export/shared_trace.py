"""One trace for many nets that differ in their weights only: tracing takes most of the time of a small net's export."""

from __future__ import annotations

from collections.abc import Mapping

import onnx
from onnx import numpy_helper
from torch import Tensor, nn

from training.export import to_onnx
from training.export.node_names import inside


class SharedTrace:
    """Traces the first net; nets after it get its graph with their own weights, where each of them is found in the graph.

    For nets of one structure, as the seeds of one recipe. What comes out is compared with torch as any export is.
    """

    def __init__(self) -> None:
        self._first: tuple[onnx.ModelProto, Mapping[str, Tensor]] | None = None

    def __call__(self, module: nn.Module, examples: Mapping[str, Tensor], output: str) -> onnx.ModelProto:
        """The graph of a net, as ``to_onnx.trace`` gives it."""
        weights = {inside(name): value for name, value in module.state_dict().items()}
        model = None if self._first is None else _with_weights(*self._first, weights)
        if model is None:
            model = to_onnx.trace(module, examples, output)
            self._first = model, {name: value.clone() for name, value in weights.items()}
        return model


def _with_weights(model: onnx.ModelProto, old: Mapping[str, Tensor], new: Mapping[str, Tensor]) -> onnx.ModelProto | None:
    """A copy of the graph with other weights; None where a weight is not in the graph as it is in the net."""
    copied = onnx.ModelProto()
    copied.CopyFrom(model)
    initializers = {one.name: one for one in copied.graph.initializer}
    if old.keys() != new.keys() or not old.keys() <= initializers.keys():
        return None
    for name, weight in new.items():
        place, before, after = initializers[name], _proto(old[name]), _proto(weight)
        is_as_before = (place.dims, place.data_type, place.raw_data) == (before.dims, before.data_type, before.raw_data)
        if not is_as_before or (after.dims, after.data_type) != (before.dims, before.data_type):
            return None
        place.raw_data = after.raw_data
    return copied


def _proto(weight: Tensor) -> onnx.TensorProto:
    return numpy_helper.from_array(weight.detach().cpu().numpy())
