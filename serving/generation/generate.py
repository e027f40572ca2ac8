"""``/generate`` as one function: a query string and a few headers in, status, headers and bytes out."""

from __future__ import annotations

import asyncio
import hashlib
import re
import secrets
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from contract import MAX_SEED, Array, Overrides
from serving.encoding.formats import FORMATS, Format
from serving.engine.registry import ModelEntry, Registry
from serving.engine.watchdog import Watchdog
from serving.errors import BadParameter, NonFinite, Problem
from serving.generation.coalescing import Coalescer, Deadline
from serving.generation.event_loop import EventLoopPortal
from serving.generation.limits import check_size, is_slow
from serving.generation.negotiation import choose_format, matches
from serving.generation.query import SampleQuery, parse_query
from serving.generation.rate_limit import TokenBucket
from serving.generation.response_cache import ResponseCache
from serving.generation.samples import sample_of
from serving.latents.sources import SeedSource
from serving.model.load import Model
from serving.observability.metrics import Metrics
from serving.observability.request_context import RequestContext
from serving.observability.timings import UNTIMED, Timings
from serving.settings import Settings

Headers = list[tuple[str, str]]

MILLISECONDS = re.compile(r"[1-9][0-9]{0,8}", re.ASCII)
IMMUTABLE = "public, max-age=31536000, immutable"
SMALL_ROWS_BYTES = 2**16
"""Rows of more bytes than this are encoded in a thread."""


class RequestHeaders(NamedTuple):
    """The request's method and headers, as far as they change the answer."""

    accept: str | None = None
    if_none_match: str | None = None
    timeout_ms: str | None = None
    """``X-Request-Timeout-Ms``."""
    is_head: bool = False
    client: str | None = None
    """Address of whoever asks; None where nobody does."""
    until_disconnected: Callable[[], Awaitable[None]] | None = None
    """Returns when the client is gone; None where that cannot be known."""
    context: RequestContext | None = None
    """What the log and traces know of the request; told which model it asks for, and what it waits for."""


@dataclass(kw_only=True, slots=True)  # not frozen: that would be a microsecond a request
class Reply:
    """An answer, whole; nobody changes it."""

    status: int
    headers: Headers
    body: bytes = b""
    cache: str = "miss"
    """Where it came from, for the metrics: ``hit``, ``miss``, ``coalesced`` or ``not_modified``."""
    model: str = ""
    """Name of the model that it is from; empty where it is from none."""
    server_timing: str | None = field(default=None, compare=False)
    """The header of that name, which is of this one answering, not of what is answered; None for HEAD and problems."""


@dataclass(frozen=True, kw_only=True)
class Service:
    """What ``generate`` answers from; everything but the settings is used on one event loop."""

    settings: Settings
    registry: Registry
    fingerprints: Mapping[tuple[str, str], str]
    """By kind and format, the encoder's; animations are a kind of their own."""
    metrics: Metrics
    cache: ResponseCache
    coalescer: Coalescer
    threads: ThreadPoolExecutor
    """Where large answers are encoded."""
    token_bucket: TokenBucket
    """What one client may have computed."""
    portal: EventLoopPortal = field(default_factory=EventLoopPortal)
    watchdog: Watchdog = field(default_factory=Watchdog)
    media_types: Mapping[str, Mapping[str, str]] = field(
        default_factory=lambda: {kind: {name: f.media_type for name, f in formats.items()} for kind, formats in FORMATS.items()}
    )


class SampleRequest(NamedTuple):
    """What a request asks for, checked and complete: all that its answer depends on."""

    entry: ModelEntry
    sources: Sequence[SeedSource]
    """What each row is made from."""
    overrides: Overrides
    format: str
    media_type: str
    encode: Callable[[Array], bytes]
    """Rows to the answer's bytes."""
    is_slow: bool
    """Whether encoding takes too long for the event loop."""
    etag: str
    """The strong entity tag, known before any inference."""
    is_repeatable: bool = True
    """Whether the same request asks for the same thing again."""
    headers: Sequence[tuple[str, str]] = ()
    """Further headers of the answer."""


Handler = Callable[[Service, str, RequestHeaders, str | None], Coroutine[Any, Any, Reply]]
"""What a route does: query string, conditions and digest's digits to a reply; raises ``Problem`` or ``ClientGone``."""


async def generate(service: Service, query: str, request_headers: RequestHeaders, digits: str | None = None) -> Reply:
    """Answer a request for samples.

    The same query gives the same bytes for as long as the model, the runtime and the encoder are the same, which is what the
    entity tag says. 304 and HEAD run no inference; HEAD therefore has no Content-Length.

    Args:
        service: what there is.
        query: the raw query string.
        conditions: of the request.
        digits: the first digits of a model's digest, where the address names it; the answer then never changes.

    Raises:
        Problem: the request is wrong, or cannot be answered now.
        ClientGone: nobody waits for the answer any more.
    """
    addressed = service.registry.by_digest(digits) if digits else None
    wanted = parse_query(query, service.registry, service.settings, addressed)
    return await fulfil(
        service, _order(service, wanted, request_headers.accept), request_headers, is_immutable=digits is not None
    )


async def fulfil(
    service: Service, order: SampleRequest, request_headers: RequestHeaders, *, is_immutable: bool = False
) -> Reply:
    """The reply to an order: 304, headers alone, or a body that was kept, is on its way already, or is made now.

    Raises:
        Problem, ClientGone: as ``generate``.
    """
    deadline = Deadline(
        waiting_seconds(request_headers.timeout_ms, service.settings.deadline_seconds), request_headers.until_disconnected
    )
    headers = _headers(order, is_immutable=is_immutable)
    model = order.entry.model.card.name
    if request_headers.context:
        request_headers.context.model = model
    if order.is_repeatable and matches(request_headers.if_none_match, order.etag):
        return Reply(status=304, headers=headers, cache="not_modified", model=model, server_timing=UNTIMED["not_modified"])
    headers.append(("Content-Type", order.media_type))
    if request_headers.is_head:
        return Reply(status=200, headers=headers, model=model)
    body, came_from, timings = await _body(service, order, deadline, request_headers)
    service.metrics.came_from[came_from].inc()
    headers.append(("Content-Length", str(len(body))))
    return Reply(
        status=200,
        headers=headers,
        body=body,
        cache=came_from,
        model=model,
        server_timing=timings.server_timing() if timings else UNTIMED[came_from],
    )


def _order(service: Service, wanted: SampleQuery, accept: str | None) -> SampleRequest:
    kind = wanted.model.card.output.kind
    name = choose_format(service.media_types[kind], wanted.format, accept)
    form = FORMATS[kind][name]
    pixels = check_size(wanted, name, form, service.settings)
    seed = secrets.randbelow(MAX_SEED + 2 - wanted.n) if wanted.seed is None else wanted.seed
    etag = entity_tag(
        wanted.model, service.fingerprints[kind, name], name, wanted.overrides, seed, wanted.n, wanted.scale, wanted.columns
    )
    return SampleRequest(
        entry=wanted.entry,
        sources=range(seed, seed + wanted.n),
        overrides=wanted.overrides,
        format=name,
        media_type=form.media_type,
        encode=partial(encode_sample, form, wanted, seed),
        is_slow=is_slow(form, pixels),
        etag=etag,
        is_repeatable=wanted.seed is not None,
        headers=[("X-Seed", str(seed))],
    )


async def _body(
    service: Service, request: SampleRequest, deadline: Deadline, request_headers: RequestHeaders
) -> tuple[bytes, str, Timings | None]:
    """Return the body, where it came from, and what it took if it was computed for this request."""
    key = request.etag if request.is_repeatable else None
    if key is not None:
        kept = service.cache.find(key)
        if kept is not None:
            return kept, "hit", None
    in_flight = service.coalescer.find(key)
    is_shared = in_flight is not None
    if in_flight is None:
        service.token_bucket.acquire(request_headers.client, len(request.sources))
        in_flight = service.coalescer.start(key, partial(produce, service, request))
    if request_headers.context:
        request_headers.context.join(in_flight.timings)
    body = await in_flight.wait(deadline)
    return (body, "coalesced", None) if is_shared else (body, "miss", in_flight.timings)


async def produce(service: Service, request: SampleRequest, timings: Timings) -> bytes:
    """Compute a body: wait for the model's batcher, encode the rows, keep the result.

    Raises:
        QueueFull, ShuttingDown: the rows are refused.
        NonFinite: the model gave NaN or infinity.
    """
    rows = await request.entry.batcher.sample(request.sources, request.overrides, timings)
    encode = partial(_encode, service.metrics, request, rows, timings)
    if request.is_slow or rows.nbytes > SMALL_ROWS_BYTES:
        body = await asyncio.get_running_loop().run_in_executor(service.threads, encode)
    else:
        body = encode()
    if request.is_repeatable:
        service.cache.keep(request.etag, body)
    return body


def waiting_seconds(timeout_ms: str | None, limit: float) -> float:
    """The client's own deadline (``X-Request-Timeout-Ms``), if it is nearer than the service's.

    Raises:
        BadParameter: it is no number of milliseconds.
    """
    if timeout_ms is None:
        return limit
    if not MILLISECONDS.fullmatch(timeout_ms):
        raise BadParameter("X-Request-Timeout-Ms", timeout_ms, "an integer from 1")
    return min(int(timeout_ms) / 1000, limit)


def entity_tag(model: Model, encoder: str, name: str, overrides: Overrides, *which: object) -> str:
    """The strong entity tag of an answer: it follows from the model, the encoder, the format and all that was asked."""
    parts = (model.fingerprint, encoder, name, *which, *overrides.items())
    return f'"{hashlib.sha256(repr(parts).encode()).hexdigest()[:32]}"'


def problem_reply(problem: Problem) -> Reply:
    """The answer that tells of a problem."""
    body = problem.body()
    headers = [
        ("Content-Type", "application/problem+json"),
        ("Cache-Control", "no-store"),
        ("X-Content-Type-Options", "nosniff"),
        ("Vary", "Accept"),
        *problem.headers.items(),
        ("Content-Length", str(len(body))),
    ]
    return Reply(status=problem.status, headers=headers, body=body)


def _headers(order: SampleRequest, *, is_immutable: bool) -> Headers:
    """Any seed's answer is not kept; a named seed's is, and is asked again unless the model cannot change."""
    kept = (IMMUTABLE if is_immutable else "public, no-cache") if order.is_repeatable else "no-store"
    return [
        ("ETag", order.etag),
        ("Cache-Control", kept),
        ("Vary", "Accept"),
        *order.headers,
        ("X-Model-Digest", order.entry.model.digest),
        ("X-Content-Type-Options", "nosniff"),
    ]


def encode_sample(form: Format, wanted: SampleQuery, source: SeedSource, rows: Array) -> bytes:
    """Rows in a format; they are those of seeds from ``source`` on, or the one of a place or a sum."""
    return form.encode(sample_of(wanted.model, rows, source, wanted.overrides, scale=wanted.scale, columns=wanted.columns))


def check_finite(rows: Array) -> None:
    """See that no row holds NaN or infinity, which must never be shown as a black picture.

    Raises:
        NonFinite: one does.
    """
    if rows.dtype.kind == "f" and not np.isfinite(rows).all():
        raise NonFinite("the generator gave NaN or infinity for this request")


def _encode(metrics: Metrics, request: SampleRequest, rows: Array, timings: Timings) -> bytes:
    check_finite(rows)
    start = time.perf_counter()
    body = request.encode(rows)
    end = time.perf_counter()
    timings.encoding = (start, end)
    metrics.record_encoding(request.format, end - start)
    return body
