"""Many clients in one process: connections that are kept, asked at the moments of a schedule or as soon as they are free.

Nothing waits for anything else: a request that is due goes out on an idle connection, or on a new one when none is idle, up to
a limit. After an answer with ``Retry-After`` the service does not read a connection for a while
(``serving/http/protocol.py``), so here it is not idle for that long either.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, cast

from serving.http.protocol import RETRY_PAUSE_SECONDS

LOST, UNANSWERED, LEFT = 0, -1, -2
"""Instead of a status: the connection failed, there was no answer until the end, the client went away on purpose."""
MARGIN_SECONDS = 0.05
"""On top of the service's rest, which begins a little later than the answer is here."""
STALE_SECONDS = 60
"""A connection that was idle for so long is not used again: the service may be closing it at this moment."""
RESET = struct.pack("ii", 1, 0)
"""SO_LINGER for a close that throws away what is unsent and sends RST."""

Kind = Literal["stay", "fin", "rst"]
Again = Literal["never", "kept", "new"]
"""What a refused client does: it goes away, asks again on the same connection, or on a new one."""


@dataclass(slots=True)
class Ask:
    """One request, and what became of it. Times are those of ``time.monotonic``."""

    step: int
    due: float
    target: str
    method: str = "GET"
    kind: Kind = "stay"
    """Whether the client waits for its answer, or goes away when it has asked, with FIN or with RST."""
    tries: int = 0
    """How often it was sent."""
    done: float = 0.0
    status: int = UNANSWERED

    def head(self) -> bytes:
        """As it goes over the wire."""
        return f"{self.method} {self.target} HTTP/1.1\r\nHost: bench\r\n\r\n".encode()


class Connection(asyncio.Protocol):
    """One keep-alive connection with at most one request on it."""

    def __init__(self, clients: Clients) -> None:
        self._clients = clients
        self._received = bytearray()
        self.ask: Ask | None = None
        self.since = 0.0
        """When it became idle."""
        self.is_open = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's own is no subclass of it
        self.is_open = True

    def send(self, ask: Ask) -> None:
        """Send a request; a client that does not wait for the answer closes at once."""
        self.ask = ask
        ask.tries += 1
        self._transport.write(ask.head())
        if ask.kind == "rst":
            self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        if ask.kind != "stay":
            self.close()

    def close(self) -> None:
        """From here on nothing goes over it."""
        self.is_open = False
        self._transport.close()

    def data_received(self, data: bytes) -> None:
        self._received += data
        end = self._received.find(b"\r\n\r\n")
        if end < 0 or not self.ask:
            return
        head = bytes(self._received[:end]).lower()
        if len(self._received) < end + 4 + _content_length(head):
            return
        self._received.clear()
        ask, self.ask = self.ask, None
        if b"\r\nconnection: close" in head:
            self.close()
        self._clients.answered(self, ask, int(head[9:12]), b"\r\nretry-after:" in head)

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_open = False
        ask, self.ask = self.ask, None
        self._clients.lost(self, ask)


def _content_length(head: bytes) -> int:
    _, found, rest = head.partition(b"\r\ncontent-length:")
    return int(rest.partition(b"\r\n")[0]) if found else 0


class Clients:
    """All connections to one port of 127.0.0.1.

    Args:
        port: of the service.
        limit: connections at most; a request that finds them all in use waits, and its time runs.
        again: what a refused client does.
        tries: how often a client asks, at most.
        finished: called with every request when it is over.
    """

    def __init__(
        self, port: int, *, limit: int, finished: Callable[[Ask], None], again: Again = "never", tries: int = 1
    ) -> None:
        self._port = port
        self._limit = limit
        self._finished = finished
        self._again = again
        self._tries = tries
        self._idle: list[Connection] = []
        self._open: set[Connection] = set()
        self._opening: set[asyncio.Task[None]] = set()
        self._waiting: deque[Ask] = deque()
        self.refusals = 0
        """Answers with ``Retry-After``, those that were followed by another try, too."""
        self.opened = 0
        """Connections that there have ever been."""
        self.most = 0
        """Connections that were open at the same time."""

    def send(self, ask: Ask) -> None:
        """Send it now if a connection can be had."""
        while self._idle:
            connection = self._idle.pop()
            if connection.is_open and time.monotonic() - connection.since < STALE_SECONDS:
                return connection.send(ask)
            connection.close()
        if len(self._open) + len(self._opening) >= self._limit:
            return self._waiting.append(ask)
        task = asyncio.get_running_loop().create_task(self._connect(ask))
        self._opening.add(task)
        return task.add_done_callback(self._opening.discard)

    def close(self) -> None:
        """Close every connection; what is under way stays unanswered."""
        self._waiting.clear()
        for task in self._opening:
            task.cancel()
        for connection in list(self._open):
            connection.ask = None
            connection.close()

    def answered(self, connection: Connection, ask: Ask, status: int, is_refusal: bool) -> None:
        """An answer is there; the connection is free, or rests."""
        self.refusals += is_refusal
        if is_refusal and ask.tries < self._tries and self._again != "never":
            return self._repeat(connection, ask)
        ask.status, ask.done = status, time.monotonic()
        self._finished(ask)
        if is_refusal:
            asyncio.get_running_loop().call_later(RETRY_PAUSE_SECONDS + MARGIN_SECONDS, self._free, connection)
        else:
            self._free(connection)
        return None

    def lost(self, connection: Connection, ask: Ask | None) -> None:
        """A connection has ended, with this request on it."""
        self._open.discard(connection)
        if ask:
            self._end(ask, LOST if ask.kind == "stay" else LEFT)
        self._serve_waiting()

    def _repeat(self, connection: Connection, ask: Ask) -> None:
        if self._again == "kept" and connection.is_open:
            connection.send(ask)  # read by the service when the connection's rest is over
        else:
            connection.close()
            self.send(ask)

    async def _connect(self, ask: Ask) -> None:
        loop = asyncio.get_running_loop()
        try:
            _, connection = await loop.create_connection(lambda: Connection(self), "127.0.0.1", self._port)
        except OSError:
            self._end(ask, LOST)
            return
        self._open.add(connection)
        self.opened += 1
        self.most = max(self.most, len(self._open))
        if connection.is_open:
            connection.send(ask)
        else:
            self._end(ask, LOST)

    def _end(self, ask: Ask, status: int) -> None:
        ask.status, ask.done = status, time.monotonic()
        self._finished(ask)

    def _free(self, connection: Connection) -> None:
        if not connection.is_open:
            return
        connection.since = time.monotonic()
        self._idle.append(connection)
        self._serve_waiting()

    def _serve_waiting(self) -> None:
        if self._waiting:
            self.send(self._waiting.popleft())
