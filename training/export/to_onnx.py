"""The generator as one ONNX file: latents in, what the client sees out, the card inside, the same bytes every time."""

from __future__ import annotations

import io
import logging
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stderr
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from contract import (
    METADATA_KEY,
    Card,
    Categorical,
    Golden,
    Inputs,
    Latents,
    Picture,
    card_to_json,
    digest_latents,
    probe_inputs,
    runtime_class,
)
from contract.pictures import HAS_PICTURE, PICTURE
from training.errors import ExportError, first_line
from training.export.fold_batchnorm import fold_batch_norm
from training.export.node_names import name_by_module
from training.export.runtime import onnxruntime_version, open_session
from training.export.samplers import ImageSampler, Sampler
from training.export.subpixel import rewrite_transposed
from training.files import write_whole

OPSET = 20
GOLDEN_SEEDS = (0, 42, 2**31, 2**32 - 1)
PARITY_SEEDS, LEAST_PARITY_SEEDS = 64, 8
PARITY_VALUES = 64 * 64 * 3
"""Values of an output up to which all parity seeds are compared; larger outputs are compared in proportionally fewer."""
PARITY_BATCHES = (1, 2, 7)
FLOAT_TOLERANCE = 1e-4
"""Greatest difference allowed between torch and onnxruntime, relative to the output's range (images) or to 1 + |value|."""
Tracer = Callable[[nn.Module, Mapping[str, Tensor], str], onnx.ModelProto]
Upsampling = Literal["convtranspose", "depthtospace"]
"""How transposed convolutions of stride 2 are written. As they are, they are faster on a CPU; rewritten, they are the same."""


def export(
    sampler: Sampler,
    card: Card,
    path: Path,
    *,
    upsampling: Upsampling = "convtranspose",
    fold: bool = True,
    tolerance: float = FLOAT_TOLERANCE,
    tracer: Tracer | None = None,
) -> dict[str, float]:
    """Write the sampler as ``path``, with ``card`` and its goldens inside, once it was seen to do what torch does.

    Args:
        sampler: latents to the contract's output.
        card: its card, without goldens.
        path: the file.
        upsampling: how transposed convolutions are written.
        fold: whether batch normalisation becomes part of the neighbouring layers.
        tolerance: greatest difference allowed before rounding.
        tracer: what makes the graph; None is ``trace``.

    Returns:
        The greatest differences seen between torch and onnxruntime: ``float``, before rounding, as a share of the range
        (images) or of 1 + |value| (points), and ``output``, in grey levels or the units of the points.

    Raises:
        ExportError: onnxruntime differs from torch by more than the tolerance or a grey level; nothing was written.
    """
    sampler = sampler.cpu().eval()
    folded = cast(Sampler, fold_batch_norm(sampler)) if fold else sampler
    if upsampling == "depthtospace":
        folded = cast(Sampler, rewrite_transposed(folded))
    examples = _examples(card.latents, card.picture)
    model = (tracer or trace)(folded, examples, card.output.kind)
    levels = _before_rounding(model) if isinstance(folded, ImageSampler) else model
    difference = _parity(sampler, levels, model, card, tolerance)
    write_model(model, card, path)
    return difference


def write_model(model: onnx.ModelProto, card: Card, path: Path) -> None:
    """Write a graph as ``path``, with ``card`` and the goldens that it computes inside."""
    session = open_session(model.SerializeToString())
    goldens = tuple(_golden(session, card, seed) for seed in GOLDEN_SEEDS)
    card = replace(card, runtime=runtime_class(onnxruntime_version(), "cpu"), goldens=goldens)
    write_whole(path, _with_card(model, card).SerializeToString(deterministic=True))


def package_versions() -> dict[str, str]:
    """Versions of what makes a file; the package of onnxruntime has another name where it has CUDA."""
    found = {name: version(name) for name in ("torch", "onnx", "onnxscript", "numpy")}
    return {**found, "onnxruntime": onnxruntime_version()}


def trace(module: nn.Module, examples: Mapping[str, Tensor], output: str) -> onnx.ModelProto:
    """The graph of a module: inputs named and ordered as ``examples``, of two rows each, to ``output``, any number of rows."""
    rows = torch.export.Dim("n")
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings(), redirect_stderr(io.StringIO()):  # torch prints the graph before it raises
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            module,
            tuple(examples.values()),
            dynamo=True,
            opset_version=OPSET,
            verbose=False,
            external_data=False,
            input_names=list(examples),
            output_names=[output],
            dynamic_shapes={"inputs": tuple({0: rows} for _ in examples)},
        )
    assert program is not None  # None only when a file name is given
    model = program.model_proto
    name_by_module(model.graph)
    return strip_model(model)


def _before_rounding(model: onnx.ModelProto) -> onnx.ModelProto:
    """The graph of an `ImageSampler` up to its levels: without the rounding, the clamp and the cast that end it."""
    cut = onnx.ModelProto()
    cut.CopyFrom(model)
    graph = cut.graph
    made_by = {name: node for node in graph.node for name in node.output}
    last = made_by[graph.output[0].name]
    while last.op_type != "Round":
        graph.node.remove(last)
        last = made_by[last.input[0]]
    graph.node.remove(last)
    graph.output[0].name = last.input[0]
    graph.output[0].type.tensor_type.elem_type = onnx.TensorProto.FLOAT
    return cut


def _examples(latents: Latents, picture: Picture | None) -> dict[str, Tensor]:
    """Two rows of every input, by name, in the graph's order."""
    examples = {
        name: torch.zeros(2, dtype=torch.int64) if isinstance(latent, Categorical) else torch.zeros(2, latent.size)
        for name, latent in latents.items()
    }
    if picture is not None:
        examples[PICTURE] = torch.zeros(2, *picture.shape, dtype=torch.uint8)
        if picture.is_optional:
            examples[HAS_PICTURE] = torch.zeros(2, dtype=torch.bool)
    return examples


def strip_model(model: onnx.ModelProto) -> onnx.ModelProto:
    """Without what the exporter says of the machine: stack traces, module paths, documentation, shapes of inner values."""
    model.doc_string = ""
    del model.metadata_props[:]
    graph = model.graph
    graph.name = "generator"
    graph.doc_string = ""
    del graph.metadata_props[:]
    del graph.value_info[:]
    for part in (*graph.node, *graph.input, *graph.output, *graph.initializer):
        part.doc_string = ""
        if isinstance(part, onnx.NodeProto | onnx.ValueInfoProto | onnx.TensorProto):
            del part.metadata_props[:]
    del model.functions[:]
    model.producer_name, model.producer_version = "gan-serve", ""
    for value in (*graph.input, *graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "n"
    onnx.checker.check_model(model, full_check=True)
    return model


def _with_card(model: onnx.ModelProto, card: Card) -> onnx.ModelProto:
    finished = onnx.ModelProto()
    finished.CopyFrom(model)
    entry = finished.metadata_props.add()
    entry.key, entry.value = METADATA_KEY, card_to_json(card)
    return finished


def _run(session: Any, inputs: Inputs) -> NDArray[Any]:
    return cast(NDArray[Any], session.run(None, dict(inputs))[0])


def _golden(session: Any, card: Card, seed: int) -> Golden:
    inputs = probe_inputs(card.latents, card.picture, [seed])
    return Golden(seed=seed, latents=digest_latents(inputs, 0), output=_run(session, inputs)[0])


def _parity(
    sampler: Sampler, levels: onnx.ModelProto, model: onnx.ModelProto, card: Card, tolerance: float
) -> dict[str, float]:
    """torch, batch normalisation not folded, against onnxruntime, on up to 64 seeds in batches of 1, 2 and 7."""
    values = math.prod(card.output.shape)
    seeds = range(max(LEAST_PARITY_SEEDS, min(PARITY_SEEDS, PARITY_SEEDS * PARITY_VALUES // values)))
    inputs = probe_inputs(card.latents, card.picture, list(seeds))
    tensors = [torch.from_numpy(values) for values in inputs.values()]
    with torch.no_grad():
        exact, seen = sampler.levels(*tensors).numpy(), sampler(*tensors).numpy()
    if not np.isfinite(exact).all():
        seed = seeds[int(np.argmin(np.isfinite(exact.reshape(len(exact), -1)).all(1)))]
        raise ExportError(f"G gives NaN or infinity, first for seed {seed}: use an earlier checkpoint or another seed")
    is_image = seen.dtype == np.uint8
    scale = np.full_like(exact, 255.0) if is_image else 1 + np.abs(exact)
    worst = {"float": 0.0, "output": 0.0}
    float_session, session = open_session(levels.SerializeToString()), open_session(model.SerializeToString())
    for batch in PARITY_BATCHES:
        for start in range(0, len(seeds), batch):
            rows = slice(start, start + batch)
            part = {name: values[rows] for name, values in inputs.items()}
            off = np.abs(_run(float_session, part) - exact[rows]) / scale[rows]
            worst["float"] = float(np.maximum(worst["float"], off.max()))  # NaN stays, where max() would drop it
            difference = _run(session, part).astype(np.float64) - seen[rows].astype(np.float64)
            worst["output"] = float(np.maximum(worst["output"], np.abs(difference).max()))
    if not worst["float"] <= tolerance or (is_image and worst["output"] > 1):
        if doubt := _doubt(sampler, tensors, exact, scale, tolerance):
            raise ExportError(doubt)
        levels_off = f" and {worst['output']:g} in the output (at most one grey level)" if is_image else ""
        raise ExportError(
            f"onnxruntime differs from torch by {worst['float']:.2g} (at most {tolerance:.2g} is allowed){levels_off}"
        )
    return worst


@torch.no_grad()
def _doubt(
    sampler: Sampler, tensors: Sequence[Tensor], exact: NDArray[Any], scale: NDArray[Any], tolerance: float
) -> str | None:
    """Why no file can compute what a generator computes that does not depend on the latents of one row alone."""
    if not np.array_equal(sampler.levels(*tensors).numpy(), exact):
        return "G gives other samples for the same latents a second time: let it draw numbers in training only"
    try:
        alone = np.concatenate([sampler.levels(*(values[row : row + 1] for values in tensors)).numpy() for row in range(8)])
    except (RuntimeError, ValueError) as error:
        return f"G cannot compute one row alone, as the service does: {first_line(error)}"
    off = float((np.abs(alone - exact[:8]) / scale[:8]).max())
    if off <= tolerance:
        return None
    return (
        f"a row of G's samples depends on the other rows of its batch: alone it differs by {off:.2g}; "
        "use statistics of the batch in training only, as nn.BatchNorm2d does"
    )
