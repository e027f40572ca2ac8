"""An ONNX generator from elsewhere: its inputs renamed and batched, noise nodes bound to latents, rounding appended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.inliner
import onnx.version_converter
from numpy.typing import NDArray

from contract import Image, Latent, Normal, Uniform
from contract.runtime import RANDOM
from training.adopt.inputs import Input, draw_probes, latents_of
from training.adopt.names import label, nodes_of
from training.adopt.pictures import PictureFormat, check_varied
from training.adopt.rewire import append_rounding, dimensions, feed, make_batch_dynamic
from training.adopt.served import check_operators, check_served
from training.errors import AdoptError, first_line
from training.export.runtime import mistake_of, open_session, quietly
from training.export.to_onnx import OPSET, strip_model

OLDEST_OPSET = 13
"""The appended nodes have their form since this version; older graphs are converted."""
BATCHES = (7, 2)
"""Rows of a batch with which each row alone is compared."""
FEW = 14
"""Rows that are compared."""
NUMBERS = {
    **{"tensor(float)": "f4", "tensor(float16)": "f2", "tensor(double)": "f8", "tensor(bool)": "?"},
    **{f"tensor({sign}int{8 * size})": f"{sign or 'i'}{size}" for sign in ("", "u") for size in (1, 2, 4, 8)},
}
"""Types of inputs as onnxruntime names them, and as NumPy does."""
MAX_BYTES = 2**31 - 1
"""Greatest size of a protobuf message, and so of a model file."""


def adopt_graph(path: Path, inputs: Sequence[Input], form: PictureFormat) -> tuple[onnx.ModelProto, Image, str | None]:
    """The graph of a file as a sampler of the service, the picture that it makes, and a doubt about its range.

    Raises:
        AdoptError: the graph cannot keep the promise that a seed fixes a picture; the message names the node or the input.
    """
    model = _load(path)
    check_operators(model.graph)
    _keep_own_domain(model)
    bound, rows = _bind(model.graph, inputs)
    _check_noise(model.graph, bound, inputs)
    reference = model.SerializeToString() if all(one.name in rows for one in inputs) else None
    batches = [axis for name in rows.values() for axis in dimensions(model.graph, name)[:1]]
    fixed = max((axis for axis in batches if isinstance(axis, int)), default=1)
    for one in inputs:
        feed(model.graph, one, bound[one.name])
    output = model.graph.output[0].name
    del model.graph.output[1:]
    probes = draw_probes(inputs)
    alone = _run_alone(model, probes, fixed)
    image = form.image(alone)
    append_rounding(model.graph, output, form, image)
    pictures = rounded(form.levels(alone))
    finished = _batched(model, probes, pictures)
    check_varied(alone)
    if reference is not None:
        _check_faithful(reference, bound, inputs, probes, form, pictures)
    try:
        finished = strip_model(finished)
    except Exception as error:  # the checker's errors share no base class
        raise AdoptError(f"the rewired graph is not valid: {first_line(error)}") from None
    check_served(finished, latents_of(inputs))
    return finished, image, form.doubt(alone)


def rounded(levels: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Grey levels as the graph rounds them: half to even."""
    return np.clip(np.round(levels), 0, 255).astype(np.uint8)


def _load(path: Path) -> onnx.ModelProto:
    """The model in one piece: external data read, functions of its own inlined, at an operator set that we know."""
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
    version = next((one.version for one in model.opset_import if one.domain in ("", "ai.onnx")), OPSET)
    if version < OLDEST_OPSET:
        try:
            model = onnx.version_converter.convert_version(model, OPSET)
        except Exception as error:  # a C++ exception of any kind
            why = f"which cannot be converted to {OPSET}: {first_line(error)}"
            raise AdoptError(f"{path} has operator set {version}, {why}") from None
    return model


def _keep_own_domain(model: onnx.ModelProto) -> None:
    """Import no operators of other domains, of which the graph has none."""
    kept = [one for one in model.opset_import if one.domain in ("", "ai.onnx")]
    del model.opset_import[:]
    model.opset_import.extend(kept)


def _bind(graph: onnx.GraphProto, inputs: Sequence[Input]) -> tuple[dict[str, str], dict[str, str]]:
    """By latent the tensor that it becomes, of all latents and of those that are inputs of the graph.

    A latent goes to the input or random node that it names, else to the one of its own name, else to the next free input.
    """
    weights = {tensor.name for tensor in graph.initializer}
    declared = [value.name for value in graph.input if value.name not in weights]
    noise = {name: node.output[0] for node in graph.node if node.op_type in RANDOM for name in (node.name, node.output[0])}
    bound: dict[str, str] = {}
    for one in inputs:
        target = one.target or one.name
        if target in declared or target in noise:
            bound[one.name] = target if target in declared else noise[target]
        elif one.target:
            known = ", ".join([*declared, *noise]) or "none"
            raise AdoptError(f"the graph has no input or random node {target!r} for the latent {one.name}; it has {known}")
    rest = [one.name for one in inputs if one.name not in bound]
    free = [name for name in declared if name not in bound.values()]
    if len(rest) > len(free):
        raise AdoptError(f"the graph has no input for the latent {rest[len(free)]}; it has {', '.join(declared)}")
    if len(rest) < len(free):
        name = free[len(rest)]
        raise AdoptError(
            f"the graph needs {name} {dimensions(graph, name)} as well: declare it by --latent NAME=KIND:SIZE@{name}"
        )
    bound |= dict(zip(rest, free, strict=True))
    return bound, {name: target for name, target in bound.items() if target in declared}


def _check_noise(graph: onnx.GraphProto, bound: Mapping[str, str], inputs: Sequence[Input]) -> None:
    """Check that each random node is bound to a latent of its own distribution."""
    given = {bound[one.name]: one for one in inputs}
    for node in nodes_of(graph):
        if node.op_type not in RANDOM:
            continue
        prior, one = _prior_of(node), given.get(node.output[0])
        target = f"{prior}@{node.name or node.output[0]}"
        if one is None:
            raise AdoptError(
                f"the node {label(node)} draws noise, so a seed would not fix the pictures: "
                f"bind it to a latent, --latent noise={target}"
            )
        if _in_words(one.latent) != prior:
            raise AdoptError(f"the node {label(node)} draws other noise than the latent {one.name}: use {one.name}={target}")


def _prior_of(node: onnx.NodeProto) -> str:
    """The latent that can take the place of a random node, as --latent declares it.

    Raises:
        AdoptError: no latent can.
    """
    values = {attribute.name: attribute.f for attribute in node.attribute}
    if node.op_type in ("Bernoulli", "Multinomial"):
        raise AdoptError(f"the node {label(node)} draws noise that is neither normal nor uniform, which no latent can replace")
    if node.op_type.startswith("RandomNormal"):
        if (values.get("mean", 0.0), values.get("scale", 1.0)) != (0.0, 1.0):
            raise AdoptError(f"the node {label(node)} draws noise that is not standard normal, which no latent can replace")
        return _in_words(Normal(1))
    low, high = values.get("low", 0.0), values.get("high", 1.0)
    if not low < high:
        raise AdoptError(f"the node {label(node)} draws noise from {low:g} to {high:g}, which no latent can replace")
    return _in_words(Uniform(1, low, high))


def _in_words(latent: Latent) -> str:
    """The distribution of a latent in the words of --latent, its bounds in float32 as ONNX has them."""
    if not isinstance(latent, Uniform):
        return f"{latent.kind}:SIZE"
    bounds = (np.format_float_positional(np.float32(value) + np.float32(0), trim="-") for value in (latent.low, latent.high))
    return ":".join(["uniform:SIZE", *bounds])


def _run_alone(model: onnx.ModelProto, probes: Mapping[str, NDArray[Any]], fixed: int) -> NDArray[Any]:
    """The graph's first output for each row alone; ``fixed`` is the number of rows that the file declares.

    Raises:
        AdoptError: it does not run with one row, or its output is not of numbers.
    """
    try:
        alone = _run_rows(model, probes, [slice(i, i + 1) for i in range(len(next(iter(probes.values()))))])
    except AdoptError as error:
        if fixed < 2:
            raise
        raise AdoptError(f"the graph was exported for {fixed} rows: export it for one, or for any number ({error})") from None
    if alone.dtype.kind not in "fiub":
        raise AdoptError("the output must be of numbers, and is of strings")
    return alone


def _run_rows(model: onnx.ModelProto, probes: Mapping[str, NDArray[Any]], slices: Sequence[slice]) -> NDArray[Any]:
    """The graph's first output for some rows in batches.

    Raises:
        AdoptError: it does not run; the message is onnxruntime's first line, which names the node.
    """
    try:
        session = open_session(model.SerializeToString())
        parts = [session.run(None, {name: values[rows] for name, values in probes.items()}, quietly())[0] for rows in slices]
        return np.concatenate(parts)
    except Exception as error:  # onnxruntime's exceptions share no base class
        raise AdoptError(f"the graph does not run on these latents: {mistake_of(error)}") from None


def _batched(model: onnx.ModelProto, probes: Mapping[str, NDArray[Any]], alone: NDArray[np.uint8]) -> onnx.ModelProto:
    """The graph as it is, or with its reshapes opened for any number of rows, whichever gives each row alone its picture.

    Raises:
        AdoptError: neither does.
    """
    mistake = AdoptError("")
    for is_opened in (False, True):
        candidate = make_batch_dynamic(model) if is_opened else model  # opening copies the weights: not before it is needed
        try:
            for batch in BATCHES:
                seen = _run_rows(candidate, probes, [slice(i, i + batch) for i in range(0, FEW, batch)])
                off = np.abs(seen.astype(np.int16) - alone[:FEW]) if seen.shape == alone[:FEW].shape else np.array([256])
                if off.max() > 1:
                    raise AdoptError("a picture depends on the other rows of its batch, so a seed would not fix it")
            return candidate
        except AdoptError as error:
            mistake = error
    raise AdoptError(f"the graph takes one row at a time only: {mistake}")


def _check_faithful(
    reference: bytes,
    bound: Mapping[str, str],
    inputs: Sequence[Input],
    probes: Mapping[str, NDArray[Any]],
    form: PictureFormat,
    pictures: NDArray[np.uint8],
) -> None:
    """Compare with the graph as it was in the file, a batch of its own size for each row.

    Raises:
        ExportError: a picture differs by more than one grey level.
    """
    session = open_session(reference)
    kinds = {value.name: value for value in session.get_inputs()}
    for row in range(FEW):
        given = {}
        for one in inputs:
            value = kinds[bound[one.name]]
            count = value.shape[0] if value.shape and isinstance(value.shape[0], int) else 1
            given[value.name] = _as_graph_takes(one, probes[one.name][[row] * count], value)
        before = rounded(form.levels(session.run(None, given)[0][:1]))
        if np.abs(before.astype(np.int16) - pictures[row : row + 1]).max() > 1:
            raise AdoptError("the rewired graph differs from the one in the file by more than a grey level")


def _as_graph_takes(one: Input, values: NDArray[Any], value: Any) -> NDArray[Any]:
    if value.type not in NUMBERS:
        raise AdoptError(f"the graph takes {value.name} as {value.type}: export it with an input of float32 or int64")
    if one.is_one_hot:
        values = np.eye(one.shape[0], dtype=np.float32)[values]
    shape = [axis if isinstance(axis, int) else -1 for axis in value.shape[1:]]
    rest = shape if shape.count(-1) == 0 else list(one.shape)
    return values.astype(NUMBERS[value.type]).reshape(len(values), *rest)
