"""What the service demands of a model file when it loads one: refused here, before the file is written."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import numpy_helper

from contract import Latents, draw
from contract.runtime import MAX_NODES
from training.adopt.inputs import SERVICE_SEEDS
from training.adopt.names import graphs_of, label, nodes_of
from training.errors import AdoptError
from training.export.runtime import open_session


def check_operators(graph: onnx.GraphProto) -> None:
    """Check that the service runs a graph's operators, and that none works as in training.

    Raises:
        AdoptError: naming the node.
    """
    for node in nodes_of(graph):
        flags = {attribute.name: attribute.i for attribute in node.attribute}
        if node.domain not in ("", "ai.onnx"):
            raise AdoptError(f"the node {label(node)} is of {node.domain}; the service runs ONNX's own operators only")
        if node.op_type == "Loop":
            raise AdoptError(f"the node {label(node)} may run endlessly; the service does not run it")
        if node.op_type == "BatchNormalization" and flags.get("training_mode"):
            raise AdoptError(f"the node {label(node)} normalises by the statistics of the batch: export in evaluation mode")
        if node.op_type == "Dropout" and not _is_false(graph, "".join(node.input[2:])):
            raise AdoptError(f"the node {label(node)} drops values at random, as in training: export in evaluation mode")


def check_served(model: onnx.ModelProto, latents: Latents) -> None:
    """Check a finished model as the service does when it loads the file.

    Args:
        model: latents to uint8 pictures [n,h,w,c], any number of rows.
        latents: its inputs.

    Raises:
        AdoptError: an operator, a constant or the number of nodes is one that the service refuses, a seed gives different
            pictures, or all seeds give one.
    """
    check_operators(model.graph)
    if (nodes := sum(1 for _ in nodes_of(model.graph))) > MAX_NODES:
        raise AdoptError(f"the graph has {nodes} nodes; the service runs at most {MAX_NODES}")
    _check_constants(model.graph)
    session = open_session(model.SerializeToString())
    pictures, again = (
        np.concatenate([session.run(None, dict(draw(latents, [seed])))[0] for seed in SERVICE_SEEDS]) for _ in range(2)
    )
    if not np.array_equal(pictures, again):
        raise AdoptError("two runs on the same latents differ, so a seed would not fix the pictures")
    if (pictures == pictures[:1]).all():
        raise AdoptError(f"{len(pictures)} seeds give one picture once it is rounded: the latents hardly change the output")


def _check_constants(graph: onnx.GraphProto) -> None:
    """Check the weights and the constants of the outer graph, as the service does."""
    given = [(node.output[0], a.t) for node in graph.node for a in node.attribute if a.type == onnx.AttributeProto.TENSOR]
    for name, tensor in [*((tensor.name, tensor) for tensor in graph.initializer), *given]:
        values = numpy_helper.to_array(tensor)
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise AdoptError(
                f"the constant {name} holds NaN or infinity, with which the service refuses a file; a mask can hold -1e30"
            )


def _is_false(graph: onnx.GraphProto, name: str) -> bool:
    """Whether a tensor is absent, or a constant that is false."""
    if not name:
        return True
    for one in graphs_of(graph):
        constants = [tensor for tensor in one.initializer if tensor.name == name]
        constants += [a.t for node in one.node if name in node.output and node.op_type == "Constant" for a in node.attribute]
        if constants:
            return not numpy_helper.to_array(constants[0]).any()
    return False
