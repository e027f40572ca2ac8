"""The Flask views; ``ROUTES`` is the table of all routes."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Coroutine
from dataclasses import asdict, dataclass
from typing import Any

from flask import Response, request

from contract import card_to_json
from serving.encoding.formats import FORMATS
from serving.engine.registry import ModelEntry
from serving.engine.reload import Reloader
from serving.errors import BadPicture, EngineLost, NotFound, ShuttingDown
from serving.generation.generate import Handler, Reply, RequestHeaders, Service, generate
from serving.generation.interpolate import arithmetic, mix, walk, walk_formats
from serving.generation.transform import max_body, transform
from serving.http.asgi import ADDRESSED_ROUTE, ROUTE, TRANSFORM_ROUTE, Answer
from serving.http.bearer_auth import BearerAuth
from serving.http.responses import file_response, html_response, json_response, reply_response
from serving.oip.routes import (
    read_body,
    show_inference,
    show_live,
    show_model_metadata,
    show_model_ready,
    show_ready,
    show_server,
)
from serving.openapi.document import split_route
from serving.openapi.published import Published, Publisher
from serving.web.page import PAGE_POLICY, render_page, static_files

PNG_BODY = re.compile(r"image/png", re.ASCII | re.IGNORECASE)
NO_PATH = "no such path; / and /docs show all paths"


@dataclass(frozen=True, kw_only=True)
class AppState:
    """What the views need, created once by ``create_app``."""

    service: Service
    answer: Answer
    is_draining: Callable[[], bool]
    reloader: Reloader
    request_reload: Callable[[], None]
    """Asks the other workers to reload changed model files."""
    bearer_auth: BearerAuth | None
    """None without ``GAN_ADMIN_TOKEN``: there are no admin routes."""
    publisher: Publisher
    """Has the OpenAPI document."""


def show_sample(state: AppState) -> Response:
    """A sample (``/generate``) by Flask, as the fast path answers it."""
    return _show(state, None)


def show_addressed_sample(state: AppState, digest: str) -> Response:
    """A sample from the model with that digest; the response is immutable."""
    return _show(state, digest)


def show_walk(state: AppState) -> Response:
    """An animation of the interpolation between two seeds."""
    return _show(state, None, walk)


def show_mix(state: AppState) -> Response:
    """One interpolated sample between two seeds."""
    return _show(state, None, mix)


def show_arithmetic(state: AppState) -> Response:
    """The sample of ``a - b + c`` on the latents of three seeds."""
    return _show(state, None, arithmetic)


def show_transformed(state: AppState) -> Response:
    """The picture in the body, a PNG, changed by a model."""
    body = read_body(max_body(state.service), "image/png", PNG_BODY, BadPicture)

    def handler(service: Service, query: str, headers: RequestHeaders, digits: str | None) -> Coroutine[Any, Any, Reply]:
        return transform(service, query, headers._replace(if_match=None, if_none_match=None), body)

    return _show(state, None, handler)


def _show(state: AppState, digest: str | None, handler: Handler = generate) -> Response:
    headers = request.headers
    request_headers = RequestHeaders(
        accept=headers.get("Accept"),
        if_match=headers.get("If-Match"),
        if_none_match=headers.get("If-None-Match"),
        timeout_ms=headers.get("X-Request-Timeout-Ms"),
        is_head=request.method == "HEAD",
        client=request.remote_addr,
        until_disconnected=request.environ["serving.until_disconnected"],
        context=request.environ["serving.context"],
    )
    query = request.environ.get("QUERY_STRING", "")
    reply = state.service.portal.run(state.answer(query, request_headers, digest, handler))
    request.environ.update({"serving.cache": reply.cache, "serving.model": reply.model})

    return reply_response(reply)


def list_models(state: AppState) -> Response:
    """All models, each with its card, parameters and formats."""
    return json_response({"models": [describe(entry) for entry in state.service.registry.values()]})


def show_model(state: AppState, name: str) -> Response:
    """One model."""
    return json_response(describe(state.service.registry.by_name(name)))


def describe(entry: ModelEntry) -> dict[str, object]:
    """The card of a model, without its goldens, and the results of loading it."""
    model, golden_files = entry.model, entry.golden_files
    card = json.loads(card_to_json(model.card))
    del card["goldens"]
    ranges = {p.name: {"low": p.low, "high": p.high, "is_integer": p.is_integer} for p in model.parameters.values()}
    formats, walks = list(FORMATS[model.card.output.kind]), list(walk_formats(model))
    return {
        "name": model.card.name,
        "digest": model.digest,
        "serving_runtime": model.runtime,
        "provider": model.provider,
        "goldens": {"latents": model.goldens.latents, "pixels": model.goldens.pixels} | asdict(golden_files),
        "batching": model.batching.name,
        "formats": formats,
        "walk_formats": walks,
        "parameters": ranges,
        "card": card,
    }


def show_health(state: AppState) -> Response:
    """Liveness probe."""
    return json_response({"status": "ok"})


def show_readiness(state: AppState) -> Response:
    """Readiness probe: 503 while the service drains, this worker is failing, or the engine is restarted."""
    if _is_ending(state):
        raise ShuttingDown()
    if state.service.registry.lost():
        raise EngineLost()
    return json_response({"status": "ready", "models": list(state.service.registry)})


def _is_ending(state: AppState) -> bool:
    """Whether this worker is about to stop, which the metric of readiness then says, too, probed or not."""
    is_ending = state.is_draining() or state.service.watchdog.is_failing
    if is_ending:
        state.service.metrics.ready.set(0)
    return is_ending


def show_metrics(state: AppState) -> Response:
    """Metrics of all workers in Prometheus's text format."""
    _is_ending(state)
    text, media_type = state.service.metrics.exposition()
    return Response(text, content_type=media_type, headers={"Cache-Control": "no-store"})


def show_page(state: AppState) -> Response:
    """The web page."""
    settings = state.service.settings
    return html_response(render_page(settings, has_metrics=not is_public(settings.operations_port)), PAGE_POLICY)


def show_static(state: AppState, name: str) -> Response:
    """A static file of the web page."""
    if name not in static_files():
        raise NotFound(NO_PATH)
    return file_response(static_files()[name].body, static_files()[name].media_type)


def show_document(state: AppState) -> Response:
    """The OpenAPI document."""
    return file_response(_published(state).document, "application/json")


def show_docs(state: AppState) -> Response:
    """The OpenAPI document as a page."""
    return html_response(_published(state).page)


def _published(state: AppState) -> Published:
    """The document of the port that is asked."""
    return state.publisher.latest(OPERATIONS if is_public(state.service.settings.operations_port) else frozenset())


def reload_models(state: AppState) -> Response:
    """Reload changed and refused model files in this worker, and ask the others to; 422 when a file is refused."""
    assert state.bearer_auth is not None
    state.bearer_auth.check(request.headers.get("Authorization"))
    state.request_reload()
    outcomes = state.service.portal.run(state.reloader.reload_all())
    is_refused = any(outcome.result == "refused" for outcome in outcomes)
    return json_response({"outcomes": [outcome.facts() for outcome in outcomes]}, 422 if is_refused else 200)


def is_operations(path: str) -> bool:
    """Whether a path is for the operators, and absent from the public port where ``GAN_OPERATIONS_PORT`` is set."""
    return path == "/metrics" or path == "/admin" or path.startswith("/admin/")


def is_public(operations_port: int | None) -> bool:
    """Whether the request came to the public port, and there is another one for the operators."""
    return operations_port is not None and request.environ["SERVER_PORT"] != str(operations_port)


ROUTES: dict[str, Callable[..., Response]] = {
    "/": show_page,
    "/static/<name>": show_static,
    ROUTE: show_sample,
    f"POST {TRANSFORM_ROUTE}": show_transformed,
    "/walk": show_walk,
    "/mix": show_mix,
    "/arithmetic": show_arithmetic,
    ADDRESSED_ROUTE: show_addressed_sample,
    "/models": list_models,
    "/models/<name>": show_model,
    "/healthz": show_health,
    "/readyz": show_readiness,
    "/metrics": show_metrics,
    "/v2": show_server,
    "/v2/health/live": show_live,
    "/v2/health/ready": show_ready,
    "/v2/models/<name>": show_model_metadata,
    "/v2/models/<name>/ready": show_model_ready,
    "POST /v2/models/<name>/infer": show_inference,
    "/openapi.json": show_document,
    "/docs": show_docs,
}
"""Public routes to views. Each answers OPTIONS, and GET with HEAD unless a method stands before the path (``POST /path``)."""

ADMIN_ROUTES: dict[str, Callable[..., Response]] = {"POST /admin/reload": reload_models}
"""Routes that exist only with ``GAN_ADMIN_TOKEN``, to views."""

OPERATIONS = frozenset(route for route in ROUTES | ADMIN_ROUTES if is_operations(split_route(route)[1]))
"""Routes that are absent from the public port where ``GAN_OPERATIONS_PORT`` is set."""
