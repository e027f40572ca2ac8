"""An ONNX file as its author wrote it: read, brought to an operator set that we know, and run for comparison."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.inliner
import onnx.version_converter
from numpy.typing import NDArray

from contract.runtime import RANDOM
from training.adopt.inputs import Input
from training.adopt.names import nodes_of
from training.errors import AdoptError, first_line
from training.export.runtime import mistake_of, open_session, quietly
from training.export.to_onnx import OPSET

OLDEST_OPSET = 13
"""The appended nodes have their form since this version; older graphs are converted."""
COORDINATES_OPSET = 11
"""The first operator set whose ``Resize`` says where a pixel lies; before, it was always as in ``OLD_COORDINATES``."""
OLD_COORDINATES = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
NUMBERS = {
    **{"tensor(float)": "f4", "tensor(float16)": "f2", "tensor(double)": "f8", "tensor(bool)": "?"},
    **{f"tensor({sign}int{8 * size})": f"{sign or 'i'}{size}" for sign in ("", "u") for size in (1, 2, 4, 8)},
}
"""Types of inputs as onnxruntime names them, and as NumPy does."""
MAX_BYTES = 2**31 - 1
"""Greatest size of a protobuf message, and so of a model file."""


def load_graph(path: Path) -> tuple[onnx.ModelProto, bytes]:
    """The model in one piece, external data read and functions inlined: at an operator set that we know, and as it was.

    Raises:
        AdoptError: the file cannot be read, or its operator set cannot be converted.
    """
    try:
        model = onnx.load(path)
        onnx.checker.check_model(model)
    except OSError as error:
        raise AdoptError(f"{path}: {error.strerror or error}") from None
    except Exception as error:  # protobuf and the checker raise errors of many kinds
        raise AdoptError(f"{path} is no valid ONNX model: {first_line(error)}") from None
    if not model.graph.output:
        raise AdoptError(f"{path} has no output")
    if model.ByteSize() > MAX_BYTES:
        raise AdoptError(f"{path} has {model.ByteSize():,} bytes with its weights; a model file has at most {MAX_BYTES:,}")
    if model.functions:
        model = onnx.inliner.inline_local_functions(model)
    original = model.SerializeToString()
    version = next((one.version for one in model.opset_import if one.domain in ("", "ai.onnx")), OPSET)
    if version < OLDEST_OPSET:
        try:
            model = onnx.version_converter.convert_version(model, OPSET)
        except Exception as error:  # a C++ exception of any kind
            why = f"which cannot be converted to {OPSET}: {first_line(error)}"
            raise AdoptError(f"{path} has operator set {version}, {why}") from None
    if version < COORDINATES_OPSET:
        _keep_coordinates(model.graph)
    return model, original


def _keep_coordinates(graph: onnx.GraphProto) -> None:
    """Write into each converted ``Resize`` where its pixels lay: the converter leaves it at the newer default."""
    for node in nodes_of(graph):
        if node.op_type == "Resize":
            present = {attribute.name for attribute in node.attribute}
            missing = {name: value for name, value in OLD_COORDINATES.items() if name not in present}
            node.attribute.extend(onnx.helper.make_attribute(name, value) for name, value in missing.items())


class Original:
    """A graph whose inputs are still those of the file."""

    def __init__(self, model: bytes, bound: Mapping[str, str], inputs: Sequence[Input]) -> None:
        """``bound`` has the tensor that each latent of ``inputs`` becomes.

        Raises:
            AdoptError: onnxruntime does not open it.
        """
        try:
            self.session = open_session(model)
        except Exception as error:  # onnxruntime's exceptions share no base class
            raise AdoptError(f"the graph does not run as it is in the file: {mistake_of(error)}") from None
        values = {value.name: value for value in self.session.get_inputs()}
        self.taken = [(one, values[bound[one.name]]) for one in inputs if bound[one.name] in values]

    def run(self, probes: Mapping[str, NDArray[Any]], row: int) -> list[NDArray[Any]]:
        """All outputs for one row, which is repeated as often as the file declares rows.

        Raises:
            AdoptError: the graph does not run.
        """
        given = {value.name: _as_taken(one, probes[one.name][[row] * _rows(value)], value) for one, value in self.taken}
        try:
            outputs: list[NDArray[Any]] = self.session.run(None, given, quietly())
        except Exception as error:
            raise AdoptError(f"the graph does not run as it is in the file: {mistake_of(error)}") from None
        return outputs

    @property
    def rows(self) -> int:
        """The number of rows that ``run`` gives to the graph."""
        return max((_rows(value) for _, value in self.taken), default=1)


def _rows(value: Any) -> int:
    return value.shape[0] if value.shape and isinstance(value.shape[0], int) else 1


def _as_taken(one: Input, values: NDArray[Any], value: Any) -> NDArray[Any]:
    """Rows of a latent in the type and the shape of an input."""
    if value.type not in NUMBERS:
        raise AdoptError(f"the graph takes {value.name} as {value.type}: export it with an input of float32 or int64")
    if one.is_one_hot:
        values = np.eye(one.shape[0], dtype=np.float32)[values]
    shape = [axis if isinstance(axis, int) else -1 for axis in value.shape[1:]]
    rest = shape if shape.count(-1) == 0 else list(one.shape)
    return values.astype(NUMBERS[value.type]).reshape(len(values), *rest)


def noise_shapes(
    model: onnx.ModelProto, bound: Mapping[str, str], inputs: Sequence[Input], probes: Mapping[str, NDArray[Any]]
) -> dict[str, tuple[int, ...]]:
    """By output of a random node the shape of one row of it; without those that have no axis of rows or cannot be run."""
    names = [node.output[0] for node in model.graph.node if node.op_type in RANDOM]
    if not names:
        return {}
    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    del watched.graph.output[:]
    watched.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in names)
    try:
        original = Original(watched.SerializeToString(), bound, inputs)
        drawn = original.run(probes, 0)
    except (AdoptError, ValueError):  # what is wrong with the latents is said where they are given to the graph
        return {}
    return {
        name: values.shape[1:]
        for name, values in zip(names, drawn, strict=True)
        if values.ndim > 1 and len(values) == original.rows
    }
