"""uvicorn with stricter limits: HTTP/1.1 by llhttp, bounded in the size of a request's head and in the time a client may take.

A head (request line and headers) that is too large, too slow or malformed is refused and its connection closed before a request
reaches the application. A client that does not read its response is disconnected. Neither blocks the event loop.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from types import FrameType
from typing import Any

import uvicorn
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from serving.errors import BadRequest, HeadersTooLarge, Problem, RequestTimeout
from serving.generation.generate import problem_reply
from serving.http.asgi import ASGIApp
from serving.http.transport import CoalescingTransport
from serving.observability.logs import Log
from serving.observability.request_context import RequestContext
from serving.observability.request_log import RequestObserver
from serving.settings import Settings

MAX_HEAD_BYTES = 2**16
"""Maximum size of request line and headers; one socket read may exceed it."""
MAX_HEADERS = 100
RETRY_PAUSE_SECONDS = 0.5
"""Seconds for which a connection is not read after a response with ``Retry-After``.

Otherwise refusing a thousand clients that retry at once takes the time in which others could be served.
"""


class HttpProtocol(HttpToolsProtocol):
    """One client connection.

    Args:
        observer: logs refused requests.
        is_draining: whether the service shuts down; each response then closes its connection.
        client_seconds: maximum seconds to receive a request's head, and to wait for a client that does not read.
        options: arguments of uvicorn's protocol.
    """

    def __init__(
        self, observer: RequestObserver, is_draining: Callable[[], bool], client_seconds: float, **options: Any
    ) -> None:
        super().__init__(**options)
        self._observer = observer
        self._is_draining = is_draining
        self._client_seconds = client_seconds
        self._is_in_head = True
        self._head_bytes = 0
        self._head_timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None
        self._problem: Problem | None = None
        self.url = b""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._response_transport = CoalescingTransport(transport)
        self._start_head_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._cancel_timers()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._is_in_head and not self.transport.is_closing():
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self._refuse(HeadersTooLarge(f"request line and headers must have at most {MAX_HEAD_BYTES} bytes"))
            elif not self._head_timer:
                self._start_head_timer()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._is_in_head, self._head_bytes = True, 0

    def on_headers_complete(self) -> None:
        self._is_in_head = False
        if self._head_timer:
            self._head_timer.cancel()
            self._head_timer = None
        self._problem = _check_head(self.parser.get_http_version(), self.url, self.headers)
        if self._problem:
            raise self._problem  # stops the parser; uvicorn then calls send_400_response
        super().on_headers_complete()
        self.cycle.transport = self._response_transport  # type: ignore[assignment]
        if self._is_draining():
            self.cycle.keep_alive = False

    def on_response_complete(self) -> None:
        self._response_transport.end_response()
        super().on_response_complete()
        if self._response_transport.is_refusal and not self.transport.is_closing():
            self.flow.pause_reading()
            self.loop.call_later(RETRY_PAUSE_SECONDS, self.flow.resume_reading)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._write_timer = self._write_timer or self.loop.call_later(self._client_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._write_timer:
            self._write_timer.cancel()
            self._write_timer = None

    def send_400_response(self, msg: str) -> None:
        """Refuse a malformed request; called by uvicorn when the parser fails."""
        self._refuse(self._problem or BadRequest("the request is not well-formed HTTP/1.1"))

    def _unsupported_upgrade_warning(self) -> None:
        """Ignore ``Upgrade`` without uvicorn's warning, as HTTP allows."""

    def _start_head_timer(self) -> None:
        self._head_timer = self.loop.call_later(self._client_seconds, self._refuse, RequestTimeout(self._client_seconds))

    def _refuse(self, problem: Problem) -> None:
        """Send the problem and close the connection, even if an earlier request on it is still being answered."""
        self._cancel_timers()
        if self.transport.is_closing():
            return
        reply, context = problem_reply(problem), self._refused_request()
        headers = (*reply.headers, ("X-Request-Id", context.id), ("Connection", "close"))
        lines = [f"{name}: {value}\r\n".encode("latin-1") for name, value in headers]
        self.transport.write(b"".join([STATUS_LINE[reply.status], *lines, b"\r\n", reply.body]))
        self.transport.close()
        self._observer.refuse(context, reply.status, len(reply.body))

    def _refused_request(self) -> RequestContext:
        """The context of the request whose head is refused, from the headers received so far."""
        # Outside a head, self.headers and self.url are those of the previous request.
        headers, target = (self.headers or [], self.url) if self._is_in_head or self._problem else ([], b"")
        ids = [value.decode("latin-1") for name, value in headers if name == b"x-request-id"]
        return RequestContext("", target.decode("latin-1"), ",".join(ids))

    def _cancel_timers(self) -> None:
        for timer in (self._head_timer, self._write_timer):
            if timer:
                timer.cancel()
        self._head_timer = self._write_timer = None


def _check_head(version: str, target: bytes, headers: list[tuple[bytes, bytes]]) -> Problem | None:
    """Refuse what llhttp accepts and this service does not; RFC 9112, 3.2, requires exactly one Host."""
    if version not in ("1.1", "1.0"):
        return BadRequest(f"the protocol must be HTTP/1.1, got HTTP/{version}")
    if target == b"*":
        return BadRequest("the target must be a path, got '*'")
    if len(headers) > MAX_HEADERS:
        return HeadersTooLarge(f"a request must have at most {MAX_HEADERS} headers, has {len(headers)}")
    hosts = sum(name == b"host" for name, _ in headers)
    if hosts > 1 or (hosts == 0 and version == "1.1"):
        return BadRequest(f"a request must have one Host header, has {hosts}")
    return None


class Server(uvicorn.Server):
    """uvicorn that reports when it listens, and that does not raise a handled signal again after its shutdown."""

    def __init__(self, config: Config, when_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._when_ready = when_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._when_ready()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self.handle_exit)
        yield

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self.should_exit = True


class _EventHandler(logging.Handler):
    """Forwards errors of the ``logging`` module to the service's own log."""

    def __init__(self, log: Log) -> None:
        super().__init__(logging.ERROR)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        error = logging.Formatter().formatException(record.exc_info) if record.exc_info else None
        self._log("server", message=record.getMessage().strip(), error=error)


def make_server(
    app: ASGIApp, settings: Settings, *, is_draining: Callable[[], bool], when_ready: Callable[[], None], log: Log
) -> Server:
    """Configure uvicorn: no log lines of its own, no ``Server`` header, limits and timeouts from the settings."""
    for name in ("uvicorn.error", "opentelemetry"):
        logging.getLogger(name).addHandler(_EventHandler(log))
    application: Any = app  # its message types are wider than uvicorn's
    protocol: Any = partial(HttpProtocol, app.observer, is_draining, settings.client_seconds)
    config = Config(
        application,
        http=protocol,
        loop="uvloop",
        interface="asgi3",
        lifespan="on",
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=list(settings.trusted_proxies),
        timeout_keep_alive=settings.keep_alive_seconds,
        backlog=settings.backlog,
        timeout_graceful_shutdown=settings.stop_seconds,
    )
    return Server(config, when_ready)
