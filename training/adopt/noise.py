"""The nodes of an ONNX graph that draw noise, and the latents that can take their place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx

from contract import Latent, Normal, Uniform
from contract.runtime import RANDOM
from training.adopt.inputs import Input
from training.adopt.names import label, nodes_of
from training.errors import AdoptError

Shape = tuple[int, ...]


def check_noise(graph: onnx.GraphProto, bound: Mapping[str, str], inputs: Sequence[Input], shapes: Mapping[str, Shape]) -> None:
    """Check that each random node is bound to a latent of its own distribution and shape.

    Args:
        graph: the graph.
        bound: the tensor that each latent becomes.
        inputs: the latents.
        shapes: by output of a random node the shape of one row, as far as it is known.

    Raises:
        AdoptError: naming the node and the latent that it needs.
    """
    given = {bound[one.name]: one for one in inputs}
    for node in nodes_of(graph):
        if node.op_type not in RANDOM:
            continue
        name = node.output[0]
        prior, one, shape = _prior_of(node), given.get(name), shapes.get(name)
        wanted = f"{_in_words(prior, shape)}@{node.name or name}"
        if one is None:
            raise AdoptError(
                f"the node {label(node)} draws noise, so a seed would not fix the pictures: "
                f"bind it to a latent, --latent noise={wanted}"
            )
        is_other = shape is not None and _without_ones(shape) != _without_ones(one.shape)
        if is_other or _in_words(one.latent, None) != _in_words(prior, None):
            raise AdoptError(f"the node {label(node)} draws other noise than the latent {one.name}: use {one.name}={wanted}")


def _prior_of(node: onnx.NodeProto) -> Latent:
    """The distribution of the latent that can take the place of a random node.

    Raises:
        AdoptError: no latent can.
    """
    values = {attribute.name: attribute.f for attribute in node.attribute}
    if node.op_type in ("Bernoulli", "Multinomial"):
        raise AdoptError(f"the node {label(node)} draws noise that is neither normal nor uniform, which no latent can replace")
    if node.op_type.startswith("RandomNormal"):
        if (values.get("mean", 0.0), values.get("scale", 1.0)) != (0.0, 1.0):
            raise AdoptError(f"the node {label(node)} draws noise that is not standard normal, which no latent can replace")
        return Normal(1)
    low, high = values.get("low", 0.0), values.get("high", 1.0)
    if not low < high:
        raise AdoptError(f"the node {label(node)} draws noise from {low:g} to {high:g}, which no latent can replace")
    return Uniform(1, low, high)


def _in_words(latent: Latent, shape: Shape | None) -> str:
    """A latent in the words of --latent, its bounds in float32 as ONNX has them."""
    words = [latent.kind, "x".join(map(str, shape)) if shape else "SIZE"]
    if isinstance(latent, Uniform):
        bounds = (np.float32(value) + np.float32(0) for value in (latent.low, latent.high))
        words += [np.format_float_positional(value, trim="-") for value in bounds]
    return ":".join(words)


def _without_ones(shape: Shape) -> Shape:
    return tuple(axis for axis in shape if axis != 1)
