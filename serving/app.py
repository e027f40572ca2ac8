"""The application: ``create_app`` knows every part and hands each what it needs; ``ROUTES`` is the table of contents."""

from __future__ import annotations

import json
import secrets
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException
from werkzeug.exceptions import MethodNotAllowed as WrongMethod
from werkzeug.exceptions import NotFound as NoRoute

from contract import Given, card_to_json
from serving.batcher import Batcher, Run
from serving.encoders import FORMATS, fingerprints
from serving.errors import Draining, InternalProblem, MethodNotAllowed, NotFound, Problem, QueueFull, shown
from serving.generate import Conditions, Reply, Service, generate, problem_reply
from serving.lane import ROUTE, Lane, conditions_of
from serving.logs import Log, print_event
from serving.metrics import BatchMeters, Metrics, forget_dead_workers
from serving.models import Model, load_models
from serving.page import render_page
from serving.runtime import Array, resolve_provider
from serving.settings import Settings, model_files

NO_PATH = "no such path; / shows what there is"


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What the views answer from."""

    service: Service
    answer: Callable[[str, Conditions], Reply]
    is_draining: Callable[[], bool]


def create_app(
    settings: Settings,
    *,
    is_draining: Callable[[], bool] = lambda: False,
    metrics_directory: Path | None = None,
    log: Log = print_event,
) -> Flask:
    """The whole service, ready: models loaded, proven and waiting.

    Args:
        settings: all that can be set.
        is_draining: whether the process is about to stop.
        metrics_directory: where several worker processes share their metrics.
        log: where events go.

    Raises:
        StartError: a setting, a model or the device is wrong.
    """
    if metrics_directory is not None:
        forget_dead_workers(metrics_directory)
    metrics = Metrics(metrics_directory)
    provider = resolve_provider(settings.provider)
    models = load_models(
        model_files(settings), provider, intra_op_threads=settings.intra_op_threads, max_batch=settings.max_batch
    )
    service = create_service(settings, models, metrics)
    for model in models.values():
        _announce(model, metrics, log)
    parts = Parts(service=service, answer=partial(answer, service, log), is_draining=is_draining)
    metrics.ready.set(1)
    return _create_flask(parts, log)


def create_service(settings: Settings, models: Mapping[str, Model], metrics: Metrics) -> Service:
    """What ``generate`` needs: a batcher in front of each model, and the encoders' fingerprints."""
    meters = BatchMeters(metrics)
    batchers = {
        name: Batcher(timed_run(model, metrics), max_batch=settings.max_batch, queue_limit=settings.queue_limit, meters=meters)
        for name, model in models.items()
    }
    return Service(settings=settings, models=models, batchers=batchers, fingerprints=fingerprints(), metrics=metrics)


def timed_run(model: Model, metrics: Metrics) -> Run:
    """The model as the batcher runs it: latents for the whole batch, one inference, its time taken."""
    duration = metrics.inference.labels(model.card.name, model.provider)

    def run(seeds: Sequence[int], given: Sequence[Given]) -> Array:
        start = time.perf_counter()
        rows = model.sample(seeds, given)
        duration.observe(time.perf_counter() - start)
        padding = model.plan.padding(len(seeds))
        if padding:
            metrics.padding.inc(padding)
        return rows

    return run


def answer(service: Service, log: Log, query: str, conditions: Conditions) -> Reply:
    """The reply to a request for samples, whatever happens: problems are told, faults are logged under an id."""
    try:
        return generate(service, query, conditions)
    except Problem as problem:
        if isinstance(problem, QueueFull | Draining):
            service.metrics.rejected.labels(problem.code).inc()
        return problem_reply(problem)
    except Exception as error:  # the edge: a fault answers its own request and the service goes on
        return problem_reply(_fault(error, log))


def _fault(error: Exception, log: Log) -> InternalProblem:
    fault_id = secrets.token_hex(8)
    log("fault", id=fault_id, error="".join(traceback.format_exception(error)))
    return InternalProblem("the service failed; its log has more under this id", facts={"id": fault_id})


def _announce(model: Model, metrics: Metrics, log: Log) -> None:
    metrics.record_model(model)
    log("model", name=model.card.name, digest=model.digest, runtime=model.runtime, goldens=model.goldens.pixels,
        encoder=model.goldens.encoder, files=model.goldens.digest, batching=model.plan.name)  # fmt: skip


def _create_flask(parts: Parts, log: Log) -> Flask:
    app = Flask("serving", static_folder=None)
    app.url_map.merge_slashes = False
    for rule, view in ROUTES.items():
        app.add_url_rule(rule, rule, partial(view, parts), methods=["GET"])
    app.register_error_handler(Exception, partial(_tell, log))
    app.before_request(_begin)
    app.after_request(partial(_finish, parts.service.metrics))
    app.extensions["serving"] = parts
    if parts.service.settings.lane:
        app.wsgi_app = Lane(app.wsgi_app, parts.answer, parts.service.metrics)  # type: ignore[method-assign]
    return app


def _begin() -> None:
    request.environ["serving.start"] = time.perf_counter()
    if request.environ["PATH_INFO"].startswith("//"):  # Werkzeug would take it for one slash
        raise NotFound(NO_PATH)


def _finish(metrics: Metrics, response: Response) -> Response:
    route = request.url_rule.rule if request.url_rule else "none"
    seconds = time.perf_counter() - request.environ["serving.start"]
    cache = "not_modified" if response.status_code == 304 else "miss"
    if request.method == "OPTIONS":
        response.headers["Allow"] = ", ".join(sorted(response.allow))
    metrics.record_answer(route, request.method, response.status_code, cache, seconds)
    return response


def _tell(log: Log, error: Exception) -> Response:
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
            problem = _fault(error, log)
    return _response(problem_reply(problem))


class WholeResponse(Response):
    """A response whose headers are complete: a HEAD's unknown length must not become 0."""

    automatically_set_content_length = False


def _response(reply: Reply) -> Response:
    return WholeResponse(reply.body, reply.status, reply.headers)


def _json(value: object, status: int = 200) -> Response:
    response = Response(json.dumps(value, indent=1) + "\n", status, mimetype="application/json")
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Cache-Control"] = "no-cache"
    return response


def show_sample(parts: Parts) -> Response:
    """The reference way to ``generate``."""
    return _response(parts.answer(request.environ.get("QUERY_STRING", ""), conditions_of(request.environ)))


def list_models(parts: Parts) -> Response:
    """Every model: what it is and what it can be asked."""
    return _json({"models": [describe(model) for model in parts.service.models.values()]})


def show_model(parts: Parts, name: str) -> Response:
    """One model."""
    if name not in parts.service.models:
        raise NotFound(f"no model {shown(name)}; there are {', '.join(parts.service.models)}")
    return _json(describe(parts.service.models[name]))


def describe(model: Model) -> dict[str, object]:
    """A model's card, without the goldens, and what its loading showed."""
    card = json.loads(card_to_json(model.card))
    del card["goldens"]
    ranges = {p.name: {"low": p.low, "high": p.high, "is_integer": p.is_integer} for p in model.parameters.values()}
    formats = list(FORMATS[model.card.output.kind])
    return {
        "name": model.card.name, "digest": model.digest, "serving_runtime": model.runtime, "provider": model.provider,
        "goldens": asdict(model.goldens), "batching": model.plan.name, "formats": formats, "parameters": ranges, "card": card,
    }  # fmt: skip


def show_health(parts: Parts) -> Response:
    """Alive."""
    return _json({"status": "ok"})


def show_readiness(parts: Parts) -> Response:
    """Ready for requests."""
    if parts.is_draining():
        parts.service.metrics.ready.set(0)
        raise Draining()
    return _json({"status": "ready", "models": list(parts.service.models)})


def show_metrics(parts: Parts) -> Response:
    """What Prometheus reads."""
    text, media_type = parts.service.metrics.exposition()
    return Response(text, content_type=media_type)


def show_page(parts: Parts) -> Response:
    """A page to look at."""
    response = Response(render_page(list(parts.service.models.values()), parts.service.settings), mimetype="text/html")
    response.headers["Content-Security-Policy"] = "default-src 'none'; img-src 'self'; style-src 'unsafe-inline'"
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response


ROUTES: dict[str, Callable[..., Response]] = {
    "/": show_page,
    ROUTE: show_sample,
    "/models": list_models,
    "/models/<name>": show_model,
    "/healthz": show_health,
    "/readyz": show_readiness,
    "/metrics": show_metrics,
}
"""Every route that there is; each answers GET, HEAD and OPTIONS."""
