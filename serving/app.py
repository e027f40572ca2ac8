"""The application: ``create_app`` knows every part and hands each what it needs; ``ROUTES`` is the table of contents."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException
from werkzeug.exceptions import MethodNotAllowed as WrongMethod
from werkzeug.exceptions import NotFound as NoRoute

from contract import card_to_json
from serving.admin import Gatekeeper
from serving.docs_page import render_docs
from serving.encoders import FORMATS
from serving.errors import Draining, MethodNotAllowed, NotFound, Problem, shown
from serving.front import ADDRESSED_ROUTE, ROUTE, Answer, Front, target_of
from serving.generate import Conditions, Make, Service, generate, problem_reply
from serving.gpu import GpuCollector
from serving.journal import Journal
from serving.logs import Log, print_event
from serving.metrics import Metrics
from serving.models import Model, load_models
from serving.openapi import document, split_route
from serving.page import PAGE_POLICY, render_page, static_files
from serving.processes import ProcessCollector
from serving.protocol import (
    error_reply,
    is_protocol,
    show_inference,
    show_live,
    show_model_metadata,
    show_model_ready,
    show_ready,
    show_server,
)
from serving.reception import Reception, open_reception
from serving.reload import Reloader
from serving.responses import file, in_json, page, whole
from serving.runtime import resolve_provider
from serving.schemas import Schema
from serving.service import answer, create_service, fault
from serving.settings import Settings, model_files, worker_threads
from serving.signals import Tally
from serving.signatures import trust_of
from serving.visits import Visit
from serving.ways import arithmetic, mix, walk, walk_formats

if TYPE_CHECKING:
    from serving.tracing import Tracing

NO_PATH = "no such path; / shows what there is"


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What the views answer from."""

    service: Service
    answer: Answer
    is_draining: Callable[[], bool]
    reloader: Reloader
    generation: Tally
    gatekeeper: Gatekeeper | None


def create_app(
    settings: Settings,
    *,
    is_draining: Callable[[], bool] = lambda: False,
    generation: Tally | None = None,
    metrics_directory: Path | None = None,
    launcher: int | None = None,
    log: Log = print_event,
    journal: Journal | None = None,
    tracing: Tracing | None = None,
) -> Front:
    """The whole service, ready: models loaded, proven and waiting; an ASGI application around ``.flask``.

    Args:
        settings: all that can be set.
        is_draining: whether the process is about to stop.
        generation: raised when one of several worker processes is told to reload, watched by all.
        metrics_directory: where several worker processes share their metrics.
        launcher: process id of whoever started the worker processes; None when this process is the whole service.
        log: where events go.
        journal: where lines of requests go, if the settings want them; None means nowhere.
        tracing: where spans go; None means where OpenTelemetry's variables say, if the settings want any.

    Raises:
        StartError: a setting, a model or the device is wrong.
    """
    metrics = Metrics(metrics_directory, [ProcessCollector(launcher), GpuCollector()])
    reception = open_reception(settings, metrics, journal, tracing)
    provider = resolve_provider(settings.provider)
    files = model_files(settings)
    trust = trust_of(settings)
    models = load_models(files, provider, intra_op_threads=settings.intra_op_threads, max_batch=settings.max_batch, trust=trust)
    service = create_service(settings, models.values(), metrics)
    if journal:
        service.vitals.farewell = journal.close
    for model in models.values():
        _announce(metrics, log, model)
    generation = generation or Tally()
    reloader = Reloader(
        service, dict(zip(files, models, strict=True)), provider, announce=partial(_announce, metrics, log), log=log,
        generation=generation.value, trust=trust,
    )  # fmt: skip
    parts = Parts(
        service=service, answer=partial(answer, service, log), is_draining=is_draining, reloader=reloader,
        generation=generation, gatekeeper=Gatekeeper(settings.admin_token) if settings.admin_token else None,
    )  # fmt: skip
    service.vitals.watch(lambda: [s.batcher.running_since for s in service.registry.all()], settings.stall_seconds, log)
    metrics.ready.set(1)
    flask = _create_flask(parts, log, reception)
    return Front(flask, service, parts.answer, worker_threads(settings), reloader.watch, reception)


def _announce(metrics: Metrics, log: Log, model: Model) -> None:
    metrics.record_model(model)
    log("model", name=model.card.name, digest=model.digest, runtime=model.runtime, goldens=model.goldens.pixels,
        encoder=model.goldens.encoder, files=model.goldens.digest, batching=model.plan.name)  # fmt: skip


def _create_flask(parts: Parts, log: Log, reception: Reception) -> Flask:
    app = Flask("serving", static_folder=None)
    app.url_map.merge_slashes = False
    for route, view in (ROUTES | (ADMIN_ROUTES if parts.gatekeeper else {})).items():
        method, rule = split_route(route)
        app.add_url_rule(rule, route, partial(view, parts), methods=[method])
    app.register_error_handler(Exception, partial(_tell, parts.service, log))
    app.before_request(partial(_begin, reception))
    app.after_request(partial(_finish, reception))
    app.extensions["serving"] = parts
    return app


def _begin(reception: Reception) -> None:
    scope = request.environ.get("asgi.scope")
    visit = Visit(
        request.method, target_of(scope) if scope else request.full_path.removesuffix("?"),
        *map(request.headers.get, ("X-Request-Id", "traceparent", "tracestate")),
    )  # fmt: skip
    request.environ["serving.visit"] = reception.begin(visit)
    if request.environ["PATH_INFO"].startswith("//"):  # Werkzeug would take it for one slash
        raise NotFound(NO_PATH)


def _finish(reception: Reception, response: Response) -> Response:
    route = request.url_rule.rule if request.url_rule else "none"
    visit, cache, model = (request.environ.get(f"serving.{fact}") for fact in ("visit", "cache", "model"))
    if request.method == "OPTIONS":
        response.headers["Allow"] = ", ".join(sorted(response.allow))
    assert visit is not None
    response.headers["X-Request-Id"] = visit.id
    size = 0 if request.method == "HEAD" else response.calculate_content_length() or 0
    reception.end(visit, route, response.status_code, size, cache=cache, model=model or "")
    return response


def _tell(service: Service, log: Log, error: Exception) -> Response:
    match error:
        case Problem():
            problem: Problem = error
        case WrongMethod():
            problem = MethodNotAllowed(list(error.valid_methods or ()))
        case NoRoute():
            problem = NotFound(NO_PATH)
        case HTTPException(code=int(code)) if code < 500:
            problem = NotFound(error.description or "the request is wrong")
        case _:
            service.vitals.look_at(error, log)
            problem = fault(error, log, request.environ.get("serving.visit"))
    return whole(error_reply(problem) if is_protocol(request.path) else problem_reply(problem))


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


def _show(parts: Parts, digest: str | None, make: Make = generate) -> Response:
    headers = request.headers
    conditions = Conditions(
        accept=headers.get("Accept"), if_none_match=headers.get("If-None-Match"),
        timeout_ms=headers.get("X-Request-Timeout-Ms"), is_head=request.method == "HEAD", client=request.remote_addr,
        visit=request.environ["serving.visit"],
    )  # fmt: skip
    query = request.environ.get("QUERY_STRING", "")
    reply = parts.service.bridge.ask(parts.answer(query, conditions, digest, make))
    request.environ.update({"serving.cache": reply.cache, "serving.model": reply.model})
    return whole(reply)


def list_models(parts: Parts) -> Response:
    """Every model: what it is and what it can be asked."""
    return in_json({"models": [describe(served.model) for served in parts.service.registry.values()]})


def show_model(parts: Parts, name: str) -> Response:
    """One model."""
    if name not in parts.service.registry:
        raise NotFound(f"no model {shown(name)}; there are {', '.join(parts.service.registry)}")
    return in_json(describe(parts.service.registry[name].model))


def describe(model: Model) -> dict[str, object]:
    """A model's card, without the goldens, and what its loading showed."""
    card = json.loads(card_to_json(model.card))
    del card["goldens"]
    ranges = {p.name: {"low": p.low, "high": p.high, "is_integer": p.is_integer} for p in model.parameters.values()}
    formats, walks = list(FORMATS[model.card.output.kind]), list(walk_formats(model))
    return {
        "name": model.card.name, "digest": model.digest, "serving_runtime": model.runtime, "provider": model.provider,
        "goldens": asdict(model.goldens), "batching": model.plan.name, "formats": formats, "walk_formats": walks,
        "parameters": ranges, "card": card,
    }  # fmt: skip


def show_health(parts: Parts) -> Response:
    """Alive."""
    return in_json({"status": "ok"})


def show_readiness(parts: Parts) -> Response:
    """Ready for requests."""
    if parts.is_draining() or parts.service.vitals.is_lost:
        parts.service.metrics.ready.set(0)
        raise Draining()
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
    return document(ROUTES | (ADMIN_ROUTES if parts.gatekeeper else {}), parts.service)


def reload_models(parts: Parts) -> Response:
    """Load changed model files here and now, and tell the other workers; 422 when one of them is refused."""
    assert parts.gatekeeper is not None
    parts.gatekeeper.check(request.headers.get("Authorization"))
    outcomes = parts.service.bridge.ask(parts.reloader.reload())
    parts.generation.raise_it()
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
