"""An ONNX generator from elsewhere: its inputs renamed and batched, noise nodes bound to latents, rounding appended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from contract import Categorical, Image
from contract.runtime import RANDOM
from training.adopt.inputs import PROBES, Input, draw_probes, latents_of
from training.adopt.memory import lacks_memory
from training.adopt.noise import check_noise
from training.adopt.original import Original, load_graph, noise_shapes
from training.adopt.pictures import PictureFormat, Seen
from training.adopt.rewire import append_rounding, dimensions, feed, make_batch_dynamic
from training.adopt.served import check_operators, check_served
from training.errors import AdoptError, first_line
from training.export.runtime import mistake_of, open_session, quietly
from training.export.to_onnx import strip_model

BATCHES = (7, 2)
"""Rows of a batch with which each row alone is compared."""
FEW = 14
"""Rows that are compared."""


def adopt_graph(path: Path, inputs: Sequence[Input], form: PictureFormat) -> tuple[onnx.ModelProto, Image, str | None]:
    """The graph of a file as a sampler of the service, the picture that it makes, and a doubt about its range.

    Raises:
        AdoptError: the graph cannot keep the promise that a seed fixes a picture; the message names the node or the input.
    """
    model, original = load_graph(path)
    check_operators(model.graph)
    _keep_own_domain(model)
    bound, rows = _bind(model.graph, inputs)
    probes = draw_probes(inputs, slice(FEW))
    check_noise(model.graph, bound, inputs, noise_shapes(model, bound, inputs, probes))
    declared = {name: dimensions(model.graph, target) for name, target in rows.items()}
    for one in inputs:
        feed(model.graph, one, bound[one.name])
    output = model.graph.output[0].name
    del model.graph.output[1:]
    seen = form.seen()
    fixed = max((axis for axes in declared.values() for axis in axes[:1] if isinstance(axis, int)), default=1)
    alone = _run_alone(model, inputs, seen, fixed)
    image = form.image(seen)
    append_rounding(model.graph, output, form, image)
    pictures = rounded(form.levels(alone))
    try:
        finished = _batched(model, probes, pictures)
    except AdoptError as error:
        _check_rows(inputs, declared, error)
        raise
    seen.check_varied()
    if len(rows) == len(inputs):
        _check_faithful(Original(original, bound, inputs), probes, form, pictures)
    try:
        finished = strip_model(finished)
    except Exception as error:  # the checker's errors share no base class
        raise AdoptError(f"the rewired graph is not valid: {first_line(error)}") from None
    check_served(finished, latents_of(inputs))
    return finished, image, form.doubt(seen)


def rounded(levels: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Grey levels as the graph rounds them: half to even."""
    return np.clip(np.round(levels), 0, 255).astype(np.uint8)


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


def _run_alone(model: onnx.ModelProto, inputs: Sequence[Input], seen: Seen, fixed: int) -> NDArray[Any]:
    """Run the graph on each row alone; returns its first output for the rows that are compared.

    Args:
        model: the graph.
        inputs: its latents.
        seen: notes the outputs of all rows.
        fixed: the number of rows that the file declares.

    Raises:
        AdoptError: it does not run with one row, or its output is not of numbers.
    """
    kept: list[NDArray[Any]] = []
    try:
        run = _Runner(model)
        for row in range(PROBES):
            output = run(draw_probes(inputs, slice(row, row + 1)))
            if output.dtype.kind not in "fiub":
                raise AdoptError("the output must be of numbers, and is of strings")
            seen.add(output)
            kept += [output] * (row < FEW)
    except AdoptError as error:
        if fixed < 2:
            raise
        raise AdoptError(f"the graph was exported for {fixed} rows: export it for one, or for any number ({error})") from None
    return np.concatenate(kept) if kept[0].ndim else np.array(kept)


class _Runner:
    """A graph on the CPU; an error of onnxruntime's is one sentence, its first line, which names the node."""

    def __init__(self, model: onnx.ModelProto) -> None:
        try:
            self.session = open_session(model.SerializeToString())
        except Exception as error:
            raise _refusal(error) from None

    def __call__(self, latents: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
        """The first output."""
        try:
            output: NDArray[Any] = np.asarray(self.session.run(None, dict(latents), quietly())[0])
        except Exception as error:
            raise _refusal(error) from None
        return output


def _refusal(error: Exception) -> Exception:
    """What to raise for an error of onnxruntime's, whose exceptions share no base class."""
    return error if lacks_memory(error) else AdoptError(f"the graph does not run on these latents: {mistake_of(error)}")


def _batched(model: onnx.ModelProto, probes: Mapping[str, NDArray[Any]], alone: NDArray[np.uint8]) -> onnx.ModelProto:
    """The graph as it is, or with its reshapes opened for any number of rows, whichever gives each row alone its picture.

    Raises:
        AdoptError: neither does.
    """
    mistake = AdoptError("")
    for is_opened in (False, True):
        candidate = make_batch_dynamic(model) if is_opened else model  # opening copies the weights: not before it is needed
        try:
            run = _Runner(candidate)
            for batch in BATCHES:
                for start in range(0, FEW, batch):
                    rows = slice(start, start + batch)
                    output = run({name: values[rows] for name, values in probes.items()})
                    if output.shape != alone[rows].shape or np.abs(output.astype(np.int16) - alone[rows]).max() > 1:
                        raise AdoptError("a picture depends on the other rows of its batch, so a seed would not fix it")
            return candidate
        except AdoptError as error:
            mistake = error
    raise AdoptError(f"the graph takes one row at a time only: {mistake}")


def _check_rows(inputs: Sequence[Input], declared: Mapping[str, Sequence[int | str]], mistake: AdoptError) -> None:
    """Say what to export where a graph that fails for several rows has one number for all of them; raises AdoptError."""
    for one in inputs:
        if list(declared.get(one.name, "?")) in ([], [1]) and not isinstance(one.latent, Categorical):
            what = f"the graph takes {one.name} as one number for all rows: export it with one for each, as {one}"
            raise AdoptError(f"{what} ({mistake})") from None


def _check_faithful(
    original: Original, probes: Mapping[str, NDArray[Any]], form: PictureFormat, pictures: NDArray[np.uint8]
) -> None:
    """Compare with the graph as it was in the file, a batch of its own size for each row.

    Raises:
        AdoptError: a picture differs by more than one grey level.
    """
    for row in range(FEW):
        before = rounded(form.levels(original.run(probes, row)[0][:1]))
        if np.abs(before.astype(np.int16) - pictures[row : row + 1]).max() > 1:
            raise AdoptError("the rewired graph differs from the one in the file by more than a grey level")
