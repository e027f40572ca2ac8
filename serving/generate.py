"""``/generate`` as one function: a query string and a few headers in, status, headers and bytes out."""

from __future__ import annotations

import hashlib
import re
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from contract import MAX_SEED
from serving.bridge import Bridge
from serving.cache import Cache
from serving.encoders import FORMATS, Sample, picture_pixels
from serving.errors import BadParameter, NonFinite, Problem
from serving.flights import Flight, Flights, Land, Patience
from serving.metrics import Metrics
from serving.negotiation import choose_format, matches
from serving.parameters import Wanted, parse_query
from serving.registry import Registry
from serving.runtime import Array
from serving.settings import Settings

Headers = list[tuple[str, str]]

MILLISECONDS = re.compile(r"[1-9][0-9]{0,8}", re.ASCII)
IMMUTABLE = "public, max-age=31536000, immutable"


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """The request's method and headers, as far as they change the answer."""

    accept: str | None = None
    if_none_match: str | None = None
    timeout_ms: str | None = None
    """``X-Request-Timeout-Ms``."""
    is_head: bool = False
    until_gone: Callable[[], Awaitable[None]] | None = None
    """Returns when the client is gone; None where that cannot be known."""


@dataclass(frozen=True, kw_only=True)
class Reply:
    """An answer, whole."""

    status: int
    headers: Headers
    body: bytes = b""
    cache: str = "miss"
    """Where it came from, for the metrics: ``hit``, ``miss``, ``coalesced`` or ``not_modified``."""


@dataclass(frozen=True, kw_only=True)
class Service:
    """What ``generate`` answers from; everything but the settings is used on one event loop."""

    settings: Settings
    registry: Registry
    fingerprints: Mapping[tuple[str, str], str]
    """By kind and format, the encoder's."""
    metrics: Metrics
    cache: Cache
    flights: Flights
    threads: ThreadPoolExecutor
    """Where large answers are encoded and models are loaded."""
    bridge: Bridge = field(default_factory=Bridge)
    media_types: Mapping[str, Mapping[str, str]] = field(
        default_factory=lambda: {kind: {name: f.media_type for name, f in formats.items()} for kind, formats in FORMATS.items()}
    )


async def generate(service: Service, query: str, conditions: Conditions, digits: str | None = None) -> Reply:
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
    wanted = parse_query(query, service.registry, service.settings, service.registry.by_digest(digits) if digits else None)
    kind = wanted.model.card.output.kind
    name = choose_format(service.media_types[kind], wanted.format, conditions.accept)
    _check_picture(wanted, name, service.settings)
    seed = secrets.randbelow(MAX_SEED + 2 - wanted.n) if wanted.seed is None else wanted.seed
    patience = Patience(waiting_seconds(conditions.timeout_ms, service.settings.deadline_seconds), conditions.until_gone)
    etag = entity_tag(wanted, seed, name, service.fingerprints[kind, name])
    headers = _headers(wanted, seed, etag, is_immutable=digits is not None)
    if wanted.seed is not None and matches(conditions.if_none_match, etag):
        return Reply(status=304, headers=headers, cache="not_modified")
    headers.append(("Content-Type", service.media_types[kind][name]))
    if conditions.is_head:
        return Reply(status=200, headers=headers)
    body, came_from = await _body(service, wanted, seed, name, etag, patience)
    service.metrics.came_from[came_from].inc()
    headers.append(("Content-Length", str(len(body))))
    return Reply(status=200, headers=headers, body=body, cache=came_from)


async def _body(service: Service, wanted: Wanted, seed: int, name: str, etag: str, patience: Patience) -> tuple[bytes, str]:
    """The answer's bytes, and where they came from."""
    key = etag if wanted.seed is not None else None
    if key is not None:
        kept = service.cache.find(key)
        if kept is not None:
            return kept, "hit"
        flight = service.flights.find(key)
        if flight is not None:
            return await flight.wait(patience), "coalesced"
    flight = service.flights.launch(key, partial(_make, service, wanted, seed, name))
    return await flight.wait(patience), "miss"


def _make(service: Service, wanted: Wanted, seed: int, name: str, land: Land) -> Flight:
    return Flight(
        range(seed, seed + wanted.n), wanted.given, batcher=wanted.served.batcher, max_batch=service.settings.max_batch,
        encode=partial(_encode, service.metrics, wanted, seed, name), land=land, threads=service.threads,
    )  # fmt: skip


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


def entity_tag(wanted: Wanted, seed: int, name: str, encoder: str) -> str:
    """The strong entity tag, known before any inference."""
    parts = (wanted.model.fingerprint, encoder, name, seed, wanted.n, wanted.scale, *wanted.given.items())
    return f'"{hashlib.sha256(repr(parts).encode()).hexdigest()[:32]}"'


def problem_reply(problem: Problem) -> Reply:
    """The answer that tells of a problem."""
    body = problem.body()
    headers = [
        ("Content-Type", "application/problem+json"), ("Cache-Control", "no-store"), ("X-Content-Type-Options", "nosniff"),
        ("Vary", "Accept"), *problem.headers.items(), ("Content-Length", str(len(body))),
    ]  # fmt: skip
    return Reply(status=problem.status, headers=headers, body=body)


def _check_picture(wanted: Wanted, name: str, settings: Settings) -> None:
    output = wanted.model.card.output
    if not FORMATS[output.kind][name].is_picture:
        if wanted.scale != 1:
            raise BadParameter("scale", str(wanted.scale), f"1 for {name}; pictures only can be enlarged")
        return
    pixels = picture_pixels(output, wanted.n, wanted.scale)
    if pixels > settings.max_pixels:
        blame = "scale" if wanted.scale > 1 else "n"
        value = str(wanted.scale if wanted.scale > 1 else wanted.n)
        raise BadParameter(blame, value, f"so small that the picture has at most {settings.max_pixels} pixels, not {pixels}")


def _headers(wanted: Wanted, seed: int, etag: str, *, is_immutable: bool) -> Headers:
    """Any seed's answer is not kept; a named seed's is, and is asked again unless the model cannot change."""
    kept = IMMUTABLE if is_immutable else "public, no-cache"
    return [
        ("ETag", etag), ("Cache-Control", "no-store" if wanted.seed is None else kept), ("Vary", "Accept"),
        ("X-Seed", str(seed)), ("X-Model-Digest", wanted.model.digest), ("X-Content-Type-Options", "nosniff"),
    ]  # fmt: skip


def _encode(metrics: Metrics, wanted: Wanted, seed: int, name: str, rows: Array) -> bytes:
    if rows.dtype.kind == "f" and not np.isfinite(rows).all():
        raise NonFinite("the generator gave NaN or infinity for this request")
    model = wanted.model
    sample = Sample(
        output=model.card.output, rows=rows, model=model.card.name, digest=model.digest, runtime=model.runtime,
        seed=seed, scale=wanted.scale, given=wanted.given,
    )  # fmt: skip
    start = time.perf_counter()
    body = FORMATS[sample.output.kind][name].encode(sample)
    metrics.record_encoding(name, time.perf_counter() - start)
    return body
