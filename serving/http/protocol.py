"""A client connection: uvicorn's protocol with limits on the size of a request's head and on the time a client may take.

A head (request line and headers) that is too large, too slow or malformed is refused and its connection closed before a request
reaches the application. A client that owes the rest of a request, or does not read its response, is disconnected after a time
limit. None of them blocks the event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from serving.errors import BadRequest, HeadersTooLarge, Problem, QueueFull, RequestTimeout
from serving.generation.generate import problem_reply
from serving.http.balance import Balance
from serving.http.request_head import MAX_HEAD_BYTES, check_head, head_without_upgrade, is_too_large, with_path
from serving.http.scope import REFUSED
from serving.http.serial import SerialProtocol
from serving.http.transport import CoalescingTransport, UnreadResponses
from serving.observability.request_context import RequestContext
from serving.observability.request_log import RequestObserver

CHUNK_OVERHEAD = 16
"""Bytes of framing that each received piece of a body may have."""
MAX_PIPELINED = 32
"""Requests that wait on one connection for the response to an earlier one, at most; one read can hold thousands."""
MIN_BYTES_PER_SECOND = 1024
"""Bytes that a client must read of its response on average."""
RETRY_PAUSE_SECONDS = 0.5
"""Seconds for which a connection is not read after a response with ``Retry-After``.

Otherwise refusing a thousand clients that retry at once takes the time in which others could be served. A proxy's connection
is read at once: its next request may be another client's.
"""
PROXY_HEADERS = frozenset({b"x-forwarded-for", b"forwarded", b"via"})
"""Any of them in a request says that a proxy sent it."""


class HttpProtocol(SerialProtocol):
    """One client connection.

    A timer runs whenever the service waits for the client: for a head (then 408), for the rest of a body after the response or
    for another request (both then close without a response), and for a slow reader. The deadline of a request limits the rest.

    Args:
        observer: logs refused requests.
        is_draining: whether the service shuts down; each response then closes its connection.
        client_seconds: maximum seconds to receive a request's head, and to wait for a client that does not read.
        unread: limits what all clients have not yet read.
        balance: hands a new connection to the worker that has fewest; None keeps it.
        hops: times that the connection was handed over.
        options: arguments of uvicorn's protocol.
    """

    def __init__(
        self,
        observer: RequestObserver,
        is_draining: Callable[[], bool],
        client_seconds: float,
        unread: UnreadResponses,
        balance: Balance | None,
        *,
        hops: int = 0,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self._balance = balance
        self._hops = hops
        self._is_elsewhere = False
        """Whether another worker has the connection."""
        self._observer = observer
        self._is_draining = is_draining
        self._client_seconds = client_seconds
        self._unread = unread
        self._is_in_head = True
        self._read_bytes = 0
        """Size of the current read."""
        self._read_heads = 0
        """Heads that begin in the current read."""
        self._is_complete = True
        """Whether the latest request was complete at the end of the last read; so none is in the midst."""
        self._body_bytes = 0
        """Bytes of the current read that belong to a body, its framing included."""
        self._overhead_bytes = 0
        """Bytes of the current request before this read that do not belong to its body."""
        self._head_timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None
        self._problem: Problem | None = None
        """Why the current head, or the one after the request that is being answered, is refused."""
        self._is_refused = False
        """Whether a request was refused, so that nothing after it is read."""
        self.url = b""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        if self._balance and self._balance.offer(transport, self._hops):
            self._is_elsewhere = True
            return
        super().connection_made(transport)
        self._response_transport = CoalescingTransport(transport)
        self._start_head_timer()
        self._count_connections()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._is_elsewhere:
            return
        self._cancel_head_timer()
        self._cancel_write_timer()
        self._unread.discard(self.transport)
        super().connection_lost(exc)
        self._count_connections()

    def _count_connections(self) -> None:
        if self._balance:
            self._balance.hold(len(self.connections))

    def data_received(self, data: bytes) -> None:
        """Parse what was received; unlike uvicorn's, bytes that begin no request do not stop the keep-alive timer."""
        if self._is_refused:
            return
        self._read_bytes, self._body_bytes, self._read_heads = len(data), 0, 0
        try:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                self._feed_upgraded(memoryview(data)[upgrade.args[0] :])
        except httptools.HttpParserError:
            self._refuse(self._problem or BadRequest("the request is not well-formed HTTP/1.1"))
            return
        was_complete, self._is_complete = self._is_complete, not self._is_in_head and not self.cycle.more_body
        if self._is_complete and self._overhead_bytes + len(data) <= MAX_HEAD_BYTES:
            return
        if self._read_heads <= was_complete:  # else where in this read the latest head begins is unknown
            self._overhead_bytes = max(0, self._overhead_bytes + len(data) - self._body_bytes)
        if self._overhead_bytes > MAX_HEAD_BYTES:
            self._refuse(_too_large())
        elif self._is_in_head and not self.transport.is_closing():
            self._unset_keepalive_if_required()
            if not self._head_timer:
                self._start_head_timer()

    def _feed_upgraded(self, rest: memoryview) -> None:
        """Parse what follows a head with ``Upgrade``, at which llhttp stops: a new parser gets the head without that header."""
        while True:
            version = self.parser.get_http_version()
            head = head_without_upgrade(self.parser.get_method(), self.url, version, self.headers)
            self.parser = httptools.HttpRequestParser(self)
            self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does
            self.parser.feed_data(head)
            try:
                self.parser.feed_data(rest)
                return
            except httptools.HttpParserUpgrade as upgrade:
                rest = rest[upgrade.args[0] :]

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._is_in_head, self._overhead_bytes = True, 0
        self._read_heads += 1

    def on_headers_complete(self) -> None:
        version, read_bytes = self.parser.get_http_version(), self._overhead_bytes + self._read_bytes
        if read_bytes > MAX_HEAD_BYTES and is_too_large(self.url, self.headers):
            self._problem = _too_large()
        else:
            self._problem = check_head(version, self.url, self.headers)
        if not self._problem and len(self.pipeline) >= MAX_PIPELINED:
            self._problem = QueueFull(MAX_PIPELINED, "requests wait on this connection")
        if self._problem:
            raise self._problem  # stops the parser
        if self.parser.should_upgrade():
            if self.parser.get_method() == b"CONNECT":
                self._problem = BadRequest("CONNECT is for proxies")
                raise self._problem
            return  # see _feed_upgraded
        self._is_in_head = False
        self._unset_keepalive_if_required()
        self._cancel_head_timer()
        self.url = with_path(self.url)
        super().on_headers_complete()
        self.headers = []  # of trailers, which must not become headers of the request
        self.cycle.transport = self._response_transport  # type: ignore[assignment]
        if self._is_draining():
            self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body) + CHUNK_OVERHEAD
        super().on_body(body)

    def _should_upgrade(self) -> bool:
        """Make uvicorn ignore the end of a head with ``Upgrade``; see _feed_upgraded."""
        return True

    def on_response_complete(self) -> None:
        self._response_transport.end_response()
        super().on_response_complete()
        if self.transport.is_closing():
            self._limit_closing()
            return
        if self._problem and not self._is_answering():
            self._refuse(self._problem)
        elif self._response_transport.is_refusal and not self._is_from_proxy():
            self.flow.pause_reading()
            self.loop.call_later(RETRY_PAUSE_SECONDS, self.flow.resume_reading)
        if self.cycle.more_body and self.timeout_keep_alive_task:
            self._unset_keepalive_if_required()
            self.timeout_keep_alive_task = self.loop.call_later(self._client_seconds, self.timeout_keep_alive_handler)

    def _is_from_proxy(self) -> bool:
        """Whether a proxy sent the latest request, and so all requests of this connection."""
        return any(name in PROXY_HEADERS for name, _ in self.cycle.scope["headers"])

    def timeout_keep_alive_handler(self) -> None:
        super().timeout_keep_alive_handler()
        self._limit_closing()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._unread.add(self.transport)
        if not self._write_timer:
            self._start_write_timer()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._unread.discard(self.transport)
        self._cancel_write_timer()

    def _start_head_timer(self) -> None:
        self._head_timer = self.loop.call_later(self._client_seconds, self._refuse, RequestTimeout(self._client_seconds))

    def _start_write_timer(self) -> None:
        unsent = self.transport.get_write_buffer_size()
        self._write_timer = self.loop.call_later(self._client_seconds, self._check_write_progress, unsent)

    def _limit_closing(self) -> None:
        """Limit the time in which a closing transport sends what is buffered."""
        if self.parser is not None and not self._write_timer and self.transport.get_write_buffer_size():
            self._start_write_timer()

    def _check_write_progress(self, unsent: int) -> None:
        """Disconnect a client that has read too little since the timer started."""
        if unsent - self.transport.get_write_buffer_size() < self._client_seconds * MIN_BYTES_PER_SECOND:
            self.transport.abort()
        else:
            self._start_write_timer()

    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _refuse(self, problem: Problem) -> None:
        """Send the problem and close the connection; the response to an earlier request on it comes first."""
        self._cancel_head_timer()
        if self.transport.is_closing():
            return
        if self._is_answering():
            self.flow.pause_reading()
            if self._is_in_head:
                self._problem = problem
            else:  # the application answers it: it may have begun, and a response to another request may come before
                self._is_refused = True
                self.cycle.scope[REFUSED] = problem  # type: ignore[literal-required]
                self.cycle.keep_alive = False
                self.cycle.message_event.set()
            return
        reply, context = problem_reply(problem), self._refused_request()
        headers = (*reply.headers, ("X-Request-Id", context.id), ("Connection", "close"))
        lines = [f"{name}: {value}\r\n".encode("latin-1") for name, value in headers]
        self.transport.write(b"".join([STATUS_LINE[reply.status], *lines, b"\r\n", reply.body]))
        self.transport.close()
        self._limit_closing()
        self._observer.refuse(context, reply.status, len(reply.body))

    def _refused_request(self) -> RequestContext:
        """The context of the request whose head is refused, from the headers received so far."""
        # Outside a head, self.headers are trailers and self.url is that of the previous request.
        headers, target = (self.headers or [], self.url) if self._is_in_head else ([], b"")
        ids = [value.decode("latin-1") for name, value in headers if name == b"x-request-id"]
        return RequestContext("", target.decode("latin-1"), ",".join(ids))

    def _cancel_head_timer(self) -> None:
        if self._head_timer:
            self._head_timer.cancel()
            self._head_timer = None

    def _cancel_write_timer(self) -> None:
        if self._write_timer:
            self._write_timer.cancel()
            self._write_timer = None


def _too_large() -> HeadersTooLarge:
    return HeadersTooLarge(f"request line and headers must have at most {MAX_HEAD_BYTES} bytes")
