"""The OpenAPI document of the service: ``template.toml``, completed from the routes, the settings and the models in service."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from functools import cache
from importlib.metadata import version
from importlib.resources import files
from itertools import groupby
from typing import Any, NamedTuple

from contract import MAX_SEED
from serving.encoding.animations import AnimationFormat
from serving.encoding.formats import FORMATS, Format
from serving.engine.registry import MIN_DIGITS
from serving.errors import SHOWN_LENGTH, Problem
from serving.generation import parameters
from serving.generation.coalescing import MILLISECONDS
from serving.generation.interpolate import single_formats, walk_formats
from serving.generation.parameters import Route
from serving.generation.query import suits
from serving.model.load import ModelFacts
from serving.observability.request_context import REQUEST_ID
from serving.oip.routes import PLATFORM
from serving.openapi.schemas import Schema, inference_of, inferred_of, integer, latent_parameter, ref, sample_of, value_schema
from serving.settings import Settings
from serving.web.page import static_files

SERVER_TIMING = (
    r"^cache;desc=(hit|coalesced|not_modified"
    r"|miss, batch;desc=[0-9]+, queue;dur=[0-9]+\.[0-9]{2}, inference;dur=[0-9]+\.[0-9]{2}, encode;dur=[0-9]+\.[0-9]{2})$"
)
CONSTANTS = {
    "MAX_SEED": MAX_SEED,
    "SHOWN_LENGTH": SHOWN_LENGTH,
    "REQUEST_ID": REQUEST_ID.pattern,
    "SERVER_TIMING": SERVER_TIMING,
    "PLATFORM": PLATFORM,
}
TRANSIENT = (429, 503, 504)
"""Statuses whose problems all have ``Retry-After``."""
ADDRESSED, INFERENCE = "/models/<digest>/generate", "POST /v2/models/<name>/infer"
JSON = "application/json"

TIMEOUT_SCHEMA = integer(1, 999_999_999, **{"x-text-pattern": f"^(?:{MILLISECONDS.pattern})$"})
TIMEOUT: Schema = {"name": "X-Request-Timeout-Ms", "in": "header", "schema": TIMEOUT_SCHEMA, "description": "The deadline."}
CONDITIONS: list[Schema] = [
    {"name": name, "in": "header", "schema": {"type": "string"}, "description": "Entity tags."}
    for name in ("If-Match", "If-None-Match")
]


class Served(NamedTuple):
    """What the document depends on."""

    settings: Settings
    models: Sequence[ModelFacts]
    """The current ones, the default one first."""


def document(routes: Mapping[str, Callable[..., Any]], served: Served) -> Schema:
    """Build the document.

    Args:
        routes: by ``/path/<variable>``, or ``POST /path`` for another method than GET, a view; the first line of its docstring
            is the summary.
        served: the settings and the models.
    """
    template = deepcopy(read_template())
    entries = template.pop("routes")
    paths = template["paths"] = {}
    for route, view in routes.items():
        path = re.sub(r"<(\w+)>", r"{\1}", split_route(route)[1])
        summary = (view.__doc__ or "").strip().splitlines()[0]
        paths[path] = _path_item(entries[route], route, path, (view.__name__, summary), served)
    for model in served.models:
        digest, name = model.digest, model.card.name
        for route, path, title in (
            (ADDRESSED, f"/models/{digest}/generate", (f"show_sample_of_{name}", f"A sample of {name}.")),
            (INFERENCE, f"/v2/models/{name}/infer", (f"show_inference_of_{name}", f"Samples of {name}.")),
        ):
            if model.needs_picture:
                continue
            paths[path] = _path_item(entries[route], route, path, title, served, model)
    return template


@cache
def read_template() -> Schema:
    """Return the template with its constants and references, each route with what its family has; read it once."""
    text = files("serving.openapi").joinpath("template.toml").read_text()
    for name, value in CONSTANTS.items():
        text = text.replace(f"@{name}@", str(value))
    template = tomllib.loads(re.sub(r'("\$ref" = ")(\w+")', r"\1#/components/schemas/\2", text))
    families = template.pop("families")
    for entry in template["routes"].values():
        family = families[entry["family"]]
        entry |= {name: [*shared, *entry.get(name, ())] for name, shared in family.items()}
    template["info"]["version"] = version("gan-serve")
    components = template["components"]
    components["headers"] = {name: {"required": True, **header} for name, header in components["headers"].items()}
    components["schemas"]["Problem"]["properties"]["code"]["enum"] = sorted({kind.code for kind in all_problems()})
    return template


def all_problems(kind: type[Problem] = Problem) -> list[type[Problem]]:
    """Return every class of problems."""
    return [found for child in kind.__subclasses__() for found in (child, *all_problems(child))]


def split_route(route: str) -> tuple[str, str]:
    """Return method and path of a route's line in the table."""
    method, _, rule = route.rpartition(" ")
    return method or "GET", rule


def _models_of(rule: str, served: Served) -> Sequence[ModelFacts]:
    """Return the models that a route for samples suits, or, so that its parameters are shown, all if there is none."""
    return [model for model in served.models if suits(model, SAMPLES[rule][0])] or served.models


def _sample_formats(model: ModelFacts) -> dict[str, Format]:
    return FORMATS[model.card.output.kind]


SAMPLES: dict[str, tuple[Route, Callable[[ModelFacts], Mapping[str, AnimationFormat | Format]]]] = {
    "/generate": (parameters.GENERATE, _sample_formats),
    ADDRESSED: ({name: p for name, p in parameters.GENERATE.items() if name != "model"}, _sample_formats),
    "/transform": (parameters.TRANSFORM, _sample_formats),
    "/walk": (parameters.WALK, walk_formats),
    "/mix": (parameters.MIX, single_formats),
    "/arithmetic": (parameters.ARITHMETIC, single_formats),
}
"""The routes for samples: their parameters, and a model's formats by name."""


def _formats(rule: str, served: Served, model: ModelFacts | None) -> dict[str, str]:
    models = [model] if model else _models_of(rule, served)
    return {name: form.media_type for each in models for name, form in SAMPLES[rule][1](each).items()}


def _path_item(
    entry: Schema, route: str, path: str, title: tuple[str, str], served: Served, model: ModelFacts | None = None
) -> Schema:
    """Return the operations of a path, for one model or for all; ``title`` is the operation's id and summary."""
    method, rule = split_route(route)
    operation = {
        "operationId": title[0],
        "summary": title[1],
        "description": entry.get("description", ""),
        "tags": [entry["tag"]],
        "parameters": [
            *(_path_variable(variable, rule, served) for variable in re.findall(r"{(\w+)}", path)),
            *(_query_parameters(rule, served, model) if rule in SAMPLES else []),
            *(CONDITIONS if "not_modified" in entry else []),
            *([TIMEOUT] if rule in SAMPLES or route == INFERENCE else []),
        ],
        "responses": _responses(entry, rule, served, model) | _problem_responses(entry.get("problems", []), rule),
        **({"security": entry["security"]} if "security" in entry else {}),
    }
    if method != "GET":
        if "body" in entry:
            schema = inference_of(model, served.settings.max_images) if model else ref(entry["body"])
            operation["requestBody"] = {"required": True, "content": {JSON: {"schema": schema}}}
        if "body_type" in entry:
            operation["requestBody"] = {
                "required": True,
                "content": {entry["body_type"]: {"schema": {"type": "string", "format": "binary"}}},
            }
        return {method.lower(): operation}
    responses = operation["responses"].items()
    bare = {status: {name: part for name, part in response.items() if name != "content"} for status, response in responses}
    return {"get": operation, "head": {**operation, "operationId": f"{title[0]}_head", "responses": bare}}


def _path_variable(variable: str, rule: str, served: Served) -> Schema:
    models = served.models
    schema: Schema = {"enum": list(static_files()) if rule.startswith("/static/") else [model.card.name for model in models]}
    if variable == "digest":
        digits = f"^[0-9a-f]{{{MIN_DIGITS},64}}$"
        schema = {"type": "string", "pattern": digits, "examples": [model.digest for model in models]}
    return {"name": variable, "in": "path", "schema": schema, "description": "", "required": True}


def _query_parameters(rule: str, served: Served, model: ModelFacts | None) -> list[Schema]:
    route, models = SAMPLES[rule][0], [model] if model else _models_of(rule, served)
    names = [each.card.name for each in models]
    choices: dict[str, Schema] = {
        "format": {"enum": list(_formats(rule, served, model))},
        "model": {"enum": names, "default": names[0]},
    }
    found = []
    for parameter in route.values():
        schema = choices.get(parameter.name) or value_schema(parameter.type, served.settings)
        if parameter.default is not None:
            schema["default"] = parameter.default_for(served.settings)
        query = {"name": parameter.name, "in": "query", "schema": schema, "description": parameter.doc}
        found.append({**query, "required": parameter.is_required})
    own = {name: None for each in models for name in each.parameters if name not in route}
    return found + [latent_parameter(name, models) for name in own]


def _responses(entry: Schema, rule: str, served: Served, model: ModelFacts | None) -> Schema:
    schema = ref(entry["schema"]) if "schema" in entry else {}
    if model:
        schema = sample_of(model) if rule in SAMPLES else inferred_of(model)
    media_types = [entry.get("media_type", JSON)]
    if rule in SAMPLES:
        media_types = list(_formats(rule, served, model).values())
    elif rule.startswith("/static/"):
        media_types = sorted({file.media_type.partition(";")[0] for file in static_files().values()})
    content = {media_type: {"schema": schema} if media_type == JSON else {} for media_type in media_types}
    responses = {"200": {"description": "Success.", "headers": _headers(*entry["headers"]), "content": content}}
    if "not_modified" in entry:
        description = "`If-None-Match` has the entity tag."
        responses["304"] = {"description": description, "headers": _headers(*entry["not_modified"])}
    if "refused" in entry:
        responses[str(entry["refused"])] = {**responses["200"], "description": "A model was refused."}
    return responses


def _problem_responses(codes: Sequence[str], rule: str) -> Schema:
    is_protocol = rule.startswith("/v2")
    kinds = sorted((kind.status, kind.code, kind) for kind in all_problems() if kind.code in {*codes, "internal"})
    responses = {}
    for status, group in groupby(kinds, key=lambda found: found[0]):
        same = [kind for *_, kind in group]
        names = ["Cache-Control", "X-Content-Type-Options", *([] if is_protocol else ["Vary"])]
        if status in TRANSIENT:
            names.append("Retry-After")
        code: Schema = {"code": {"enum": [kind.code for kind in same]}}
        schema = {"allOf": [ref("Error"), {"properties": code}]}
        if not is_protocol:
            schema = {"allOf": [ref("Problem"), {"properties": {"status": {"const": status}, **code}}]}
        responses[str(status)] = {
            "description": " Or: ".join((kind.__doc__ or "").strip().splitlines()[0] for kind in same),
            "headers": _headers(*names),
            "content": {JSON if is_protocol else "application/problem+json": {"schema": schema}},
        }
    return responses


def _headers(*names: str) -> Schema:
    return {name: ref(name, "headers") for name in (*names, "X-Request-Id")}
