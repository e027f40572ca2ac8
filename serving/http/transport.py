"""A connection's transport that joins the head and the body of a response into one write, and a limit on unread responses."""

from __future__ import annotations

import asyncio

MAX_UNREAD_BYTES = 2**27
"""Bytes of responses that all clients of a worker together have not yet read, at most."""
NEVER_SENT = b"HTTP/1.1 499 "
"""The begin of a response for a client that has left."""
PIECE_BYTES = 2**18
"""Bytes that a transport is given in one call, at most."""


class UnreadResponses:
    """The connections whose clients have not read most of a response, limited in their bytes together.

    A client may read slowly, for hours at the least rate. A thousand of them would hold a thousand large responses.

    Args:
        limit: bytes of all connections; one alone may hold more.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._transports: dict[asyncio.Transport, None] = {}

    def add(self, transport: asyncio.Transport) -> None:
        """Add a connection, at the start of its response, which counts from the next one on.

        Beyond the limit those that have been here for longest are disconnected.
        """
        self._transports[transport] = None
        unread = sum(each.get_write_buffer_size() for each in self._transports)
        while unread > self._limit and len(self._transports) > 1:
            oldest = next(iter(self._transports))
            unread -= oldest.get_write_buffer_size()
            self.discard(oldest)
            oldest.abort()

    def discard(self, transport: asyncio.Transport) -> None:
        """Remove a connection whose client has read enough, or that has ended."""
        self._transports.pop(transport, None)


class CoalescingTransport:
    """Delays the head of a response until its body is written.

    uvicorn writes the two separately. One write is one system call and one wake-up of the client instead of two, which with a
    single connection is a fifth of the response time.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._head = b""
        self._has_head = False
        self.is_refusal = False
        """Whether the latest response has ``Retry-After``."""

    def write(self, data: bytes) -> None:
        """Buffer the head, which is the first write of a response; send later writes, and ``100 Continue``, at once.

        Nothing is sent on a connection that is closing. 499 is never sent: the client has left, or sees the connection end.
        """
        if self._transport.is_closing():
            self._head = b""
        elif data.startswith(NEVER_SENT):
            self._transport.close()
        elif self._has_head or data.startswith(b"HTTP/1.1 1"):
            self._write(self._head + data if self._head else data)
            self._head = b""
        else:
            self._head, self._has_head, self.is_refusal = data, True, b"\r\nretry-after: " in data

    def _write(self, data: bytes) -> None:
        """Write in pieces: a transport keeps all of what it is given in one call until the last byte is sent."""
        for start in range(0, len(data), PIECE_BYTES):
            self._transport.write(data[start : start + PIECE_BYTES])

    def end_response(self) -> None:
        """Send a head without a body; the next write begins another response."""
        if self._head and not self._transport.is_closing():
            self._transport.write(self._head)
        self._head, self._has_head = b"", False

    def is_closing(self) -> bool:
        """Whether the transport is closing."""
        return self._transport.is_closing()

    def close(self) -> None:
        """Send the buffered head, then close."""
        self.end_response()
        self._transport.close()
