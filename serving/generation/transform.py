"""``POST /transform``: a model that changes pictures, applied to the PNG in the body."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import replace
from functools import partial

from serving.encoding.pictures import body_limit, read_picture
from serving.errors import ContentTooLarge, DeadlineExceeded
from serving.generation.generate import Reply, RequestHeaders, Service, fulfil, sample_request
from serving.generation.parameters import TRANSFORM
from serving.generation.query import parse_query


def max_body(service: Service) -> int:
    """Return the bytes of a body, at most, for any model in service."""
    return max(body_limit(entry.model.card.picture) for entry in service.registry.values())


async def transform(service: Service, query_string: str, request_headers: RequestHeaders, body: bytes) -> Reply:
    """Answer ``/transform``.

    The same query and picture have the same body as long as model, runtime and encoder are the same; two PNGs with the same
    pixels at the model's size are the same picture.

    A client is charged a token when its picture is decoded, also if it is damaged or the answer is kept, and the rest of n
    when the answer is computed.

    Args:
        service: models, cache and limits.
        query_string: raw.
        request_headers: of the request.
        body: the PNG.

    Raises:
        Problem: the query or the picture is wrong, or the request cannot be answered now.
        ClientDisconnected: no reply can be sent.
    """
    query = parse_query(query_string, service.registry, service.settings, route=TRANSFORM)
    request_headers.name_model(query.entry)
    declared = query.model.card.picture
    assert declared is not None
    if len(body) > body_limit(declared):
        raise ContentTooLarge(body_limit(declared))
    deadline = request_headers.deadline(service.settings.deadline_seconds)
    deadline.check()
    query.entry.batcher.check_room(query.n)  # before any work, and before the charge
    service.decoding.check_room(1)
    service.token_bucket.acquire(request_headers.client, 1)
    try:
        async with asyncio.timeout(deadline.remaining()):
            pixels = await service.decoding.run(partial(read_picture, body, declared), 1)
    except TimeoutError:
        raise DeadlineExceeded(deadline.seconds) from None
    query = replace(query, picture=hashlib.sha256(pixels.tobytes()).hexdigest())
    request = sample_request(service, query, request_headers.accept, pixels)._replace(charged=1)
    return await fulfil(service, request, request_headers)
