"""The ASGI application: a fast path that answers requests for samples on the event loop, and Flask, in threads, for the rest.

The fast path sends the same bytes and headers as Flask's view, at a fraction of the cost. ``GAN_FAST_PATH=off`` sends every
request to Flask. Probes have threads of their own, so that they do not wait for other requests.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Coroutine, MutableMapping
from functools import cache, partial
from typing import Any, cast

from a2wsgi import WSGIMiddleware
from flask import Flask

from serving.errors import ClientDisconnected, Problem, QueueFull, RequestTimeout
from serving.generation.generate import Handler, Reply, RequestHeaders, Service, generate, problem_reply
from serving.generation.interpolate import arithmetic, mix, walk
from serving.generation.transform import max_body
from serving.observability.request_context import RequestContext
from serving.observability.request_log import RequestObserver
from serving.oip.requests import body_limit
from serving.oip.routes import error_reply, is_protocol

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


Answer = Callable[[str, RequestHeaders, str | None, Handler], Coroutine[Any, Any, Reply]]
"""Query string, request headers, digest prefix and handler to a reply; raises ``ClientDisconnected`` only."""
Background = Callable[[], Coroutine[Any, Any, None]]

ROUTE = "/generate"
HANDLERS: dict[str, Handler] = {ROUTE: generate, "/walk": walk, "/mix": mix, "/arithmetic": arithmetic}
"""Routes of the fast path and their handlers."""
PROBES = frozenset({"/healthz", "/readyz", "/metrics", "/v2/health/live", "/v2/health/ready"})
"""Routes that monitoring asks for, answered at once also when all threads wait."""
PROBE_THREADS = 2
MAX_BODY_BYTES = 2**26
"""Bytes of all bodies that are received or used, at most."""
TRANSFORM_ROUTE = "/transform"
INFER_ROUTE = "/v2/models/<name>/infer"
INFER_PATH = re.compile(r"/v2/models/[^/]+/infer")
ADDRESSED_ROUTE = "/models/<digest>/generate"
ADDRESSED_PATH = re.compile(r"/models/([^/]+)/generate")
ARRIVED = "serving.arrived"
"""Key of a scope: when the request and its body had arrived, before it waits for a thread."""
CLIENT_DISCONNECTED = 499
"""Status in metrics and log of a request whose client disconnected; never sent."""


class ASGIApp:
    """The whole service as one ASGI application.

    Args:
        flask: Flask application with all routes.
        service: what samples are computed from; it belongs to the event loop that runs this application.
        answer: answers a request for samples.
        threads: number of Flask's threads.
        background: coroutine function that runs from start-up to shutdown.
        observer: counts, logs and traces requests.
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
        self._body_bytes = 0
        """Bytes of all bodies that are received or used."""
        self._wsgi: Any = WSGIMiddleware(cast(Any, flask.wsgi_app), workers=threads)
        self._probes: Any = WSGIMiddleware(cast(Any, flask.wsgi_app), workers=PROBE_THREADS)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._run_lifespan(receive, send)
        elif self._has_fast_path and scope["type"] == "http" and scope["method"] in ("GET", "HEAD"):
            path = scope["path"]
            if handler := HANDLERS.get(path):
                await self._fast_path(path, handler, None, scope, receive, send)
            elif address := ADDRESSED_PATH.fullmatch(path):
                await self._fast_path(ADDRESSED_ROUTE, generate, address[1], scope, receive, send)
            else:
                await self._call_flask(scope, receive, send)
        elif scope["type"] == "http" and scope["method"] == "POST" and is_protocol(scope["path"]):
            await self._with_body(scope, receive, send, self._max_inference())
        elif scope["type"] == "http" and scope["method"] == "POST" and scope["path"] == TRANSFORM_ROUTE:
            await self._with_body(scope, receive, send, max_body(self._service))
        else:
            await self._call_flask(scope, receive, send)

    async def _call_flask(self, scope: Message, receive: Receive, send: Send) -> None:
        # WSGI would take X_Request_Id for X-Request-Id, so that a name that a proxy does not know would pass it.
        if any(b"_" in name for name, _ in scope.get("headers", ())):
            scope["headers"] = [header for header in scope["headers"] if b"_" not in header[0]]
        scope[ARRIVED] = time.perf_counter()
        await (self._probes if scope["path"] in PROBES else self._wsgi)(scope, receive, send)

    async def _fast_path(
        self, route: str, handler: Handler, digest: str | None, scope: Message, receive: Receive, send: Send
    ) -> None:
        request_headers, context = _read_scope(scope, receive)
        self.observer.begin(context)
        try:
            reply = await self._answer(scope["query_string"].decode("latin-1"), request_headers, digest, handler)
        except ClientDisconnected:
            self._service.metrics.cancelled.inc()
            self.observer.end(context, route, CLIENT_DISCONNECTED, 0)
            return
        body = b"" if context.method == "HEAD" else reply.body
        headers = [(_header_name(name), value.encode("latin-1")) for name, value in reply.headers]
        if reply.server_timing:
            headers.append((b"server-timing", reply.server_timing.encode("latin-1")))
        headers.append((b"x-request-id", context.id.encode("latin-1")))
        # Count before sending: a client that has its response must find it in the metrics.
        self.observer.end(context, route, reply.status, len(body), cache=reply.cache, model=reply.model)
        await send({"type": "http.response.start", "status": reply.status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def _max_inference(self) -> int:
        """Bytes of an inference request, at most, for any model in service."""
        settings = self._service.settings
        return max(body_limit(entry.model, settings.max_images) for entry in self._service.registry.values())

    async def _with_body(self, scope: Message, receive: Receive, send: Send, limit: int) -> None:
        """Call Flask with a body that was read on the event loop, up to the size limit, so that no thread waits for its client.

        All bodies together are limited, too: a thousand clients could send that many of the largest ones at once.
        """
        length = dict(scope["headers"]).get(b"content-length")
        if length is not None and (not length.isdigit() or int(length) > limit):
            return await self._call_flask(scope, receive, send)  # the view refuses it by its header, unread
        body, counted, has_more = bytearray(), 0, True
        seconds = self._service.settings.deadline_seconds
        problem: Problem | None = None
        try:
            try:
                async with asyncio.timeout(seconds):
                    while has_more and len(body) <= limit and not problem:
                        message = await receive()
                        if message["type"] == "http.disconnect":
                            break  # the view refuses a body that is shorter than its length
                        body += message.get("body", b"")
                        has_more = message.get("more_body", False)
                        self._body_bytes += len(body) - counted
                        counted = len(body)
                        if self._body_bytes > MAX_BODY_BYTES:
                            problem = QueueFull(MAX_BODY_BYTES, "bytes of bodies are held")
            except TimeoutError:
                problem = RequestTimeout(seconds, "the body")
            if problem:
                return await self._refuse(scope, receive, problem, send)
            if has_more and len(body) <= limit and length is None:
                body.clear()  # a part of a chunked body may look whole
            return await self._call_flask(scope, _replay(bytes(body), receive), send)
        finally:
            self._body_bytes -= counted

    async def _refuse(self, scope: Message, receive: Receive, problem: Problem, send: Send) -> None:
        """Answer a request whose body is not read to its end."""
        self._service.metrics.record_refusal(problem)
        reply = error_reply(problem) if is_protocol(scope["path"]) else problem_reply(problem)
        _, context = _read_scope(scope, receive)
        self.observer.begin(context)
        path = scope["path"]
        route = TRANSFORM_ROUTE if path == TRANSFORM_ROUTE else INFER_ROUTE if INFER_PATH.fullmatch(path) else "none"
        self.observer.end(context, route, reply.status, len(reply.body))
        headers = [(_header_name(name), value.encode("latin-1")) for name, value in reply.headers]
        headers += [(b"x-request-id", context.id.encode("latin-1")), (b"connection", b"close")]
        await send({"type": "http.response.start", "status": reply.status, "headers": headers})
        await send({"type": "http.response.body", "body": reply.body})

    async def _run_lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        self._service.portal.attach(asyncio.get_running_loop())
        background = asyncio.get_running_loop().create_task(self._background())
        await send({"type": "lifespan.startup.complete"})
        await receive()
        background.cancel()
        await send({"type": "lifespan.shutdown.complete"})


@cache
def _header_name(name: str) -> bytes:
    """A header name as ASGI requires it; cached, since only a dozen names of our own occur."""
    return name.lower().encode("latin-1")


def _replay(body: bytes, receive: Receive) -> Receive:
    """A ``receive`` that returns the buffered body as one message, then continues with the original."""
    messages = iter([{"type": "http.request", "body": body, "more_body": False}])

    async def replay() -> Message:
        for message in messages:
            return message
        return await receive()

    return replay


READ_HEADERS = frozenset(
    {b"accept", b"if-match", b"if-none-match", b"x-request-timeout-ms", b"x-request-id", b"traceparent", b"tracestate"}
)
"""Names of the headers that the fast path reads."""


def _read_scope(scope: Message, receive: Receive) -> tuple[RequestHeaders, RequestContext]:
    """The headers and the context of a request; repeated headers are joined by commas, as in WSGI."""
    found: dict[bytes, str] = {}
    for name, value in scope["headers"]:
        if name in READ_HEADERS:
            text = value.decode("latin-1")
            found[name] = f"{found[name]},{text}" if name in found else text
    context = RequestContext(
        scope["method"], target_of(scope), found.get(b"x-request-id"), found.get(b"traceparent"), found.get(b"tracestate")
    )
    request_headers = RequestHeaders(
        accept=found.get(b"accept"),
        if_match=found.get(b"if-match"),
        if_none_match=found.get(b"if-none-match"),
        timeout_ms=found.get(b"x-request-timeout-ms"),
        is_head=scope["method"] == "HEAD",
        client=scope["client"][0] if scope.get("client") else None,
        until_disconnected=partial(until_disconnected, receive),
        context=context,
    )
    return request_headers, context


def target_of(scope: Message) -> str:
    """The request target (path and query) as sent."""
    path: bytes = scope.get("raw_path") or scope["path"].encode()  # raw_path is optional in ASGI
    query: bytes = scope["query_string"]
    return (path + b"?" + query if query else path).decode("latin-1")


async def until_disconnected(receive: Receive, is_waiting: Callable[[], bool]) -> None:
    """Return when the client has closed its connection, or its writing half while its request still waits for the model.

    A client that has left and one that still reads its response look the same, as long as nothing is sent to them.
    """
    has_more_body = True
    while (message := await receive())["type"] != "http.disconnect":
        if not has_more_body and is_waiting():  # a message after the body: see HttpProtocol.eof_received
            return
        has_more_body = message.get("more_body", False)
