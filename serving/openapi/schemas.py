"""What goes over the wire as JSON Schema (2020-12), made from the declarations that the answers are made from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from contract import MAX_SEED, Output, Parameter
from serving.errors import SHOWN_LENGTH, Problem
from serving.generation.query import INTEGER, NUMBER
from serving.model.load import Model

Schema = dict[str, Any]


def ref(kind: str, name: str) -> Schema:
    """A reference to a component."""
    return {"$ref": f"#/components/{kind}/{name}"}


def record(properties: Schema, *, optional: Sequence[str] = (), **rest: Any) -> Schema:
    """An object of these properties, all required but the optional ones."""
    required = [name for name in properties if name not in optional]
    return {"type": "object", "required": required, "properties": properties, **rest}


def integer(low: int, high: int, **rest: Any) -> Schema:
    """An integer of a query; ``x-text-pattern`` is how it is written there."""
    return {"type": "integer", "minimum": low, "maximum": high, "x-text-pattern": f"^(?:{INTEGER.pattern})$", **rest}


def parameter_value(parameter: Parameter) -> Schema:
    """The value that fixes a component of a latent."""
    if parameter.is_integer:
        return integer(int(parameter.low), int(parameter.high))
    text = f"^(?:{NUMBER.pattern})$"
    return {"type": "number", "minimum": parameter.low, "maximum": parameter.high, "x-text-pattern": text}


def all_problems(kind: type[Problem] = Problem) -> list[type[Problem]]:
    """Every kind of problem that there is."""
    return [found for child in kind.__subclasses__() for found in (child, *all_problems(child))]


def problem() -> Schema:
    """The body of every error, RFC 9457."""
    return record(
        {
            "type": {"const": "about:blank"},
            "title": TEXT,
            "status": {"type": "integer", "minimum": 400, "maximum": 599},
            "code": {"enum": sorted({kind.code for kind in all_problems()}), "description": "Stable; programs may rely on it."},
            "detail": {"type": "string", "description": "The wrong value, and what would be right."},
            "parameter": {"type": "string", "description": "Which parameter or header is wrong."},
            "value": {"type": "string", "maxLength": SHOWN_LENGTH, "description": "The wrong value, escaped and cut."},
            "allowed": {"type": ["string", "array"], "items": TEXT, "description": "What would be right."},
            "id": {"type": "string", "description": "Under which the log has more."},
        },
        optional=("parameter", "value", "allowed", "id"),
        additionalProperties=False,
    )


def problem_of(kinds: Sequence[type[Problem]]) -> Schema:
    """The body of one of these problems, which have one status in common."""
    first = kinds[0]
    told = {"status": {"const": first.status}, "code": {"enum": [kind.code for kind in kinds]}}
    return {"allOf": [ref("schemas", "Problem"), {"properties": told}]}


TEXT: Schema = {"type": "string"}
TRUTH: Schema = {"type": "boolean"}
SHAPE: Schema = {"type": "array", "items": {"type": "integer", "minimum": 0}}
DIGEST: Schema = {"type": "string", "pattern": "^[0-9a-f]{64}$", "description": "SHA-256 of the model file."}
NUMBERS_BY_NAME: Schema = {"type": "object", "additionalProperties": {"type": "number"}}
NESTED: Schema = {"type": "array", "items": {"anyOf": [{"type": "number"}, ref("schemas", "Numbers")]}}


SEED: Schema = {"type": "integer", "minimum": 0, "maximum": MAX_SEED}
COUNT: Schema = {"type": "integer", "minimum": 1}


def rows(which: Schema) -> Schema:
    """Rows as ``format=json``, and which they are."""
    return record(
        {
            "model": TEXT,
            "digest": DIGEST,
            "runtime": TEXT,
            **which,
            "scale": COUNT,
            "parameters": {**NUMBERS_BY_NAME, "description": "Values that were asked for."},
            "cols": COUNT,
            "kind": TEXT,
            "dtype": {"enum": ["uint8", "float32", "int64"]},
            "shape": SHAPE,
            "data": ref("schemas", "Numbers"),
        },
        optional=["cols"],
    )


def sample_of(model: Model) -> Schema:
    """A sample of one model as ``format=json``."""
    output: Output = model.card.output
    told = {
        "model": {"const": model.card.name},
        "digest": {"const": model.digest},
        "runtime": {"const": model.runtime},
        "kind": {"const": output.kind},
        "dtype": {"const": output.dtype},
        "shape": shape_of(model),
        "parameters": {
            "properties": {name: parameter_value(p) for name, p in model.parameters.items()},
            "additionalProperties": False,
        },
    }
    return {"allOf": [ref("schemas", "Sample"), {"properties": told}]}


def shape_of(model: Model) -> Schema:
    """The shape of a model's rows; not item by item, since readers of OpenAPI still stumble over ``prefixItems``."""
    sizes = ["n", *model.card.output.shape]
    return {"minItems": len(sizes), "maxItems": len(sizes), "description": f"[{', '.join(map(str, sizes))}]"}


def model_entry() -> Schema:
    """What ``/models`` says of a model."""
    parameter = record({"low": {"type": "number"}, "high": {"type": "number"}, "is_integer": TRUTH})
    goldens = record(
        {
            "latents": {"enum": ["exact", "none"]},
            "pixels": {"enum": ["exact", "close", "none"]},
            "encoder": {"type": ["string", "null"]},
            "files": {"type": "object", "additionalProperties": DIGEST},
        }
    )
    return record(
        {
            "name": TEXT,
            "digest": DIGEST,
            "serving_runtime": TEXT,
            "provider": {"enum": ["cpu", "cuda"]},
            "goldens": goldens,
            "batching": {"enum": ["any", "padded", "single"]},
            "formats": {"type": "array", "items": TEXT},
            "walk_formats": {"type": "array", "items": TEXT},
            "parameters": {"type": "object", "additionalProperties": parameter},
            "card": {"type": "object"},
        }
    )


def shared_schemas() -> Schema:
    """The schemas that others refer to."""
    return {
        "Problem": problem(),
        "Numbers": NESTED,
        "Model": model_entry(),
        "Sample": rows({"seed": SEED, "n": COUNT}),
        "Walk": rows({"from": SEED, "to": SEED, "frames": COUNT}),
        "Sum": rows({"a": SEED, "b": SEED, "c": SEED}),
        "Mix": rows({"a": SEED, "b": SEED, "t": {"type": "number", "minimum": 0, "maximum": 1}}),
    }
