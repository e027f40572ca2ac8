"""The ASGI application: a fast path that answers requests for samples on the event loop, and Flask, in threads, for the rest.

The fast path sends the same bytes and headers as Flask's view, at a fraction of the cost. ``GAN_FAST_PATH=off`` sends every
request to Flask. Probes have threads of their own, so that they do not wait for other requests.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Coroutine
from functools import cache, partial
from typing import Any, cast

from a2wsgi import WSGIMiddleware
from flask import Flask

from serving.errors import ClientDisconnected, Problem, QueueFull, RequestTimeout
from serving.generation.generate import Handler, Reply, RequestHeaders, Service, generate, problem_reply
from serving.generation.interpolate import arithmetic, mix, walk
from serving.generation.transform import max_body
from serving.http.scope import (
    ARRIVED,
    CLIENT_DISCONNECTED,
    REFUSED,
    UNTIL_DISCONNECTED,
    Message,
    Receive,
    Send,
    read_scope,
    until_disconnected,
)
from serving.observability.request_log import RequestObserver
from serving.oip.requests import body_limit
from serving.oip.routes import error_reply, is_protocol

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
DISCONNECTED = Reply(status=CLIENT_DISCONNECTED, headers=[], cache="")


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
        if REFUSED in scope:
            await self._refuse(scope, receive, scope[REFUSED], send)
            return
        # WSGI would take X_Request_Id for X-Request-Id, so that a name that a proxy does not know would pass it.
        if any(b"_" in name for name, _ in scope.get("headers", ())):
            scope["headers"] = [header for header in scope["headers"] if b"_" not in header[0]]
        scope[ARRIVED] = time.perf_counter()
        await (self._probes if scope["path"] in PROBES else self._wsgi)(scope, receive, send)

    async def _fast_path(
        self, route: str, handler: Handler, digest: str | None, scope: Message, receive: Receive, send: Send
    ) -> None:
        request_headers, context = read_scope(scope, receive)
        self.observer.begin(context)
        try:
            reply = await self._answer(scope["query_string"].decode("latin-1"), request_headers, digest, handler)
        except ClientDisconnected:
            if REFUSED not in scope:
                self._service.metrics.cancelled.inc()
            reply = DISCONNECTED
        if REFUSED in scope:
            reply = problem_reply(scope[REFUSED])
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
                            self._service.metrics.cancelled.inc()
                            return await self._end(scope, receive, DISCONNECTED, send)
                        body += message.get("body", b"")
                        has_more = message.get("more_body", False)
                        self._body_bytes += len(body) - counted
                        counted = len(body)
                        if self._body_bytes > MAX_BODY_BYTES:
                            problem = QueueFull(MAX_BODY_BYTES, "bytes of bodies are held")
                        problem = scope.get(REFUSED, problem)
            except TimeoutError:
                problem = RequestTimeout(seconds, "the body")
            if problem:
                return await self._refuse(scope, receive, problem, send)
            scope[UNTIL_DISCONNECTED] = partial(until_disconnected, scope, receive)
            return await self._call_flask(scope, _replay(bytes(body), receive), send)
        finally:
            scope.pop(UNTIL_DISCONNECTED, None)  # with the scope inside it would be a cycle
            self._body_bytes -= counted

    async def _refuse(self, scope: Message, receive: Receive, problem: Problem, send: Send) -> None:
        """Answer a request whose body is not read to its end with a problem."""
        self._service.metrics.record_refusal(problem)
        await self._end(scope, receive, error_reply(problem) if is_protocol(scope["path"]) else problem_reply(problem), send)

    async def _end(self, scope: Message, receive: Receive, reply: Reply, send: Send) -> None:
        """Answer a request without Flask, and close its connection."""
        _, context = read_scope(scope, receive)
        self.observer.begin(context)
        path = scope["path"]
        route = TRANSFORM_ROUTE if path == TRANSFORM_ROUTE else INFER_ROUTE if INFER_PATH.fullmatch(path) else "none"
        self.observer.end(context, route, reply.status, 0 if context.method == "HEAD" else len(reply.body))
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
