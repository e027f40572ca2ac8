"""Requests and answers of the Open Inference Protocol as JSON Schema."""

from __future__ import annotations

from collections.abc import Sequence

from contract import MAX_SEED, Categorical, Latent, Normal
from contract.latents import NORMAL_LIMIT
from serving.errors import Problem
from serving.model.load import Model
from serving.oip.requests import DATATYPES, SEED, SEED_DATATYPES, WISHES, tensors_of
from serving.openapi.schemas import SHAPE, TEXT, Schema, parameter_value, record, ref, shape_of

METADATA_SHAPE: Schema = {"type": "array", "items": {"type": "integer", "minimum": -1}}
ANYTHING: Schema = {"type": "object", "properties": {name: {} for name in sorted(WISHES)}, "additionalProperties": False}


def error_content(kinds: Sequence[type[Problem]]) -> Schema:
    """The content of the protocol's answer to any problem."""
    codes = {"properties": {"code": {"enum": [kind.code for kind in kinds]}}}
    return {"application/json": {"schema": {"allOf": [ref("schemas", "Error"), codes]}}}


def inference_schemas() -> Schema:
    """What other schemas refer to: requests and answers for any model."""
    tensor = {"name": TEXT, "shape": SHAPE, "datatype": {"enum": sorted({*SEED_DATATYPES, *DATATYPES.values()})}}
    overrides = record(
        {**tensor, "parameters": ANYTHING, "data": ref("schemas", "Numbers")},
        optional=["parameters"],
        additionalProperties=False,
    )
    flat = {"type": "array", "items": {"type": "number"}}
    return {
        "Error": record({"error": TEXT, "code": TEXT}, additionalProperties=False),
        "Inference": _request({"type": "object"}, {"type": "array", "items": overrides, "minItems": 1}, TEXT),
        "Inferred": record(
            {"model_name": TEXT, "id": TEXT, "outputs": {"type": "array", "items": record({**tensor, "data": flat})}},
            optional=["id"],
        ),
    }


def inference_of(model: Model, max_images: int) -> Schema:
    """A request for one model."""
    seed: Schema = {"type": "integer", "minimum": 0, "maximum": MAX_SEED}
    seeds = _tensor(SEED, {"enum": list(SEED_DATATYPES)}, [], seed, max_images)
    latents = [_latent(name, latent, max_images) for name, latent in model.card.latents.items()]
    inputs = {"type": "array", "items": {"oneOf": [seeds, *latents]}, "minItems": 1, "maxItems": 1 + len(latents)}
    values = {name: {k: v for k, v in parameter_value(p).items() if k[:2] != "x-"} for name, p in model.parameters.items()}
    parameters = {**ANYTHING, "properties": {**values, **ANYTHING["properties"]}}
    return _request(parameters, inputs, {"const": model.card.output.kind})


def inferred_of(model: Model) -> Schema:
    """The answer of one model."""
    (output,) = tensors_of(model)[1]
    told = {"name": {"const": output["name"]}, "datatype": {"const": output["datatype"]}, "shape": shape_of(model)}
    outputs = {"minItems": 1, "maxItems": 1, "items": {"properties": told}}
    return {
        "allOf": [ref("schemas", "Inferred"), {"properties": {"model_name": {"const": model.card.name}, "outputs": outputs}}]
    }


def _request(parameters: Schema, inputs: Schema, output: Schema) -> Schema:
    outputs = record({"name": output, "parameters": ANYTHING}, optional=["parameters"], additionalProperties=False)
    return record(
        {"id": TEXT, "parameters": parameters, "inputs": inputs, "outputs": {"type": "array", "items": outputs}},
        optional=["id", "parameters", "outputs"],
        additionalProperties=False,
    )


def _latent(name: str, latent: Latent, max_images: int) -> Schema:
    match latent:
        case Categorical(classes):
            value: Schema = {"type": "integer", "minimum": 0, "maximum": classes - 1}
            return _tensor(name, {"const": "INT64"}, [], value, max_images)
        case Normal():
            low, high = -NORMAL_LIMIT, NORMAL_LIMIT
        case _:
            low, high = latent.low, latent.high
    value = {"type": "number", "minimum": low, "maximum": high}
    return _tensor(name, {"const": "FP32"}, [latent.size], value, max_images)


def _tensor(name: str, datatype: Schema, row: list[int], value: Schema, max_images: int) -> Schema:
    """An input: n numbers, or n rows of them, one after the other or each an array."""
    size = row[0] if row else 1
    data: Schema = {"type": "array", "items": value, "minItems": size, "maxItems": size * max_images}
    if row:
        nested = {
            "type": "array",
            "items": {"type": "array", "items": value, "minItems": size, "maxItems": size},
            "minItems": 1,
            "maxItems": max_images,
        }
        data = {"anyOf": [data, nested]}
    count = {"type": "integer", "minimum": 1, "maximum": max_images}
    shape = {
        "type": "array",
        "prefixItems": [count, *({"const": part} for part in row)],
        "items": False,
        "minItems": 1 + len(row),
    }
    return record(
        {"name": {"const": name}, "shape": shape, "datatype": datatype, "parameters": ANYTHING, "data": data},
        optional=["parameters"],
        additionalProperties=False,
    )
