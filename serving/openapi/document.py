"""The OpenAPI document of the service, made from its routes, its settings and the models that it holds now."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from importlib.metadata import version
from typing import Any

from serving.errors import (
    BadInference,
    BadParameter,
    ContentTooLarge,
    DeadlineExceeded,
    MethodNotAllowed,
    NonFinite,
    NotFound,
    QueueFull,
    RateLimited,
    ShuttingDown,
    TooManyTries,
    Unauthorised,
    UnsupportedMediaType,
)
from serving.generation.generate import Service
from serving.model.load import Model
from serving.oip.routes import PLATFORM
from serving.openapi.oip_schemas import METADATA_SHAPE, error_content, inference_of, inference_schemas, inferred_of
from serving.openapi.operations import Operation, answer, header_components, path_item, problem_content
from serving.openapi.sample_operations import (
    IF_NONE_MATCH,
    TIMEOUT,
    addressed,
    any_sample,
    arithmetic,
    mix,
    models_of,
    names,
    walk,
)
from serving.openapi.schemas import DIGEST, TEXT, Schema, record, ref, shared_schemas
from serving.web.page import static_files

JSON = "application/json"
DESCRIPTION = """The same seed gives the same bytes, always.

Queries are read strictly: a parameter that the model does not declare, that is given twice, or whose value is written in
another way than `x-text-pattern` has it, is answered 400. A path that is not exactly one of these is 404; a path that answers
GET answers HEAD and OPTIONS, too, and any other method is 405 with `Allow`. A request may name itself by `X-Request-Id` and its
caller by `traceparent`; what is not well formed there is passed over. Which parameters and formats there are depends on
the model: paths that name a model's digest show its own, `/generate` those of all models together."""
PLAIN = ("Cache-Control", "X-Content-Type-Options")
KEPT = ("ETag", *PLAIN)
UNCHANGED = answer("`If-None-Match` names what would be answered.", None, "ETag", "Cache-Control")


def document(routes: Mapping[str, Callable[..., Any]], service: Service) -> Schema:
    """The whole document.

    Args:
        routes: the table of contents: ``/path/<variable>``, or ``POST /path`` for another method than GET, to a view whose
            docstring says what it shows.
        service: what is served.
    """
    paths: Schema = {}
    for route, view in routes.items():
        method, rule = split_route(route)
        summary = (view.__doc__ or "").strip().splitlines()[0]
        paths[re.sub(r"<(\w+)>", r"{\1}", rule)] = path_item(OPERATIONS[route](service), method, view.__name__, summary)
    for model in models_of(service):
        name = model.card.name
        item = path_item(addressed(service, model), "GET", f"show_sample_of_{name}", f"A sample of {name}, for ever the same.")
        paths[f"/models/{model.digest}/generate"] = item
        item = path_item(inference(service, model), "POST", f"show_inference_of_{name}", f"Samples of {name}.")
        paths[f"/v2/models/{name}/infer"] = item
    return {
        "openapi": "3.1.0",
        "info": {"title": "gan-serve", "version": version("gan-serve"), "description": DESCRIPTION, "license": {"name": "MIT"}},
        "paths": paths,
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "description": "`GAN_ADMIN_TOKEN`"}},
            "schemas": shared_schemas() | inference_schemas(),
            "headers": header_components(),
            "responses": {
                "NotFound": answer("No such path.", problem_content([NotFound]), "Cache-Control", "Vary"),
                "MethodNotAllowed": answer("Another method.", problem_content([MethodNotAllowed]), "Allow", "Cache-Control"),
            },
        },
    }


def split_route(route: str) -> tuple[str, str]:
    """Method and rule of a row of the table of contents."""
    method, _, rule = route.rpartition(" ")
    return method or "GET", rule


def _page(service: Service) -> Operation:
    page = answer("HTML.", {"text/html": {}}, "Content-Security-Policy", *KEPT)
    return Operation(tag="about", answers={"200": page, "304": UNCHANGED}, parameters=[IF_NONE_MATCH])


def _static(service: Service) -> Operation:
    """A file of the page."""
    kinds = sorted({file.media_type.partition(";")[0] for file in static_files().values()})
    shown = answer("The file.", {kind: {} for kind in kinds}, *KEPT)
    return Operation(
        tag="about",
        answers={"200": shown, "304": UNCHANGED},
        parameters=[IF_NONE_MATCH],
        problems=(NotFound,),
        path={"name": {"enum": list(static_files())}},
    )


def _shown(tag: str, schema: Schema, **rest: Any) -> Operation:
    """A route that shows some JSON."""
    shown = answer("JSON.", {JSON: {"schema": schema}}, *KEPT)
    return Operation(tag=tag, answers={"200": shown, "304": UNCHANGED}, parameters=[IF_NONE_MATCH], **rest)


def _list(service: Service) -> Operation:
    return _shown("models", record({"models": {"type": "array", "items": ref("schemas", "Model"), "minItems": 1}}))


def _entry(service: Service) -> Operation:
    return _shown("models", ref("schemas", "Model"), problems=(NotFound,), path={"name": names(models_of(service))})


def _health(service: Service) -> Operation:
    return _shown("state", record({"status": {"const": "ok"}}))


def _readiness(service: Service) -> Operation:
    ready = record({"status": {"const": "ready"}, "models": {"type": "array", "items": TEXT}})
    return _shown("state", ready, problems=(ShuttingDown,))


def _metrics(service: Service) -> Operation:
    text = answer("For Prometheus.", {"text/plain": {"schema": TEXT}}, "Cache-Control")
    return Operation(tag="state", answers={"200": text})


def _reload(service: Service) -> Operation:
    facts = {"file": TEXT, "result": {"enum": ["swapped", "unchanged", "refused"]}}
    outcome = record({**facts, "model": TEXT, "digest": DIGEST, "reason": TEXT}, optional=["model", "digest", "reason"])
    told = {JSON: {"schema": record({"outcomes": {"type": "array", "items": outcome}})}}
    answers = {"200": answer("What became of each file.", told, *KEPT), "422": answer("One was refused.", told, *KEPT)}
    return Operation(tag="admin", answers=answers, problems=(Unauthorised, TooManyTries), needs_token=True)


def _document(service: Service) -> Operation:
    return _shown("about", {"type": "object", "required": ["openapi", "info", "paths"]})


def _spoken(schema: Schema, **rest: Any) -> Operation:
    """A route of the Open Inference Protocol."""
    answers = {"200": answer("JSON.", {JSON: {"schema": schema}}, *PLAIN)}
    return Operation(**{"tag": "protocol", "answers": answers, "told": error_content, "problem_headers": PLAIN, **rest})


def _server(service: Service) -> Operation:
    return _spoken(record({"name": TEXT, "version": TEXT, "extensions": {"type": "array", "items": TEXT}}))


def _live(service: Service) -> Operation:
    return _spoken(record({"live": {"const": True}}))


def _ready(service: Service) -> Operation:
    return _spoken(record({"live": {"const": True}, "ready": {"const": True}}), problems=(ShuttingDown,))


def _metadata(service: Service) -> Operation:
    path = {"name": names(models_of(service))}
    tensors = {"type": "array", "items": record({"name": TEXT, "datatype": TEXT, "shape": METADATA_SHAPE})}
    told = record({"name": TEXT, "platform": {"const": PLATFORM}, "inputs": tensors, "outputs": tensors})
    return _spoken(told, problems=(NotFound,), path=path)


def _model_ready(service: Service) -> Operation:
    told = record({"name": TEXT, "ready": {"const": True}})
    return _spoken(told, problems=(NotFound, ShuttingDown), path={"name": names(models_of(service))})


def inference(service: Service, model: Model | None = None) -> Operation:
    """Inferences of this model, or of any."""
    models = models_of(service)
    limit = service.settings.max_images
    asked = ref("schemas", "Inference") if model is None else inference_of(model, limit)
    overrides = ref("schemas", "Inferred") if model is None else inferred_of(model)
    return _spoken(
        overrides,
        answers={"200": answer("The rows.", {JSON: {"schema": overrides}}, *PLAIN, "X-Model-Digest")},
        description="`seed`, or every latent, or both: what is given stands instead of what the seed draws.",
        body={"required": True, "content": {JSON: {"schema": asked}}},
        parameters=[TIMEOUT],
        path={"name": names(models)} if model is None else {},
        problems=(
            BadInference,
            BadParameter,
            NotFound,
            ContentTooLarge,
            UnsupportedMediaType,
            NonFinite,
            QueueFull,
            ShuttingDown,
            DeadlineExceeded,
            RateLimited,
        ),
    )


OPERATIONS: dict[str, Callable[[Service], Operation]] = {
    "/": _page,
    "/static/<name>": _static,
    "/generate": any_sample,
    "/walk": walk,
    "/mix": mix,
    "/arithmetic": arithmetic,
    "/models/<digest>/generate": addressed,
    "/models": _list,
    "/models/<name>": _entry,
    "/healthz": _health,
    "/readyz": _readiness,
    "/metrics": _metrics,
    "/v2": _server,
    "/v2/health/live": _live,
    "/v2/health/ready": _ready,
    "/v2/models/<name>": _metadata,
    "/v2/models/<name>/ready": _model_ready,
    "POST /v2/models/<name>/infer": inference,
    "POST /admin/reload": _reload,
    "/openapi.json": _document,
    "/docs": _page,
}
"""By row of the table of contents, what it answers."""
