"""JSON Schemas (2020-12) of parameters and models, made from the declarations that requests are checked against."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from contract import MAX_SEED, Categorical, Latent, Parameter
from contract.latents import limits
from serving.generation.parameters import INTEGER, NUMBER, Choice, Integer, Number
from serving.model.load import ModelFacts
from serving.oip.requests import IGNORED, SEED, SEED_DATATYPES, tensors_of
from serving.settings import Settings

Schema = dict[str, Any]


def ref(name: str, kind: str = "schemas") -> Schema:
    """Return a reference to a component."""
    return {"$ref": f"#/components/{kind}/{name}"}


def integer(low: int, high: int, **rest: Any) -> Schema:
    """Return the schema of an integer in a query; ``x-text-pattern`` is how it is written there."""
    return {"type": "integer", "minimum": low, "maximum": high, "x-text-pattern": f"^(?:{INTEGER.pattern})$", **rest}


def value_schema(values: Integer | Number | Choice, settings: Settings) -> Schema:
    """Return the schema of a route parameter's values."""
    match values:
        case Integer(low=low):
            return integer(low, values.bounds(settings)[1])
        case Number():
            return number_schema(values)
        case Choice(words):
            return {"enum": list(words)}


def number_schema(values: Number | Parameter) -> Schema:
    """Return the schema of a number in a query, a route's or one that replaces a component of a latent."""
    if values.is_integer:
        return integer(int(values.low), int(values.high))
    text = f"^(?:{NUMBER.pattern})$"
    return {"type": "number", "minimum": values.low, "maximum": values.high, "x-text-pattern": text}


def latent_parameter(name: str, models: Sequence[ModelFacts]) -> Schema:
    """Return the query parameter of that name which some of the models have, perhaps with different ranges."""
    schemas = {model.card.name: number_schema(model.parameters[name]) for model in models if name in model.parameters}
    different = [schema for index, schema in enumerate(schemas.values()) if schema not in [*schemas.values()][:index]]
    schema = different[0] if len(different) == 1 else {"anyOf": different}
    about = f"Replaces what the seed samples. Of: {', '.join(schemas)}."
    return {"name": name, "in": "query", "schema": schema, "description": about}


def sample_of(model: ModelFacts) -> Schema:
    """Return the schema of a model's sample with ``format=json``."""
    output = model.card.output
    properties = {
        "model": {"const": model.card.name},
        "digest": {"const": model.digest},
        "runtime": {"const": model.runtime},
        "kind": {"const": output.kind},
        "dtype": {"const": output.dtype},
        "shape": shape_of(model),
        "parameters": {
            "properties": {name: number_schema(p) for name, p in model.parameters.items()},
            "additionalProperties": False,
        },
    }
    return {"allOf": [ref("Sample"), {"properties": properties}]}


def shape_of(model: ModelFacts) -> Schema:
    """Return the schema of the rows' shape; its length only, since many readers of OpenAPI do not know ``prefixItems``."""
    sizes = ["n", *model.card.output.shape]
    return {"minItems": len(sizes), "maxItems": len(sizes), "description": f"[{', '.join(map(str, sizes))}]"}


def inference_of(model: ModelFacts, max_images: int) -> Schema:
    """Return the schema of an inference request for a model."""
    seed: Schema = {"type": "integer", "minimum": 0, "maximum": MAX_SEED}
    inputs = [_tensor(SEED, {"enum": list(SEED_DATATYPES)}, [], seed, max_images)]
    inputs += [_latent_tensor(name, latent, max_images) for name, latent in model.card.latents.items()]
    values = {name: {k: v for k, v in number_schema(p).items() if k[:2] != "x-"} for name, p in model.parameters.items()}
    properties = {
        "parameters": {"properties": {**values, **{name: {} for name in sorted(IGNORED)}}, "additionalProperties": False},
        "inputs": {"items": {"oneOf": inputs}, "maxItems": len(inputs)},
        "outputs": {"items": {"properties": {"name": {"const": model.card.output.kind}}}},
    }
    return {"allOf": [ref("Inference"), {"properties": properties}]}


def inferred_of(model: ModelFacts) -> Schema:
    """Return the schema of a model's answer to an inference request."""
    (output,) = tensors_of(model)[1]
    tensor = {"name": {"const": output["name"]}, "datatype": {"const": output["datatype"]}, "shape": shape_of(model)}
    outputs = {"minItems": 1, "maxItems": 1, "items": {"properties": tensor}}
    return {"allOf": [ref("Inferred"), {"properties": {"model_name": {"const": model.card.name}, "outputs": outputs}}]}


def _latent_tensor(name: str, latent: Latent, max_images: int) -> Schema:
    if isinstance(latent, Categorical):
        value: Schema = {"type": "integer", "minimum": 0, "maximum": latent.classes - 1}
        return _tensor(name, {"const": "INT64"}, [], value, max_images)
    low, high = limits(latent)
    value = {"type": "number", "minimum": low, "maximum": high}
    return _tensor(name, {"const": "FP32"}, [latent.size], value, max_images)


def _tensor(name: str, datatype: Schema, row: list[int], value: Schema, max_images: int) -> Schema:
    """Return the schema of an input tensor: n values, or n rows of them, flat or nested."""
    size = row[0] if row else 1
    data: Schema = {"type": "array", "items": value, "minItems": size, "maxItems": size * max_images}
    if row:
        inner = {"type": "array", "items": value, "minItems": size, "maxItems": size}
        data = {"anyOf": [data, {"type": "array", "items": inner, "minItems": 1, "maxItems": max_images}]}
    count = {"type": "integer", "minimum": 1, "maximum": max_images}
    sizes = [count, *({"const": part} for part in row)]
    shape = {"type": "array", "prefixItems": sizes, "items": False, "minItems": len(sizes)}
    properties = {"name": {"const": name}, "shape": shape, "datatype": datatype, "parameters": ref("Ignored"), "data": data}
    return {
        "type": "object",
        "required": ["name", "shape", "datatype", "data"],
        "properties": properties,
        "additionalProperties": False,
    }
