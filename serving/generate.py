"""``/generate`` as one pure function: a query string and conditional headers in, status, headers and bytes out."""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from contract import MAX_SEED
from serving.batcher import Batcher
from serving.encoders import FORMATS, Sample, picture_pixels
from serving.errors import BadParameter, NonFinite, Problem
from serving.metrics import Metrics
from serving.models import Model
from serving.negotiation import choose_format, matches
from serving.parameters import Wanted, parse_query
from serving.runtime import Array
from serving.settings import Settings

Headers = list[tuple[str, str]]


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """The request's method and headers, as far as they change the answer."""

    accept: str | None = None
    if_none_match: str | None = None
    is_head: bool = False


@dataclass(frozen=True, kw_only=True)
class Reply:
    """An answer, whole."""

    status: int
    headers: Headers
    body: bytes = b""
    cache: str = "miss"
    """Where it came from, for the metrics: ``miss`` or ``not_modified``."""


@dataclass(frozen=True, kw_only=True)
class Service:
    """What ``generate`` answers from."""

    settings: Settings
    models: Mapping[str, Model]
    batchers: Mapping[str, Batcher]
    fingerprints: Mapping[tuple[str, str], str]
    """By kind and format, the encoder's."""
    metrics: Metrics
    media_types: Mapping[str, Mapping[str, str]] = field(
        default_factory=lambda: {kind: {name: f.media_type for name, f in formats.items()} for kind, formats in FORMATS.items()}
    )


def generate(service: Service, query: str, conditions: Conditions) -> Reply:
    """Answer a request for samples.

    The same query gives the same bytes for as long as the model, the runtime and the encoder are the same, which is what the
    entity tag says. 304 and HEAD run no inference; HEAD therefore has no Content-Length.

    Raises:
        Problem: the request is wrong, or cannot be answered now.
    """
    wanted = parse_query(query, service.models, service.settings)
    kind = wanted.model.card.output.kind
    name = choose_format(service.media_types[kind], wanted.format, conditions.accept)
    _check_picture(wanted, name, service.settings)
    seed = secrets.randbelow(MAX_SEED + 2 - wanted.n) if wanted.seed is None else wanted.seed
    etag = entity_tag(wanted, seed, name, service.fingerprints[kind, name])
    headers = _headers(wanted, seed, etag)
    if wanted.seed is not None and matches(conditions.if_none_match, etag):
        return Reply(status=304, headers=headers, cache="not_modified")
    headers.append(("Content-Type", service.media_types[kind][name]))
    if conditions.is_head:
        return Reply(status=200, headers=headers)
    body = _encode(service, name, _sample(service, wanted, seed))
    headers.append(("Content-Length", str(len(body))))
    return Reply(status=200, headers=headers, body=body)


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


def _headers(wanted: Wanted, seed: int, etag: str) -> Headers:
    """Any seed's answer is not kept; a named seed's answer is kept, and asked again whether the model is still the same."""
    return [
        ("ETag", etag), ("Cache-Control", "no-store" if wanted.seed is None else "public, no-cache"), ("Vary", "Accept"),
        ("X-Seed", str(seed)), ("X-Model-Digest", wanted.model.digest), ("X-Content-Type-Options", "nosniff"),
    ]  # fmt: skip


def _sample(service: Service, wanted: Wanted, seed: int) -> Sample:
    model = wanted.model
    rows = _rows(service, wanted, range(seed, seed + wanted.n))
    if rows.dtype.kind == "f" and not np.isfinite(rows).all():
        raise NonFinite("the generator gave NaN or infinity for this request")
    return Sample(
        output=model.card.output, rows=rows, model=model.card.name, digest=model.digest, runtime=model.runtime,
        seed=seed, scale=wanted.scale, given=wanted.given,
    )  # fmt: skip


def _rows(service: Service, wanted: Wanted, seeds: range) -> Array:
    """The outputs, a batch at a time, so that a large request lets others in between."""
    submit, size = service.batchers[wanted.model.card.name].submit, service.settings.max_batch
    if len(seeds) <= size:
        return submit(seeds, wanted.given)
    return np.concatenate([submit(seeds[i : i + size], wanted.given) for i in range(0, len(seeds), size)])


def _encode(service: Service, name: str, sample: Sample) -> bytes:
    start = time.perf_counter()
    body = FORMATS[sample.output.kind][name].encode(sample)
    service.metrics.record_encoding(name, time.perf_counter() - start)
    return body
