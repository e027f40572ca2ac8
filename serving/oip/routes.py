"""The Open Inference Protocol, version 2, over HTTP (KServe, Triton, MLServer): health, metadata and inference in JSON.

Every response below ``/v2`` is the protocol's, errors too (``{"error": "...", "code": "..."}``). Inferences go through the
model's batcher like any sample, and the rows of a seed are those of ``/generate``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from functools import partial
from importlib.metadata import version
from typing import Protocol

from flask import Response, request

from contract import Array, Image
from serving.encoding.formats import json_rows, picture_pixels
from serving.engine.registry import ModelEntry
from serving.engine.samples import check_finite
from serving.errors import BadInference, ContentTooLarge, EngineLost, Problem, ShuttingDown, shown
from serving.errors import UnsupportedMediaType as Unsupported
from serving.generation.coalescing import InFlight
from serving.generation.encoding import kept_alone
from serving.generation.generate import SMALL_ROWS_BYTES, Reply, RequestHeaders, Service
from serving.model.load import ModelFacts
from serving.observability.timings import Timings
from serving.oip.requests import DATATYPES, Inference, body_limit, read_inference, tensors_of

PLATFORM = "onnxruntime_onnx"
JSON_BODY = re.compile(r'application/json(?:\s*;\s*charset="?utf-8"?)?', re.ASCII | re.IGNORECASE)


class Parts(Protocol):
    """What the views use."""

    @property
    def service(self) -> Service:
        """Models, cache and limits."""

    @property
    def is_draining(self) -> Callable[[], bool]:
        """Whether the process is about to stop."""


def is_protocol(path: str) -> bool:
    """Whether a path belongs to the protocol."""
    return path == "/v2" or path.startswith("/v2/")


def error_reply(problem: Problem) -> Reply:
    """Return the protocol's reply to a problem."""
    return _reply({"error": problem.detail, "code": problem.code}, problem.status, list(problem.headers.items()))


def _reply(value: object, status: int = 200, headers: list[tuple[str, str]] | None = None) -> Reply:
    return _reply_of(json.dumps(value, separators=(",", ":")).encode() + b"\n", status, headers)


def _reply_of(body: bytes, status: int, headers: list[tuple[str, str]] | None) -> Reply:
    first = [("Content-Type", "application/json"), ("Cache-Control", "no-store"), ("X-Content-Type-Options", "nosniff")]
    return Reply(status=status, headers=[*first, *(headers or []), ("Content-Length", str(len(body)))], body=body)


def _response(value: object) -> Response:
    reply = _reply(value)
    return Response(reply.body, reply.status, reply.headers)


def show_server(parts: Parts) -> Response:
    """Name, version and extensions of the server."""
    return _response({"name": "gan-serve", "version": version("gan-serve"), "extensions": []})


def show_live(parts: Parts) -> Response:
    """Liveness of the server."""
    return _response({"live": True})


def show_ready(parts: Parts) -> Response:
    """Readiness of the server."""
    _check_ready(parts, parts.service.registry.values())
    return _response({"live": True, "ready": True})


def show_model_metadata(parts: Parts, name: str) -> Response:
    """Input and output tensors of a model."""
    inputs, outputs = tensors_of(parts.service.registry.by_name(name).model)
    return _response({"name": name, "platform": PLATFORM, "inputs": inputs, "outputs": outputs})


def show_model_ready(parts: Parts, name: str) -> Response:
    """Readiness of a model."""
    _check_ready(parts, [parts.service.registry.by_name(name)])
    return _response({"name": name, "ready": True})


def show_inference(parts: Parts, name: str) -> Response:
    """Samples of seeds or of latents."""
    service = parts.service
    entry = service.registry.by_name(name)
    request_headers = RequestHeaders(
        timeout_ms=request.headers.get("X-Request-Timeout-Ms"),
        client=request.remote_addr,
        until_disconnected=request.environ["serving.until_disconnected"],
        context=request.environ["serving.context"],
    )
    request_headers.name_model(entry)
    body = _read_json_body(body_limit(entry.model, service.settings.max_images))
    inference = read_inference(body, entry.model, service.settings.max_images)
    _check_pixels(entry.model, len(inference.sources), service.settings.max_pixels)
    answer = service.portal.run(infer(service, entry, inference, request_headers))
    reply = _reply_of(answer, 200, [("X-Model-Digest", entry.model.digest)])
    request.environ["serving.model"] = name
    return Response(reply.body, reply.status, reply.headers)


def _check_pixels(model: ModelFacts, rows: int, most: int) -> None:
    output = model.card.output
    pixels = rows * picture_pixels(output, 1, 1) if isinstance(output, Image) else 0
    if pixels > most:
        raise BadInference(f"an answer must have at most {most} pixels, not {pixels}: ask for fewer samples")


def _check_ready(parts: Parts, entries: Iterable[ModelEntry]) -> None:
    if parts.is_draining() or parts.service.watchdog.is_failing:
        raise ShuttingDown()
    if any(entry.is_lost for entry in entries):
        raise EngineLost()


def _read_json_body(limit: int) -> bytes:
    if "Inference-Header-Content-Length" in request.headers:
        raise Unsupported("tensors must be JSON; the extension for binary ones is not spoken")
    return read_body(limit, "application/json", JSON_BODY, BadInference)


def read_body(limit: int, media_type: str, pattern: re.Pattern[str], cut_short: type[Problem]) -> bytes:
    """Return the request's body; at most ``limit`` bytes are read.

    Args:
        limit: bytes, at most.
        media_type: the right ``Content-Type``, for the message.
        pattern: matches every right ``Content-Type``; an absent one is right too.
        cut_short: the problem of a body that ends early.

    Raises:
        UnsupportedMediaType: it is of another type, or compressed.
        ContentTooLarge: it is larger.
        Problem: ``cut_short``.
    """
    encoding, kind = request.headers.get("Content-Encoding"), request.headers.get("Content-Type")
    if encoding is not None:
        raise Unsupported(f"Content-Encoding must be absent, got {shown(encoding)}")
    if kind is not None and not pattern.fullmatch(kind):
        raise Unsupported(f"Content-Type must be {media_type}, got {shown(kind)}")
    length = request.content_length
    if length is not None and length > limit:
        raise ContentTooLarge(limit)
    body: bytes = request.environ["wsgi.input"].read(limit + 1 if length is None else length)  # chunked ones have no length
    if len(body) > limit:
        raise ContentTooLarge(limit)
    if length is not None and len(body) < length:
        raise cut_short(f"the body ended after {len(body)} of {length} bytes")
    return body


async def infer(service: Service, entry: ModelEntry, inference: Inference, request_headers: RequestHeaders) -> bytes:
    """Return the body of the response to an inference request; called on the service's event loop.

    Raises:
        Problem: they are refused, or not there in time.
    """
    deadline = request_headers.deadline(service.settings.deadline_seconds)
    try:
        deadline.check()
        entry.batcher.check_room(len(inference.sources))  # a request that is refused costs no share
        service.token_bucket.acquire(request_headers.client, len(inference.sources))
        in_flight = InFlight(partial(_compute, service, entry, inference))
        if request_headers.context:
            request_headers.context.join(in_flight.timings)
        return await in_flight.wait(deadline)
    except Problem as problem:
        service.metrics.record_refusal(problem)
        raise


async def _compute(service: Service, entry: ModelEntry, inference: Inference, timings: Timings) -> bytes:
    rows = await entry.batcher.sample(inference.sources, inference.overrides, timings)
    check_finite(rows)
    if rows.nbytes <= SMALL_ROWS_BYTES:
        return encode_rows(entry.model, inference, rows)
    service.encoding.check_room(rows.nbytes)
    rows = kept_alone(rows)
    return await service.encoding.run(partial(encode_rows, entry.model, inference, rows), rows.nbytes)


def encode_rows(model: ModelFacts, inference: Inference, rows: Array) -> bytes:
    """Return the body of the protocol's response, its tensor in row-major order."""
    output = model.card.output
    tensor = {"name": output.kind, "datatype": DATATYPES[output.dtype], "shape": list(rows.shape)}
    named = {} if inference.id is None else {"id": inference.id}
    head = json.dumps({"model_name": model.card.name, **named, "outputs": [tensor]}, separators=(",", ":"))
    numbers = [piece.strip(b"[]") for piece in json_rows(rows.reshape(len(rows), -1))]
    return b"".join([head.removesuffix("}]}").encode(), b',"data":[', *numbers, b"]}]}\n"])
