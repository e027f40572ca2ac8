"""One client's connection: HTTP/1.1 by uvicorn and llhttp, with bounds on what a client may send and how slowly it may go.

A head that is too large, too slow or not exactly HTTP is refused, and its connection closed, before any of it is acted on. A
client that does not take in its answer is cut off. On the event loop neither holds up anybody else.
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
from serving.observability.logs import Log
from serving.observability.request_context import RequestContext
from serving.observability.request_log import RequestObserver
from serving.settings import Settings

MAX_HEAD_BYTES = 2**16
"""Of request line and headers together, up to what one read from the socket brings in addition."""
MAX_HEADERS = 100
REST_SECONDS = 0.5
"""How long a connection is not read after an answer that says ``Retry-After``.

A thousand clients that ask again at once would else have their refusals take the time in which others could be served.
"""


class CoalescingTransport:
    """A connection's way out, on which an answer's head waits for its body.

    uvicorn writes them one after the other. One write instead of two is one system call and one wake-up of the client instead
    of two, which with a single connection is a fifth of the whole time.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._head = b""
        self._is_begun = False
        self.is_refusal = False
        """Whether the latest answer says ``Retry-After``."""

    def write(self, data: bytes) -> None:
        """Send it, behind the head that waits; the first of an answer is that head, unless it is only a ``100 Continue``."""
        if self._is_begun or data.startswith(b"HTTP/1.1 1"):
            self._transport.write(self._head + data if self._head else data)
            self._head = b""
        else:
            self._head, self._is_begun, self.is_refusal = data, True, b"\r\nretry-after: " in data

    def end_answer(self) -> None:
        """Send a head that has no body; the next write begins another answer."""
        if self._head:
            self._transport.write(self._head)
            self._head = b""
        self._is_begun = False

    def is_closing(self) -> bool:
        """As the transport says."""
        return self._transport.is_closing()

    def close(self) -> None:
        """Send what waits, then close."""
        self.end_answer()
        self._transport.close()


class HttpProtocol(HttpToolsProtocol):
    """One connection, from its first byte to its last."""

    def __init__(self, observer: RequestObserver, is_draining: Callable[[], bool], client_seconds: float, **parts: Any) -> None:
        """Args:
        reception: where refusals are told.
        is_draining: whether clients should go elsewhere; each answer then ends its connection.
        client_seconds: how long a client may take for a request's head, or to take in what is sent to it.
        parts: uvicorn's own.
        """
        super().__init__(**parts)
        self._observer = observer
        self._is_draining = is_draining
        self._client_seconds = client_seconds
        self._is_in_head = True
        self._head_bytes = 0
        self._late: asyncio.TimerHandle | None = None
        self._stuck: asyncio.TimerHandle | None = None
        self._problem: Problem | None = None
        self.url = b""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._out = CoalescingTransport(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end_waits()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._is_in_head and not self.transport.is_closing():
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self._refuse(HeadersTooLarge(f"request line and headers must have at most {MAX_HEAD_BYTES} bytes"))
            elif not self._late:
                self._await_head()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._is_in_head, self._head_bytes = True, 0

    def on_headers_complete(self) -> None:
        self._is_in_head = False
        if self._late:
            self._late.cancel()
            self._late = None
        self._problem = _check_head(self.parser.get_http_version(), self.url, self.headers)
        if self._problem:
            raise self._problem  # the parser stops at it and asks for a 400
        super().on_headers_complete()
        self.cycle.transport = self._out  # type: ignore[assignment]
        if self._is_draining():
            self.cycle.keep_alive = False

    def on_response_complete(self) -> None:
        self._out.end_answer()
        super().on_response_complete()
        if self._out.is_refusal and not self.transport.is_closing():
            self.flow.pause_reading()
            self.loop.call_later(REST_SECONDS, self.flow.resume_reading)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stuck = self._stuck or self.loop.call_later(self._client_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._stuck:
            self._stuck.cancel()
            self._stuck = None

    def send_400_response(self, msg: str) -> None:
        """What uvicorn does about bytes that are not HTTP."""
        self._refuse(self._problem or BadRequest("the request is not well-formed HTTP/1.1"))

    def _unsupported_upgrade_warning(self) -> None:
        """A wish for another protocol is passed over in silence, as HTTP allows."""

    def _await_head(self) -> None:
        self._late = self.loop.call_later(self._client_seconds, self._refuse, RequestTimeout(self._client_seconds))

    def _refuse(self, problem: Problem) -> None:
        """Say what is wrong and close; what is still being answered on this connection is cut off."""
        self._end_waits()
        if self.transport.is_closing():
            return
        reply, context = problem_reply(problem), self._visit()
        headers = (*reply.headers, ("X-Request-Id", context.id), ("Connection", "close"))
        lines = [f"{name}: {value}\r\n".encode("latin-1") for name, value in headers]
        self.transport.write(b"".join([STATUS_LINE[reply.status], *lines, b"\r\n", reply.body]))
        self.transport.close()
        self._observer.refuse(context, reply.status, len(reply.body))

    def _visit(self) -> RequestContext:
        """The request whose head is refused, as far as it has come; the last one that was read is another."""
        headers, target = (self.headers or [], self.url) if self._is_in_head or self._problem else ([], b"")
        ids = [value.decode("latin-1") for name, value in headers if name == b"x-request-id"]
        return RequestContext("", target.decode("latin-1"), ",".join(ids))

    def _end_waits(self) -> None:
        for timer in (self._late, self._stuck):
            if timer:
                timer.cancel()
        self._late = self._stuck = None


def _check_head(version: str, target: bytes, headers: list[tuple[bytes, bytes]]) -> Problem | None:
    """What llhttp lets pass and this service does not; RFC 9112, 3.2, wants one Host."""
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
    """uvicorn, which says when it listens, and at a signal ends without passing it on to itself."""

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


class _Events(logging.Handler):
    """What others have to say in this process, as events of the service's own log."""

    def __init__(self, log: Log) -> None:
        super().__init__(logging.ERROR)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        error = logging.Formatter().formatException(record.exc_info) if record.exc_info else None
        self._log("server", message=record.getMessage().strip(), error=error)


def make_server(
    app: ASGIApp, settings: Settings, *, is_draining: Callable[[], bool], when_ready: Callable[[], None], log: Log
) -> Server:
    """uvicorn as this service runs it: no lines of its own, no header that names it, idle connections kept for a while."""
    for name in ("uvicorn.error", "opentelemetry"):
        logging.getLogger(name).addHandler(_Events(log))
    application: Any = app  # its messages are looser than uvicorn's types
    connection: Any = partial(HttpProtocol, app.observer, is_draining, settings.client_seconds)
    config = Config(
        application,
        http=connection,
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
