"""The few small generators that the tests serve: ordinary models that onnxruntime loads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract import (
    METADATA_KEY,
    Card,
    Categorical,
    Golden,
    Image,
    Latents,
    Normal,
    Output,
    Picture,
    Points,
    Tokens,
    Uniform,
    card_to_json,
    digest_latents,
    draw,
    probe_inputs,
)
from serving.model.inspection import SEEDS
from serving.model.load import Model, model_from_bytes
from serving.model.runtime import open_session, runtime_of
from tests.serving.onnx_protobuf import FLOAT, INT64, UINT8, model, node, value_info


class Graph:
    """Nodes and weights under way, one line a layer."""

    def __init__(self, seed: int = 7) -> None:
        self.nodes: list[bytes] = []
        self.weights: dict[str, NDArray[Any]] = {}
        self._random = np.random.default_rng(seed)

    def constant(self, values: NDArray[Any]) -> str:
        """A weight; its name."""
        name = f"w{len(self.weights)}"
        self.weights[name] = values
        return name

    def number(self, value: float) -> str:
        """A weight of one number; its name."""
        return self.constant(np.array(value, np.float32))

    def add(self, kind: str, *inputs: str, output: str = "", **attributes: int | float | Sequence[int]) -> str:
        """A node; its output's name."""
        output = output or f"t{len(self.nodes)}"
        self.nodes.append(node(kind, inputs, output, **attributes))
        return output

    def dense(self, source: str, fan_in: int, fan_out: int, gain: float = 1.4) -> str:
        """A linear layer of fixed random weights."""
        weight = self._random.standard_normal((fan_in, fan_out)) * gain / fan_in**0.5
        bias = self._random.standard_normal(fan_out) * 0.1
        return self.add("Gemm", source, self.constant(weight.astype(np.float32)), self.constant(bias.astype(np.float32)))

    def reshape(self, source: str, *shape: int, output: str = "") -> str:
        """Rows of another shape."""
        return self.add("Reshape", source, self.constant(np.array([-1, *shape], np.int64)), output=output)

    def image(self, levels: str, *shape: int) -> None:
        """The output: rows of levels as images."""
        self.add("Cast", self.reshape(levels, *shape), output="image", to=UINT8)


def build(
    name: str,
    latents: Latents,
    output: Output,
    hidden: Sequence[int] = (48,),
    golden_seeds: Sequence[int] = (0, 42),
    **changes: Any,
) -> bytes:
    """A whole model file: an MLP of fixed weights from the latents to the output, its card and goldens inside.

    Args:
        name: the card's name.
        latents: the inputs.
        output: what the graph gives.
        hidden: widths of the hidden layers.
        golden_seeds: seeds of the goldens.
        changes: other fields of the card, instead of the ordinary ones.
    """
    graph = Graph()
    source, width = _join(graph, latents)
    for size in hidden:
        source = graph.add("Relu", graph.dense(source, width, size))
        width = size
    _head(graph, source, width, output)
    return finish(name, graph, latents, output, golden_seeds, **changes)


def finish(
    name: str,
    graph: Graph,
    latents: Latents,
    output: Output,
    golden_seeds: Sequence[int] = (0, 42),
    inputs: Sequence[bytes] | None = None,
    **changes: Any,
) -> bytes:
    """The file of a graph, its card and goldens inside; its inputs are those of the card unless others are given."""
    picture = changes.get("picture")
    inputs = inputs_of(latents, picture) if inputs is None else inputs
    outputs = [value_info(output.kind, output.dtype, ["n", *output.shape])]
    fields = {
        "name": name,
        "recipe": "tiny",
        "paper": "none",
        "latents": latents,
        "output": output,
        "data": "none",
        "data_licence": "none",
        "steps": 1,
        "images": 1,
        "runtime": runtime_of("cpu"),
        **changes,
    }
    if "goldens" not in fields:
        bare = model(graph.nodes, graph.weights, inputs, outputs, {})
        fields["goldens"] = make_goldens(bare, latents, golden_seeds, picture)
    return model(graph.nodes, graph.weights, inputs, outputs, {METADATA_KEY: card_to_json(Card(**fields))})


def inputs_of(latents: Latents, picture: Picture | None = None) -> list[bytes]:
    """The inputs of a graph as its card has them."""
    inputs = [
        value_info(name, "int64", ["n"]) if isinstance(latent, Categorical) else value_info(name, "float32", ["n", latent.size])
        for name, latent in latents.items()
    ]
    if picture:
        inputs.append(value_info("picture", "uint8", ["n", *picture.shape]))
    if picture and picture.is_optional:
        inputs.append(value_info("has_picture", "bool", ["n"]))
    return inputs


def make_goldens(data: bytes, latents: Latents, seeds: Sequence[int], picture: Picture | None = None) -> tuple[Golden, ...]:
    """What a model gives here for a few seeds."""
    session = open_session(data, "cpu", 1)
    drawn = [(seed, probe_inputs(latents, picture, [seed])) for seed in seeds]
    return tuple(Golden(seed=s, latents=digest_latents(d, 0), output=session.run(None, d)[0][0]) for s, d in drawn)


def _join(graph: Graph, latents: Latents) -> tuple[str, int]:
    """Every latent side by side, a categorical one as a looked-up vector."""
    parts, width = [], 0
    for name, latent in latents.items():
        if isinstance(latent, Categorical):
            table = np.random.default_rng(3).standard_normal((latent.classes, 8)).astype(np.float32)
            parts.append(graph.add("Gather", graph.constant(table), name, axis=0))
            width += 8
        else:
            parts.append(graph.add("Identity", name))
            width += latent.size
    return (parts[0] if len(parts) == 1 else graph.add("Concat", *parts, axis=1)), width


def _head(graph: Graph, source: str, width: int, output: Output) -> None:
    size = int(np.prod(output.shape))
    last = graph.dense(source, width, size, gain=3.0)
    if isinstance(output, Points):
        graph.add("Identity", last, output="points")
        return
    top = 255.0 if isinstance(output, Image) else float(output.vocabulary - 1)
    rounded = graph.add("Round", graph.add("Mul", graph.add("Sigmoid", last), graph.number(top)))
    if isinstance(output, Image):
        graph.image(rounded, *output.shape)
    else:
        graph.add("Cast", rounded, output="tokens", to=INT64)


GREY: Latents = {"z": Normal(20)}
CONDITIONAL: Latents = {"z": Normal(20), "y": Categorical(10), "c": Uniform(2)}


def grey(**changes: Any) -> bytes:
    """An image model, 28x28 grey, of noise alone."""
    return build("grey", GREY, Image(28, 28, 1), **changes)


def conditional(**changes: Any) -> bytes:
    """An image model with a class and two codes."""
    return build("conditional", CONDITIONAL, Image(28, 28, 1), classes=tuple("0123456789"), **changes)


def colour(**changes: Any) -> bytes:
    """An image model, 16x20 RGB."""
    return build("colour", GREY, Image(16, 20, 3), **changes)


def points(size: int = 2, **changes: Any) -> bytes:
    """A model of points."""
    return build(f"points{size}", {"z": Normal(4)}, Points(size, (-6.0,) * size, (6.0,) * size), **changes)


def tokens(**changes: Any) -> bytes:
    """A model of token sequences."""
    return build("tokens", GREY, Tokens(12, 30), **changes)


def exact(**changes: Any) -> bytes:
    """An image model whose sums are of small integers, so that every processor and runtime gives the same pixels."""
    graph = Graph()
    steps = graph.add("Round", graph.add("Mul", "z", graph.number(8)))
    weights = (np.arange(20 * 64) * 37 % 23 - 11).astype(np.float32).reshape(20, 64)
    sums = graph.add("Add", graph.add("MatMul", steps, graph.constant(weights)), graph.number(128))
    graph.image(graph.add("Clip", sums, graph.number(0), graph.number(255)), 8, 8, 1)
    return finish("exact", graph, GREY, Image(8, 8, 1), **changes)


def transforming(name: str = "transforming", *, channels: int = 1, is_optional: bool = False, **changes: Any) -> bytes:
    """An image model, 8x8, that mixes a given picture with what the seed draws; without a picture it shows the latter."""
    graph = Graph()
    picture = Picture(8, 8, channels, is_optional)
    pixels = graph.reshape(graph.add("Cast", "picture", to=FLOAT), 64 * channels)
    noise = graph.add("Mul", graph.add("Sigmoid", graph.dense("z", 20, 64 * channels)), graph.number(255))
    table = graph.constant(np.linspace(0, 40, 10, dtype=np.float32)[:, None])
    noise = graph.add("Add", noise, graph.add("Gather", table, "y", axis=0))
    mixed = graph.add("Mul", graph.add("Add", pixels, noise), graph.number(0.5))
    if is_optional:
        mixed = graph.add("Where", graph.reshape("has_picture", 1), mixed, noise)
    graph.image(graph.add("Clip", graph.add("Round", mixed), graph.number(0), graph.number(255)), *picture.shape)
    latents: Latents = {"z": Normal(20), "y": Categorical(10)}
    return finish(name, graph, latents, Image(8, 8, channels), picture=picture, **changes)


def random(**changes: Any) -> bytes:
    """An image model that rolls dice: its pixels are other ones each time."""
    graph = Graph()
    noise = graph.add("RandomNormalLike", "z", scale=0.1)
    last = graph.dense(graph.add("Add", "z", noise), 20, 28 * 28, gain=3.0)
    graph.image(graph.add("Round", graph.add("Mul", graph.add("Sigmoid", last), graph.number(255))), 28, 28, 1)
    return finish("grey", graph, GREY, Image(28, 28, 1), **changes)


def convolutional(**changes: Any) -> bytes:
    """An image model, 28x28 grey, of transposed convolutions: what an inference shares out among threads."""
    graph = Graph()
    layer = graph.reshape(graph.add("Relu", graph.dense("z", 20, 32 * 7 * 7)), 32, 7, 7)
    for fan_in, fan_out in ((32, 16), (16, 1)):
        kernel = np.random.default_rng(fan_in).standard_normal((fan_in, fan_out, 4, 4)).astype(np.float32) / fan_in**0.5
        layer = graph.add("ConvTranspose", layer, graph.constant(kernel), strides=[2, 2], pads=[1, 1, 1, 1])
    shaped = graph.add("Transpose", graph.add("Sigmoid", layer), perm=[0, 2, 3, 1])
    graph.add("Cast", graph.add("Round", graph.add("Mul", shaped, graph.number(255))), output="image", to=UINT8)
    return finish("convolutional", graph, GREY, Image(28, 28, 1), **changes)


def rarely_nan() -> tuple[Model, int]:
    """A model of roots, of positive numbers for all seeds of the probes, and a seed for which one pixel is NaN."""
    least = draw(GREY, SEEDS)["z"].min()
    bad = int(np.argmax(draw(GREY, range(20_000))["z"].min(1) < least - 0.2))
    graph = Graph()
    root = graph.add("Sqrt", graph.add("Sub", "z", graph.number(least - 0.1)))
    graph.image(graph.add("Round", graph.add("Mul", root, graph.number(40))), 4, 5, 1)
    return model_from_bytes(finish("m", graph, GREY, Image(4, 5, 1)), "cpu"), bad
