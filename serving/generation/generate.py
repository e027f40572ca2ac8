"""``/generate`` as one function: from a query string and a few headers to status, headers and body."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from contract import MAX_SEED, Array, Overrides
from serving.encoding.formats import FORMATS
from serving.engine.registry import ModelEntry, Registry
from serving.engine.samples import check_finite
from serving.engine.watchdog import Watchdog
from serving.errors import Problem
from serving.generation.coalescing import Coalescer, Deadline, UntilDisconnected, waiting_seconds
from serving.generation.encoding import encode_sample, kept_alone
from serving.generation.event_loop import EventLoopPortal
from serving.generation.limits import check_size, is_slow
from serving.generation.negotiation import check_if_match, choose_format, entity_tag, matches
from serving.generation.query import SampleQuery, parse_query
from serving.generation.rate_limit import TokenBucket
from serving.generation.response_cache import ResponseCache
from serving.generation.thread_queue import ThreadQueue
from serving.latents.sources import PictureSource, SeedSource
from serving.observability.metrics import Metrics
from serving.observability.request_context import RequestContext
from serving.observability.timings import UNTIMED, Timings
from serving.settings import Settings

Headers = list[tuple[str, str]]
IMMUTABLE = "public, max-age=31536000, immutable"
SMALL_ROWS_BYTES = 2**16
"""Rows of more bytes than this are encoded in a thread."""


class RequestHeaders(NamedTuple):
    """The request's method and headers, as far as they change the response."""

    accept: str | None = None
    if_match: str | None = None
    if_none_match: str | None = None
    timeout_ms: str | None = None
    """``X-Request-Timeout-Ms``."""
    is_head: bool = False
    client: str | None = None
    """The client's address, if known."""
    until_disconnected: UntilDisconnected | None = None
    """Returns when the client has disconnected; None where that cannot be known."""
    context: RequestContext | None = None
    """The request in logs and traces; gets the model's name and the timings of the computation."""

    def deadline(self, limit: float) -> Deadline:
        """Return how long the request waits for its answer, ``limit`` seconds at most; raises ``BadParameter``."""
        arrival = self.context.start if self.context else None
        return Deadline(waiting_seconds(self.timeout_ms, limit), self.until_disconnected, arrival)

    def name_model(self, entry: ModelEntry) -> None:
        """Put the model's name into the log and the trace of the request, also if it is refused from here on."""
        if self.context:
            self.context.model = entry.model.card.name


@dataclass(kw_only=True, slots=True)  # not frozen: that would be a microsecond a request
class Reply:
    """A whole response; read only."""

    status: int
    headers: Headers
    body: bytes = b""
    cache: str = "miss"
    """Cache status, for log and metrics: ``hit``, ``miss``, ``coalesced`` or ``not_modified``; empty for a problem."""
    model: str = ""
    """Name of the model that made the sample; empty where no model did."""
    server_timing: str | None = field(default=None, compare=False)
    """The header of that name, kept apart since it belongs to one request only; None for HEAD and problems."""


@dataclass(frozen=True, kw_only=True)
class Service:
    """What handlers use; everything but the settings belongs to one event loop."""

    settings: Settings
    registry: Registry
    fingerprints: Mapping[tuple[str, str], str]
    """The encoders', by kind of output and format; animations are a kind of their own."""
    metrics: Metrics
    cache: ResponseCache
    coalescer: Coalescer
    encoding: ThreadQueue
    """Encodes large responses, counted by the bytes of their rows."""
    decoding: ThreadQueue
    """Decodes pictures one after the other, counted by one: a small body may need hundreds of MiB meanwhile."""
    token_bucket: TokenBucket
    """Limits the rows that one client may have computed."""
    portal: EventLoopPortal = field(default_factory=EventLoopPortal)
    watchdog: Watchdog = field(default_factory=Watchdog)
    media_types: Mapping[str, Mapping[str, str]] = field(
        default_factory=lambda: {kind: {name: f.media_type for name, f in formats.items()} for kind, formats in FORMATS.items()}
    )


class SampleRequest(NamedTuple):
    """A request for samples, checked and complete: everything that its body depends on."""

    entry: ModelEntry
    sources: Sequence[SeedSource | PictureSource]
    """One for each row."""
    overrides: Overrides
    format: str
    media_type: str
    encode: Callable[[Array], bytes]
    """Rows to the body."""
    is_slow: bool
    """Whether encoding takes too long for the event loop."""
    etag: str
    """The strong entity tag, known before any inference."""
    is_repeatable: bool = True
    """Whether the same request always has the same body."""
    headers: Sequence[tuple[str, str]] = ()
    """Further headers of the response."""
    is_cacheable: bool = True
    """Whether clients and proxies may keep a repeatable body."""
    charged: int = 0
    """Tokens that its client was charged when the request was admitted, before it was complete."""


Handler = Callable[[Service, str, RequestHeaders, str | None], Coroutine[Any, Any, Reply]]
"""A route's function: query string, headers and digits of a digest to a reply; raises ``Problem`` or ``ClientDisconnected``."""


async def generate(service: Service, query_string: str, request_headers: RequestHeaders, digits: str | None = None) -> Reply:
    """Answer ``/generate``.

    The same query has the same body as long as model, runtime and encoder are the same; the entity tag says which they are.
    304 and HEAD run no inference; HEAD therefore has no Content-Length.

    Args:
        service: models, cache and limits.
        query_string: raw.
        request_headers: of the request.
        digits: first digits of a model's digest, where the path has them; the response then never changes.

    Raises:
        Problem: the request is wrong, or cannot be answered now.
        ClientDisconnected: no reply can be sent.
    """
    addressed = service.registry.by_digest(digits) if digits else None
    query = parse_query(query_string, service.registry, service.settings, addressed)
    request_headers.name_model(query.entry)
    request = sample_request(service, query, request_headers.accept)
    return await fulfil(service, request, request_headers, is_immutable=digits is not None)


async def fulfil(
    service: Service, request: SampleRequest, request_headers: RequestHeaders, *, is_immutable: bool = False
) -> Reply:
    """Answer a request for samples: 304, headers alone, or a body from the cache, from a computation in flight, or a new one.

    Raises:
        Problem, ClientDisconnected: as ``generate``.
    """
    deadline = request_headers.deadline(service.settings.deadline_seconds)
    headers = _headers(request, is_immutable=is_immutable)
    model = request.entry.model.card.name
    check_if_match(request_headers.if_match, request.etag)
    if request.is_repeatable and matches(request_headers.if_none_match, request.etag):
        return Reply(status=304, headers=headers, cache="not_modified", model=model, server_timing=UNTIMED["not_modified"])
    headers.append(("Content-Type", request.media_type))
    if request_headers.is_head:
        return Reply(status=200, headers=headers, model=model)
    body, cache, timings = await _body(service, request, deadline, request_headers)
    service.metrics.came_from[cache].inc()
    headers.append(("Content-Length", str(len(body))))
    return Reply(
        status=200,
        headers=headers,
        body=body,
        cache=cache,
        model=model,
        server_timing=timings.server_timing() if timings else UNTIMED[cache],
    )


def sample_request(
    service: Service, query: SampleQuery, accept: str | None, picture: NDArray[np.uint8] | None = None
) -> SampleRequest:
    """Return the request for a query's samples, which are made from the picture if there is one.

    Raises:
        Problem: no format suits, or the response would be too large.
    """
    kind = query.model.card.output.kind
    name = choose_format(service.media_types[kind], query.format, accept)
    form = FORMATS[kind][name]
    pixels = check_size(query, name, form, service.settings)
    given = () if query.picture is None else (query.picture,)
    seed = secrets.randbelow(MAX_SEED + 2 - query.n) if query.seed is None else query.seed
    etag = entity_tag(
        query.model, service.fingerprints[kind, name], name, query.overrides, seed, query.n, query.scale, query.columns, *given
    )
    seeds = range(seed, seed + query.n)
    return SampleRequest(
        entry=query.entry,
        sources=seeds if picture is None else [PictureSource(number, picture) for number in seeds],
        overrides=query.overrides,
        format=name,
        media_type=form.media_type,
        encode=partial(encode_sample, form, query, seed),
        is_slow=is_slow(form, pixels),
        etag=etag,
        is_repeatable=query.seed is not None,
        headers=[("X-Seed", str(seed))],
        is_cacheable=picture is None,
    )


async def _body(
    service: Service, request: SampleRequest, deadline: Deadline, request_headers: RequestHeaders
) -> tuple[bytes, str, Timings | None]:
    """Return the body, its cache status, and the timings if it was computed for this request."""
    key = request.etag if request.is_repeatable else None
    if key is not None and (body := service.cache.find(key)) is not None:
        return body, "hit", None
    in_flight = service.coalescer.find(key)
    is_shared = in_flight is not None
    if in_flight is None:
        deadline.check()
        request.entry.batcher.check_room(len(request.sources))  # before any work for a request that is refused
        service.token_bucket.acquire(request_headers.client, len(request.sources), request.charged)
        in_flight = service.coalescer.start(key, partial(produce, service, request))
    if request_headers.context:
        request_headers.context.join(in_flight.timings)
    body = await in_flight.wait(deadline)
    return (body, "coalesced", None) if is_shared else (body, "miss", in_flight.timings)


async def produce(service: Service, request: SampleRequest, timings: Timings) -> bytes:
    """Compute a body: wait for the model's batcher, encode the rows, keep the result.

    Raises:
        QueueFull: the rows are refused, or too many wait to be encoded.
        NonFinite: the model gave NaN or infinity.
    """
    rows = await request.entry.batcher.sample(request.sources, request.overrides, timings)
    if request.is_slow or rows.nbytes > SMALL_ROWS_BYTES:
        service.encoding.check_room(rows.nbytes)
        rows = kept_alone(rows)
        body = await service.encoding.run(partial(_encode, service.metrics, request, rows, timings), rows.nbytes)
    else:
        body = _encode(service.metrics, request, rows, timings)
    if request.is_repeatable:
        service.cache.keep(request.etag, body)
    return body


def problem_reply(problem: Problem) -> Reply:
    """Return the reply with the body of a problem."""
    body = problem.body()
    headers = [
        ("Content-Type", "application/problem+json"),
        ("Cache-Control", "no-store"),
        ("X-Content-Type-Options", "nosniff"),
        ("Vary", "Accept"),
        *problem.headers.items(),
        ("Content-Length", str(len(body))),
    ]
    return Reply(status=problem.status, headers=headers, body=body, cache="")


def _headers(request: SampleRequest, *, is_immutable: bool) -> Headers:
    """A random sample and one of a given picture may not be cached; any other is revalidated unless its model cannot change."""
    is_kept = request.is_repeatable and request.is_cacheable
    cache_control = (IMMUTABLE if is_immutable else "public, no-cache") if is_kept else "no-store"
    return [
        ("ETag", request.etag),
        ("Cache-Control", cache_control),
        ("Vary", "Accept"),
        *request.headers,
        ("X-Model-Digest", request.entry.model.digest),
        ("X-Content-Type-Options", "nosniff"),
    ]


def _encode(metrics: Metrics, request: SampleRequest, rows: Array, timings: Timings) -> bytes:
    check_finite(rows)
    start = time.perf_counter()
    body = request.encode(rows)
    timings.encoding = (start, time.perf_counter())
    metrics.record_encoding(request.format, timings.encoding[1] - start)
    return body
