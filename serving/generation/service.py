"""The service for samples put together: batchers, response cache, and the edge where faults are caught."""

from __future__ import annotations

import secrets
import time
import traceback
from collections.abc import Iterable, Sequence

from contract import Array, Overrides
from serving.encoding.animations import animation_fingerprints
from serving.encoding.formats import fingerprints
from serving.engine.activity import Activity
from serving.engine.batcher import Batcher, RunModel
from serving.engine.golden_files import hash_golden_files
from serving.engine.idle_cores import IdleCores
from serving.engine.registry import ModelEntry, Registry
from serving.errors import ClientDisconnected, InternalProblem, Problem
from serving.generation.coalescing import Coalescer
from serving.generation.encoding_queue import EncodingQueue
from serving.generation.generate import Handler, Reply, RequestHeaders, Service, generate, problem_reply
from serving.generation.interpolate import ANIMATION
from serving.generation.rate_limit import TokenBucket
from serving.generation.response_cache import ResponseCache
from serving.latents.sources import RowSource
from serving.model.load import Model
from serving.observability.logs import Log
from serving.observability.metrics import BatchMetrics, Metrics
from serving.observability.request_context import RequestContext
from serving.settings import Settings

BURST_SECONDS = 2.0
"""A client's full bucket holds the tokens of this many seconds."""


def create_service(settings: Settings, models: Iterable[Model], metrics: Metrics, activity: Activity | None = None) -> Service:
    """Build what ``generate`` needs: a batcher for each model, the response cache, and the encoders' fingerprints."""
    activity = activity or Activity()  # one for all models of the worker
    batch_metrics = BatchMetrics(metrics)

    def make_entry(model: Model) -> ModelEntry:
        run = timed_run(model, metrics, IdleCores(activity) if model.idle_session else None)
        batcher = Batcher(
            run,
            max_batch=settings.max_batch,
            queue_limit=settings.queue_limit,
            metrics=batch_metrics,
            activity=activity,
        )
        return ModelEntry(model, batcher, hash_golden_files(model))

    return Service(
        settings=settings,
        registry=Registry(models, make_entry, keep=settings.keep_models),
        fingerprints=all_fingerprints(),
        metrics=metrics,
        cache=ResponseCache(settings.cache_bytes, metrics.cache_bytes.set),
        coalescer=Coalescer(),
        encoding=EncodingQueue(),
        token_bucket=TokenBucket(settings.client_rate, BURST_SECONDS * (settings.client_rate or 0)),
    )


def timed_run(model: Model, metrics: Metrics, idle_cores: IdleCores | None = None) -> RunModel:
    """Return the function by which the batcher runs the model: it records the time of each inference.

    Args:
        model: the model.
        metrics: get the times.
        idle_cores: chooses inferences of more threads; None for a model with one session.
    """
    duration = metrics.inference.labels(model.card.name, model.provider)

    def run(sources: Sequence[RowSource], overrides: Sequence[Overrides]) -> Array:
        start = time.perf_counter()
        is_wide = idle_cores is not None and idle_cores.are_used(len(sources))
        rows = model.sample(sources, overrides, on_idle_cores=is_wide)
        seconds = time.perf_counter() - start
        duration.observe(seconds)
        if idle_cores:
            idle_cores.record(len(sources), is_wide, seconds)
        padding = model.batching.padding(len(sources))
        if padding:
            metrics.padding.inc(padding)
        return rows

    return run


def all_fingerprints() -> dict[tuple[str, str], str]:
    """Return the encoder's fingerprint by kind of output and format; animations are a kind of their own."""
    return fingerprints() | {(ANIMATION, name): fingerprint for name, fingerprint in animation_fingerprints().items()}


async def answer(
    service: Service,
    log: Log,
    query_string: str,
    request_headers: RequestHeaders,
    digits: str | None = None,
    handler: Handler = generate,
) -> Reply:
    """Return the reply to a request for samples: of problems their body, of faults an id under which they are logged.

    Args:
        service: models, cache and limits.
        log: where faults go.
        query_string: raw.
        request_headers: of the request.
        digits: first digits of a model's digest, where the path has them.
        handler: the route's.

    Raises:
        ClientDisconnected: no reply can be sent.
    """
    try:
        return await handler(service, query_string, request_headers, digits)
    except Problem as problem:
        service.metrics.record_refusal(problem)
        return problem_reply(problem)
    except ClientDisconnected:
        raise
    except Exception as error:  # the edge: a fault answers its own request and the service goes on
        service.watchdog.inspect(error, log)
        return problem_reply(fault(error, log, request_headers.context))


def fault(error: Exception, log: Log, context: RequestContext | None = None) -> InternalProblem:
    """Log a fault with its traceback, and return the problem that shows the client its id alone."""
    fault_id = secrets.token_hex(8)
    request = {"request": context.id} if context else {}
    log("fault", id=fault_id, **request, error="".join(traceback.format_exception(error)))
    return InternalProblem("the service failed; its log has more under this id", facts={"id": fault_id})
