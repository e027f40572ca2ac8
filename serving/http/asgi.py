"""The ASGI application: a fast path that answers samples on the event loop, and Flask, in threads, for every other route.

The fast path sends the same bytes and headers as Flask's view, at a fraction of the cost. ``GAN_FAST_PATH=off`` sends every
request to Flask.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Coroutine, MutableMapping
from functools import cache
from typing import Any, Protocol, cast

from a2wsgi import WSGIMiddleware
from flask import Flask

from serving.errors import ClientDisconnected
from serving.generation.generate import Handler, Reply, RequestHeaders, Service, generate
from serving.observability.request_context import RequestContext
from serving.observability.request_log import RequestObserver
from serving.oip.requests import body_limit
from serving.oip.routes import is_protocol

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class Answer(Protocol):
    """Query string, conditions, digest's digits, and what the route does, to a reply; raises ``ClientGone`` only."""

    def __call__(
        self, query: str, request_headers: RequestHeaders, digits: str | None = None, make: Handler = generate
    ) -> Coroutine[Any, Any, Reply]:
        """The reply."""


Background = Callable[[], Coroutine[Any, Any, None]]

ROUTE = "/generate"
ADDRESSED_ROUTE = "/models/<digest>/generate"
ADDRESSED = re.compile(r"/models/([^/]+)/generate")
CLIENT_DISCONNECTED = 499
"""Counted, never sent: nobody is there to read it."""


class ASGIApp:
    """The whole service as one ASGI application.

    Args:
        flask: every route.
        service: what the samples come from; it lives on the loop that this application runs on.
        answer: query string, conditions and digest to a reply; raises ``ClientGone`` only.
        threads: that Flask may use.
        background: runs beside the requests from start-up to shutdown.
        reception: where requests begin and end.
    """

    def __init__(
        self, flask: Flask, service: Service, answer: Answer, threads: int, background: Background, observer: RequestObserver
    ) -> None:
        self.flask = flask
        self.observer = observer
        self._background = background
        self._service = service
        self._answer = answer
        self._has_fast_path = service.settings.fast_path
        self._behind: Any = WSGIMiddleware(cast(Any, flask.wsgi_app), workers=threads)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif self._has_fast_path and scope["type"] == "http" and scope["method"] in ("GET", "HEAD"):
            path = scope["path"]
            if path == ROUTE:
                await self._fast_path(ROUTE, None, scope, receive, send)
            elif address := ADDRESSED.fullmatch(path):
                await self._fast_path(ADDRESSED_ROUTE, address[1], scope, receive, send)
            else:
                await self._behind(scope, receive, send)
        elif scope["type"] == "http" and scope["method"] == "POST" and is_protocol(scope["path"]):
            await self._behind(scope, await self._with_body(scope, receive), send)
        else:
            await self._behind(scope, receive, send)

    async def _fast_path(self, route: str, digits: str | None, scope: Message, receive: Receive, send: Send) -> None:
        request_headers, context = _arrive(scope, receive)
        self.observer.begin(context)
        try:
            reply = await self._answer(scope["query_string"].decode("latin-1"), request_headers, digits)
        except ClientDisconnected:
            self._service.metrics.cancelled.inc()
            self.observer.end(context, route, CLIENT_DISCONNECTED, 0)
            return
        body = b"" if context.method == "HEAD" else reply.body
        headers = [(_field(name), value.encode("latin-1")) for name, value in reply.headers]
        if reply.server_timing:
            headers.append((b"server-timing", reply.server_timing.encode("latin-1")))
        headers.append((b"x-request-id", context.id.encode("latin-1")))
        # Counted before it is sent: whoever has an answer finds it in the metrics.
        self.observer.end(context, route, reply.status, len(body), cache=reply.cache, model=reply.model)
        await send({"type": "http.response.start", "status": reply.status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _with_body(self, scope: Message, receive: Receive) -> Receive:
        """The request with its body read here, as far as one may be of use: a thread never waits for a slow client."""
        settings = self._service.settings
        limit = max(body_limit(entry.model, settings.max_images) for entry in self._service.registry.values())
        length = dict(scope["headers"]).get(b"content-length", b"0")
        if not length.isdigit() or int(length) > limit:
            return receive  # refused by its header, unread
        body, has_more = bytearray(), True
        try:
            async with asyncio.timeout(settings.deadline_seconds):
                while has_more and len(body) <= limit:
                    message = await receive()
                    body += message.get("body", b"")
                    has_more = message.get("more_body", False)
        except TimeoutError:
            pass  # a body that has not come is one that ended early
        return _replay(bytes(body), receive)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        self._service.portal.attach(asyncio.get_running_loop())
        background = asyncio.get_running_loop().create_task(self._background())
        await send({"type": "lifespan.startup.complete"})
        await receive()
        background.cancel()
        await send({"type": "lifespan.shutdown.complete"})


@cache
def _field(name: str) -> bytes:
    """A header's name as ASGI has it; there are a dozen, all our own."""
    return name.lower().encode("latin-1")


def _replay(body: bytes, receive: Receive) -> Receive:
    """A body that is there already, as one message before whatever else comes."""
    messages = iter([{"type": "http.request", "body": body, "more_body": False}])

    async def replay() -> Message:
        for message in messages:
            return message
        return await receive()

    return replay


HEARD = frozenset({b"accept", b"if-none-match", b"x-request-timeout-ms", b"x-request-id", b"traceparent", b"tracestate"})
"""Headers that mean something to the lane."""


def _arrive(scope: Message, receive: Receive) -> tuple[RequestHeaders, RequestContext]:
    """What changes a request's answer, and what is told of it. A header that stands several times is a list, as in WSGI."""
    found: dict[bytes, str] = {}
    for name, value in scope["headers"]:
        if name in HEARD:
            text = value.decode("latin-1")
            found[name] = f"{found[name]},{text}" if name in found else text
    context = RequestContext(
        scope["method"], target_of(scope), found.get(b"x-request-id"), found.get(b"traceparent"), found.get(b"tracestate")
    )
    request_headers = RequestHeaders(
        accept=found.get(b"accept"),
        if_none_match=found.get(b"if-none-match"),
        timeout_ms=found.get(b"x-request-timeout-ms"),
        is_head=scope["method"] == "HEAD",
        client=scope["client"][0] if scope.get("client") else None,
        until_disconnected=lambda: _until_disconnected(receive),
        context=context,
    )
    return request_headers, context


def target_of(scope: Message) -> str:
    """Path and query as they were sent."""
    path: bytes = scope.get("raw_path") or scope["path"].encode()  # not every server of ASGI says the raw one
    query: bytes = scope["query_string"]
    return (path + b"?" + query if query else path).decode("latin-1")


async def _until_disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
