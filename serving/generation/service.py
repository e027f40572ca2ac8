"""The service for samples put together: batchers, response cache, and the edge where faults are caught."""

from __future__ import annotations

import secrets
import traceback
from collections.abc import Iterable

from serving.encoding.animations import animation_fingerprints
from serving.encoding.formats import fingerprints
from serving.engine.activity import Activity
from serving.engine.backend import Backend, LocalBackend, timed_run
from serving.engine.batcher import Batcher
from serving.engine.golden_files import hash_golden_files
from serving.engine.idle_cores import IdleCores
from serving.engine.lease import LeasedModel
from serving.engine.registry import ModelEntry, Registry
from serving.engine.shared import SharedBackend
from serving.errors import ClientDisconnected, InternalProblem, Problem
from serving.generation.coalescing import Coalescer
from serving.generation.generate import Handler, Reply, RequestHeaders, Service, generate, problem_reply
from serving.generation.interpolate import ANIMATION
from serving.generation.rate_limit import TokenBucket
from serving.generation.response_cache import ResponseCache
from serving.generation.thread_queue import ThreadQueue
from serving.latents.sources import row_inputs
from serving.model.load import Model, ModelFacts
from serving.observability.logs import Log
from serving.observability.metrics import Metrics
from serving.observability.request_context import RequestContext
from serving.settings import WAITING_PICTURES, Settings

MAX_ENCODING_BYTES = 2**28
"""Rows that wait or are being encoded; a request that finds more is refused."""
BURST_SECONDS = 2.0
"""A client's full bucket holds the tokens of this many seconds."""


def create_service(
    settings: Settings, models: Iterable[ModelFacts], metrics: Metrics, activity: Activity | None = None
) -> Service:
    """Build what ``generate`` needs: a batcher for each model, the response cache, and the encoders' fingerprints."""
    activity = activity or Activity()  # one for all models of the worker

    def make_backend(model: ModelFacts) -> Backend:
        if isinstance(model, LeasedModel):
            return SharedBackend(model)
        assert isinstance(model, Model)
        run = timed_run(model, metrics, IdleCores(activity) if model.idle_session else None)
        return LocalBackend(
            lambda sources, overrides: run(row_inputs(model.card.latents, model.card.picture, sources, overrides)),
            max_batch=settings.max_batch,
            activity=activity,
        )

    def make_entry(model: ModelFacts) -> ModelEntry:
        batcher = Batcher(make_backend(model), max_batch=settings.max_batch, queue_limit=settings.queue_limit, metrics=metrics)
        return ModelEntry(model, batcher, hash_golden_files(model))

    return Service(
        settings=settings,
        registry=Registry(models, make_entry, keep=settings.keep_models),
        fingerprints=all_fingerprints(),
        metrics=metrics,
        cache=ResponseCache(settings.cache_bytes, metrics.cache_bytes.set),
        coalescer=Coalescer(),
        encoding=ThreadQueue(MAX_ENCODING_BYTES, "bytes wait to be encoded", "encoding"),
        decoding=ThreadQueue(WAITING_PICTURES, "pictures wait to be decoded", "decoding"),
        token_bucket=TokenBucket(settings.client_rate, BURST_SECONDS * (settings.client_rate or 0)),
    )


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
