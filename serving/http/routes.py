"""The views, from what the service is made of to a response; ``ROUTES`` is the table of contents."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass

from flask import Response, request

from contract import card_to_json
from serving.encoding.formats import FORMATS
from serving.engine.registry import ModelEntry
from serving.engine.reload import Reloader
from serving.errors import NotFound, ShuttingDown, shown
from serving.generation.generate import Handler, RequestHeaders, Service, generate
from serving.generation.interpolate import arithmetic, mix, walk, walk_formats
from serving.http.asgi import ADDRESSED_ROUTE, ROUTE, Answer
from serving.http.bearer_auth import BearerAuth
from serving.http.responses import file, in_json, page, whole
from serving.oip.routes import show_inference, show_live, show_model_metadata, show_model_ready, show_ready, show_server
from serving.openapi.docs_page import render_docs
from serving.openapi.document import document
from serving.openapi.schemas import Schema
from serving.web.page import PAGE_POLICY, render_page, static_files

NO_PATH = "no such path; / shows what there is"


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What the views answer from."""

    service: Service
    answer: Answer
    is_draining: Callable[[], bool]
    reloader: Reloader
    request_reload: Callable[[], None]
    """Tells the other workers to load changed model files."""
    bearer_auth: BearerAuth | None


def show_sample(parts: Parts) -> Response:
    """The reference way to ``generate``."""
    return _show(parts, None)


def show_addressed_sample(parts: Parts, digest: str) -> Response:
    """The same from the model of that digest, for ever."""
    return _show(parts, digest)


def show_walk(parts: Parts) -> Response:
    """The way from one seed to another, moving."""
    return _show(parts, None, walk)


def show_mix(parts: Parts) -> Response:
    """One place between two seeds."""
    return _show(parts, None, mix)


def show_arithmetic(parts: Parts) -> Response:
    """One seed less another plus a third."""
    return _show(parts, None, arithmetic)


def _show(parts: Parts, digest: str | None, make: Handler = generate) -> Response:
    headers = request.headers
    request_headers = RequestHeaders(
        accept=headers.get("Accept"),
        if_none_match=headers.get("If-None-Match"),
        timeout_ms=headers.get("X-Request-Timeout-Ms"),
        is_head=request.method == "HEAD",
        client=request.remote_addr,
        context=request.environ["serving.context"],
    )
    query = request.environ.get("QUERY_STRING", "")
    reply = parts.service.portal.run(parts.answer(query, request_headers, digest, make))
    request.environ.update({"serving.cache": reply.cache, "serving.model": reply.model})
    return whole(reply)


def list_models(parts: Parts) -> Response:
    """Every model: what it is and what it can be asked."""
    return in_json({"models": [describe(entry) for entry in parts.service.registry.values()]})


def show_model(parts: Parts, name: str) -> Response:
    """One model."""
    if name not in parts.service.registry:
        raise NotFound(f"no model {shown(name)}; there are {', '.join(parts.service.registry)}")
    return in_json(describe(parts.service.registry[name]))


def describe(entry: ModelEntry) -> dict[str, object]:
    """A model's card, without the goldens, and what its loading showed."""
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


def show_health(parts: Parts) -> Response:
    """Alive."""
    return in_json({"status": "ok"})


def show_readiness(parts: Parts) -> Response:
    """Ready for requests."""
    if parts.is_draining() or parts.service.watchdog.is_failing:
        parts.service.metrics.ready.set(0)
        raise ShuttingDown()
    return in_json({"status": "ready", "models": list(parts.service.registry)})


def show_metrics(parts: Parts) -> Response:
    """What Prometheus reads."""
    text, media_type = parts.service.metrics.exposition()
    return Response(text, content_type=media_type, headers={"Cache-Control": "no-store"})


def show_page(parts: Parts) -> Response:
    """A page to look at and to try things on."""
    return page(render_page(parts.service.settings), PAGE_POLICY)


def show_static(parts: Parts, name: str) -> Response:
    """A file that the page loads."""
    if name not in static_files():
        raise NotFound(NO_PATH)
    return file(static_files()[name].body, static_files()[name].media_type)


def show_document(parts: Parts) -> Response:
    """What there is to ask for, as OpenAPI."""
    return in_json(_document(parts))


def show_docs(parts: Parts) -> Response:
    """The same to read."""
    return page(render_docs(_document(parts)))


def _document(parts: Parts) -> Schema:
    return document(ROUTES | (ADMIN_ROUTES if parts.bearer_auth else {}), parts.service)


def reload_models(parts: Parts) -> Response:
    """Load changed model files here and now, and tell the other workers; 422 when one of them is refused."""
    assert parts.bearer_auth is not None
    parts.bearer_auth.check(request.headers.get("Authorization"))
    outcomes = parts.service.portal.run(parts.reloader.reload())
    parts.request_reload()
    is_refused = any(outcome.result == "refused" for outcome in outcomes)
    return in_json({"outcomes": [outcome.facts() for outcome in outcomes]}, 422 if is_refused else 200)


ROUTES: dict[str, Callable[..., Response]] = {
    "/": show_page,
    "/static/<name>": show_static,
    ROUTE: show_sample,
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
"""Every route that there is for all; each answers OPTIONS, and GET and HEAD or what stands before it (``POST /path``)."""

ADMIN_ROUTES: dict[str, Callable[..., Response]] = {"POST /admin/reload": reload_models}
"""Routes that exist only with ``GAN_ADMIN_TOKEN``."""
