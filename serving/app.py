"""The composition root: ``create_app`` builds the service's components and connects them."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException
from werkzeug.exceptions import MethodNotAllowed as WrongMethod
from werkzeug.exceptions import NotFound as NoRoute

from contract import Image
from serving.engine.activity import Activity
from serving.engine.kept_files import ServedFile
from serving.engine.registry import ModelEntry
from serving.engine.reload import Reloader
from serving.engine.start import load_again, load_models
from serving.errors import BadRequest, ClientDisconnected, MethodNotAllowed, NotFound, Problem
from serving.generation.generate import Service, problem_reply
from serving.generation.service import answer, create_service, fault
from serving.http.asgi import INFER_ROUTE, ASGIApp
from serving.http.bearer_auth import BearerAuth
from serving.http.responses import reply_response
from serving.http.routes import ADMIN_ROUTES, NO_PATH, ROUTES, AppState, is_operations, is_public
from serving.http.scope import ARRIVED, CLIENT_DISCONNECTED, UNTIL_DISCONNECTED, target_of
from serving.model.load import ModelFacts, model_loader
from serving.observability.gpu_metrics import GpuCollector
from serving.observability.log_writer import LogWriter
from serving.observability.logs import Log, print_event
from serving.observability.metrics import Metrics
from serving.observability.process_metrics import ProcessCollector
from serving.observability.request_context import RequestContext
from serving.observability.request_log import RequestObserver, make_observer
from serving.oip.routes import error_reply, is_protocol
from serving.openapi.document import SAMPLES, split_route
from serving.openapi.published import Publisher
from serving.settings import Settings, model_files, worker_threads

if TYPE_CHECKING:
    from serving.observability.tracing import Tracing


def create_app(
    settings: Settings,
    *,
    is_draining: Callable[[], bool] = lambda: False,
    reload_count: Callable[[], int] = lambda: 0,
    request_reload: Callable[[], None] = lambda: None,
    metrics_directory: Path | None = None,
    processes: ProcessCollector | None = None,
    log: Log = print_event,
    log_writer: LogWriter | None = None,
    tracing: Tracing | None = None,
    activity: Activity | None = None,
    load: Callable[..., ModelFacts] | None = None,
    table: Sequence[ServedFile] = (),
    on_served: Callable[[Sequence[ServedFile]], None] = lambda table: None,
) -> ASGIApp:
    """Load and check the models, and create the ASGI application around ``.flask``.

    Args:
        settings: settings of the service.
        is_draining: whether the service is shutting down.
        reload_count: number of reload requests so far, to any worker process.
        request_reload: asks the other worker processes to reload.
        metrics_directory: directory in which worker processes share metrics; None for a single process.
        processes: collector of process metrics; None when this process is the whole service.
        log: writes events.
        log_writer: writes request lines, unless ``settings.request_log`` is off; None for no request log.
        tracing: exports spans; None to follow ``settings.tracing`` and OpenTelemetry's environment variables.
        activity: inferences of all worker processes; None when this process is the only one.
        load: loads a model file; None to load it into this process.
        table: the models that were served before a restart of this process, which are served again.
        on_served: called with the models in service whenever they have changed.

    Raises:
        StartError: a setting, a model or the device is invalid.
    """
    metrics = Metrics(metrics_directory, [processes or ProcessCollector(), GpuCollector()])
    observer = make_observer(settings, metrics, log_writer, tracing)
    load_here = load is None
    load = load or model_loader(settings)
    started = load_again(table, load) if table else load_models(model_files(settings), load)
    service = create_service(settings, started.models.values(), metrics, activity)
    if log_writer:
        service.watchdog.on_exit = log_writer.close
    announce = partial(_announce, metrics, log, settings.max_pixels)
    for entry in service.registry.values():
        announce(entry)
    for method, rule in map(split_route, ROUTES):
        if rule in SAMPLES or rule == INFER_ROUTE:
            metrics.expect_errors(rule, method)
    reloader = Reloader(
        service.registry,
        {path: model.card.name for path, model in started.models.items()},
        lambda path, digest=None: service.registry.make_entry(load(path, digest=digest)),
        stamps=started.stamps,
        kept=started.kept,
        settings=settings,
        metrics=metrics,
        announce=announce,
        log=log,
        reload_count=reload_count,
        on_served=on_served,
    )
    routes = ROUTES | (ADMIN_ROUTES if settings.admin_token else {})
    state = AppState(
        service=service,
        answer=partial(answer, service, log),
        is_draining=is_draining,
        reloader=reloader,
        request_reload=request_reload,
        bearer_auth=BearerAuth(settings.admin_token) if settings.admin_token else None,
        publisher=Publisher(routes, settings, service.registry),
    )
    if load_here:  # else the engine watches its own inferences
        service.watchdog.watch(lambda: [s.batcher.running_since for s in service.registry.all()], settings.stall_seconds, log)
    metrics.ready.set(1)
    flask = _create_flask(routes, state, log, observer)
    return ASGIApp(flask, service, state.answer, worker_threads(settings), reloader.watch, observer)


def _announce(metrics: Metrics, log: Log, max_pixels: int, entry: ModelEntry) -> None:
    """Record a model in the metrics and the log, which also says if its pictures are too large to be answered."""
    model, files = entry.model, entry.golden_files
    facts = {
        "digest": model.digest,
        "runtime": model.runtime,
        "batching": model.batching.name,
        "goldens": model.goldens.pixels,
        "encoder": files.encoder or "none",
        "files": files.digest,
    }
    metrics.record_model(model.card.name, facts)
    log("model", name=model.card.name, **facts)
    output = model.card.output
    if isinstance(output, Image) and (pixels := output.height * output.width) > max_pixels:
        reason = f"a picture has {pixels} pixels, GAN_MAX_PIXELS is {max_pixels}: samples are answered 400"
        log("too_large", name=model.card.name, reason=reason)


def _create_flask(routes: Mapping[str, Callable[..., Response]], state: AppState, log: Log, observer: RequestObserver) -> Flask:
    codecs.lookup("idna")  # else Werkzeug imports it at the first request, which fails where no descriptor is left
    app = Flask("serving", static_folder=None)
    app.url_map.merge_slashes = False
    for route, view in routes.items():
        method, rule = split_route(route)
        app.add_url_rule(rule, route, partial(view, state), methods=[method])
    app.register_error_handler(Exception, partial(_error_response, state.service, log))
    app.before_request(partial(_begin, observer, state.service.settings.operations_port))
    app.after_request(partial(_finish, observer))
    app.extensions["serving"] = state
    return app


def _begin(observer: RequestObserver, operations_port: int | None) -> None:
    scope = request.environ.get("asgi.scope")
    context = RequestContext(
        request.method,
        target_of(scope) if scope else request.full_path.removesuffix("?"),
        *map(request.headers.get, ("X-Request-Id", "traceparent", "tracestate")),
        start=scope[ARRIVED] if scope else None,
    )
    request.environ["serving.context"] = observer.begin(context)
    request.environ["serving.until_disconnected"] = scope.get(UNTIL_DISCONNECTED) if scope else None
    if request.environ["PATH_INFO"].startswith("//"):  # Werkzeug would merge the slashes
        raise NotFound(NO_PATH)
    if is_operations(request.path) and is_public(operations_port):
        raise NotFound(NO_PATH)


def _finish(observer: RequestObserver, response: Response) -> Response:
    route = request.url_rule.rule if request.url_rule else "none"
    context, cache, model = (request.environ.get(f"serving.{fact}") for fact in ("context", "cache", "model"))
    if request.method == "OPTIONS" and response.status_code == 200:
        response.headers["Allow"] = ", ".join(sorted(response.allow))
        response.headers["Cache-Control"] = "no-store"
        response.headers.remove("Content-Type")  # of the empty body
    assert context is not None
    response.headers["X-Request-Id"] = context.id
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    is_empty = request.method == "HEAD" or response.status_code == 304
    size = 0 if is_empty else response.calculate_content_length() or 0
    observer.end(context, route, response.status_code, size, cache=cache, model=model or "")
    return response


def _error_response(service: Service, log: Log, error: Exception) -> Response:
    match error:
        case ClientDisconnected():
            service.metrics.cancelled.inc()
            return Response(status=CLIENT_DISCONNECTED)
        case Problem():
            problem: Problem = error
        case WrongMethod():
            problem = MethodNotAllowed(list(error.valid_methods or ()))
        case NoRoute():
            problem = NotFound(NO_PATH)
        case HTTPException(code=400):
            problem = BadRequest(error.description or "the request is invalid")
        case HTTPException(code=int(code)) if code < 500:
            problem = NotFound(error.description or "the request is invalid")
        case _:
            service.watchdog.inspect(error, log)
            problem = fault(error, log, request.environ.get("serving.context"))
    return reply_response(error_reply(problem) if is_protocol(request.path) else problem_reply(problem))
