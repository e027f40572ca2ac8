"""An inference request of the Open Inference Protocol, read strictly: JSON to seeds and rows of latents.

A request has the tensor ``seed``, or every latent of the model by name, or both: a latent replaces what the seed samples. Names
that the protocol does not have are refused, since a misspelt one would change the pixels silently.
"""

from __future__ import annotations

import json
import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from math import prod
from typing import Any

import numpy as np

from contract import MAX_SEED, Array, Categorical, Latent, Parameter
from contract.latents import limits
from serving.errors import BadInference, shown
from serving.latents.sources import GivenLatents, RowSource
from serving.model.load import ModelFacts

SEED = "seed"
SEED_DATATYPES = ("INT64", "UINT32")
DATATYPES = {"uint8": "UINT8", "float32": "FP32", "int64": "INT64"}
IGNORED = frozenset({"binary_data", "binary_data_output", "content_type"})
"""Parameters of clients about how tensors are written; no extension is supported, every response is JSON."""
NUMBER_BYTES = 32
"""Bytes of a number in a request, at most, its comma and brackets included."""
MAX_REQUEST_BYTES = 2**23
"""Bytes of a request for any model, at most."""


@dataclass(frozen=True, kw_only=True)
class Inference:
    """A request, checked."""

    sources: Sequence[RowSource]
    overrides: Mapping[str, float] = field(default_factory=dict)
    """Parameters that fix a component in every row."""
    id: str | None = None
    """The client's name for it."""


@dataclass(frozen=True)
class Tensor:
    """An input: numbers in row-major order, as many as the shape has."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    data: list[Any]


def body_limit(model: ModelFacts, max_images: int) -> int:
    """Return the bytes that a request for this model has at most."""
    width = 1 + sum(prod(_row_shape(latent)) for latent in model.card.latents.values())
    return min(2**16 + max_images * width * NUMBER_BYTES, MAX_REQUEST_BYTES)


def tensors_of(model: ModelFacts) -> tuple[list[dict[str, object]], list[dict[str, object]]]:
    """Return input and output tensors of a model as the protocol describes them; -1 is the number of rows."""
    inputs: list[dict[str, object]] = [{"name": SEED, "datatype": SEED_DATATYPES[0], "shape": [-1]}]
    for name, latent in model.card.latents.items():
        inputs.append({"name": name, "datatype": _datatype(latent), "shape": [-1, *_row_shape(latent)]})
    output = model.card.output
    return inputs, [{"name": output.kind, "datatype": DATATYPES[output.dtype], "shape": [-1, *output.shape]}]


def read_inference(body: bytes, model: ModelFacts, max_images: int) -> Inference:
    """Parse the body of a request.

    Raises:
        BadInference: naming what is wrong and what would be right.
    """
    if model.needs_picture:
        raise BadInference(f"{model.card.name} changes a picture: send a PNG as the body of POST /transform")
    request = _fields(_load(body), "the request", ("inputs",), ("id", "parameters", "outputs"))
    name = request.get("id")
    if "id" in request and not isinstance(name, str):
        raise BadInference("id must be a string")
    tensors = _tensors(request["inputs"], model, max_images)
    overrides = _overrides(request.get("parameters", {}), model)
    _check_outputs(request.get("outputs", []), model)
    for parameter in (model.parameters[name] for name in overrides):
        if parameter.latent in tensors:
            raise BadInference(f"parameter {parameter.name} and input {parameter.latent} exclude each other")
    return Inference(sources=_sources(tensors, model), overrides=overrides, id=name)


def _load(body: bytes) -> Any:
    try:
        return json.loads(body.decode("utf-8"), parse_constant=_refuse_constant, object_pairs_hook=_distinct)
    except (ValueError, RecursionError) as error:
        raise BadInference(f"the body must be JSON: {str(error)[:200]}") from None


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name stands twice in one object")
    return found


def _told(value: Any) -> str:
    """A value of the body for a message. Python 3.14 reads JSON that nests deeper than ``str`` can write, or than is cheap."""
    return shown(value if isinstance(value, str) else reprlib.repr(value))


def _fields(value: Any, what: str, required: Sequence[str], optional: Sequence[str]) -> dict[str, Any]:
    """Return an object that has these members and no others."""
    if not isinstance(value, dict):
        raise BadInference(f"{what} must be an object")
    for name in required:
        if name not in value:
            raise BadInference(f"{what} must have {name}")
    for name in value:
        if name not in required and name not in optional:
            raise BadInference(f"{what} has {shown(name)}; there are {', '.join([*required, *optional])}")
    return value


def _list(value: Any, what: str) -> list[Any]:
    if not isinstance(value, list):
        raise BadInference(f"{what} must be an array")
    return value


def _tensors(inputs: Any, model: ModelFacts, max_images: int) -> dict[str, Tensor]:
    """Return the inputs by name, all with the same number of rows."""
    found: dict[str, Tensor] = {}
    for index, value in enumerate(_list(inputs, "inputs")):
        tensor = _tensor(value, f"inputs[{index}]", model, max_images)
        if tensor.name in found:
            raise BadInference(f"input {tensor.name} must be given once")
        found[tensor.name] = tensor
    counts = {tensor.shape[0] for tensor in found.values()}
    if len(counts) > 1:
        raise BadInference(f"inputs must have one number of rows, got {', '.join(map(str, sorted(counts)))}")
    missing = [name for name in model.card.latents if name not in found]
    if SEED not in found and missing:
        raise BadInference(f"inputs must have {SEED}, or every latent; {', '.join(missing)} not given")
    return found


def _tensor(value: Any, what: str, model: ModelFacts, max_images: int) -> Tensor:
    fields = _fields(value, what, ("name", "shape", "datatype", "data"), ("parameters",))
    _check_ignored(fields.get("parameters", {}), f"{what}.parameters")
    latents = model.card.latents
    name, datatype = fields["name"], fields["datatype"]
    if not isinstance(name, str) or name not in (SEED, *latents):
        raise BadInference(f"{what}.name must be one of {', '.join((SEED, *latents))}, got {_told(name)}")
    allowed = SEED_DATATYPES if name == SEED else (_datatype(latents[name]),)
    if datatype not in allowed:
        raise BadInference(f"input {name} must have datatype {' or '.join(allowed)}, got {_told(datatype)}")
    rest = [] if name == SEED else _row_shape(latents[name])
    shape = fields["shape"]
    if not isinstance(shape, list) or any(type(size) is not int for size in shape) or shape[1:] != rest or not shape:
        raise BadInference(f"input {name} must have shape {['n', *rest]}, got {_told(shape)}".replace("'n'", "n"))
    if not 1 <= shape[0] <= max_images:
        raise BadInference(f"input {name} must have 1..{max_images} rows, got {_told(shape[0])}")
    return Tensor(name, datatype, tuple(shape), _flat(fields["data"], name, shape))


def _flat(data: Any, name: str, shape: Sequence[int]) -> list[Any]:
    """Return numbers in row-major order, given flat or in rows."""
    values = _list(data, f"data of input {name}")
    if len(shape) > 1 and values and isinstance(values[0], list):
        if len(values) != shape[0] or any(not isinstance(row, list) or len(row) != shape[1] for row in values):
            raise BadInference(f"data of input {name} must be {shape[0]} arrays of {shape[1]} numbers")
        values = list(chain.from_iterable(values))
    if len(values) != prod(shape):
        raise BadInference(f"data of input {name} must be {prod(shape)} numbers for its shape, got {len(values)}")
    return values


def _check_ignored(value: Any, what: str) -> None:
    _fields(value, what, (), sorted(IGNORED))


def _overrides(value: Any, model: ModelFacts) -> dict[str, float]:
    """Return values of the model's parameters, in declared order."""
    fields = _fields(value, "parameters", (), [*model.parameters, *sorted(IGNORED)])
    return {name: _parameter(parameter, fields[name]) for name, parameter in model.parameters.items() if name in fields}


def _parameter(parameter: Parameter, value: Any) -> float:
    kinds = (int,) if parameter.is_integer else (int, float)
    if type(value) not in kinds or not parameter.low <= value <= parameter.high:
        kind = "an integer" if parameter.is_integer else "a number"
        raise BadInference(f"{parameter.name} must be {kind} {parameter.low:g}..{parameter.high:g}, got {_told(value)}")
    return int(value) if parameter.is_integer else float(value) + 0.0  # -0.0 becomes 0.0, as in a query


def _check_outputs(value: Any, model: ModelFacts) -> None:
    kind = model.card.output.kind
    for index, output in enumerate(_list(value, "outputs")):
        fields = _fields(output, f"outputs[{index}]", ("name",), ("parameters",))
        _check_ignored(fields.get("parameters", {}), f"outputs[{index}].parameters")
        if fields["name"] != kind:
            raise BadInference(f"outputs[{index}].name must be {kind}, got {_told(fields['name'])}")


def _sources(tensors: Mapping[str, Tensor], model: ModelFacts) -> Sequence[RowSource]:
    seeds = _integers(tensors[SEED], 0, MAX_SEED) if SEED in tensors else None
    latents = {name: _values(tensor, model.card.latents[name]) for name, tensor in tensors.items() if name != SEED}
    if not latents:
        assert seeds is not None
        return seeds
    count = len(next(iter(latents.values())))
    return [
        GivenLatents(seeds[row] if seeds else 0, {name: values[row] for name, values in latents.items()})
        for row in range(count)
    ]


def _values(tensor: Tensor, latent: Latent) -> Array:
    """Return the rows of a latent, each in range: float32 [n, size], or int64 [n]."""
    if isinstance(latent, Categorical):
        return np.array(_integers(tensor, 0, latent.classes - 1), np.int64)
    low, high = limits(latent)
    wrong = [value for value in tensor.data if type(value) not in (int, float) or not abs(value) < 1e38]
    if not wrong:
        rows = np.array(tensor.data, np.float32)
        is_outside = ~((rows >= np.float32(low)) & (rows <= np.float32(high)))  # as drawn: a limit is rounded, too
        wrong = rows[is_outside].tolist()
    if wrong:
        raise BadInference(f"input {tensor.name} must be numbers {low:g}..{high:g}, got {_told(wrong[0])}")
    return rows.reshape(tensor.shape)


def _integers(tensor: Tensor, low: int, high: int) -> list[int]:
    for value in tensor.data:
        if type(value) is not int or not low <= value <= high:
            raise BadInference(f"input {tensor.name} must be integers {low}..{high}, got {_told(value)}")
    return tensor.data


def _row_shape(latent: Latent) -> list[int]:
    return [] if isinstance(latent, Categorical) else [latent.size]


def _datatype(latent: Latent) -> str:
    return "INT64" if isinstance(latent, Categorical) else "FP32"
