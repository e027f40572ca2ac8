"""Responses that clients do not read are limited in their bytes together."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from typing import Any

import pytest

from serving.http.transport import UnreadResponses
from tests.harness.processes import TIMEOUT
from tests.serving.client import on_a_loop
from tests.serving.http.protocol_server import clients_of, reset, serving

BODY = bytes(2**24)
"""Several times what the kernel takes of a response whose client does not read."""
LIMIT = 2 * len(BODY)
"""Room for two of them, and not for three, although the kernel has a part of each."""


async def large(scope: Any, receive: Any, send: Any) -> None:
    """An application that answers with a large body."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(BODY))]})
    await send({"type": "http.response.body", "body": BODY})


async def ask(port: int) -> socket.socket:
    """A client that has asked and does not read; it has the first byte of its answer."""
    connection = socket.socket()
    connection.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(connection, ("127.0.0.1", port))
    await loop.sock_sendall(connection, b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert await loop.sock_recv(connection, 1) == b"H"
    return connection


async def read(connection: socket.socket) -> bool:
    """Whether the rest of the answer is whole."""
    received = b""
    with connection, suppress(ConnectionResetError):
        while chunk := await asyncio.get_running_loop().sock_recv(connection, 2**20):
            received += chunk
    return received.endswith(b"\r\n\r\n" + BODY)


def wholes(limit: int, clients: int) -> list[bool]:
    """Which of some clients get their answers whole, when they read after the last one has asked, the last one first."""

    async def run() -> list[bool]:
        async with serving(large, unread=UnreadResponses(limit)) as port:
            waiting = [await ask(port) for _ in range(clients)]
            return [await read(connection) for connection in waiting[::-1]][::-1]

    return asyncio.run(run())


@pytest.mark.slow
def test_who_has_not_read_for_longest_is_disconnected() -> None:
    """H-24: of five clients, with room for the responses of two before the latest, the last three get theirs whole."""
    assert wholes(LIMIT, 5) == [False, False, True, True, True]


def test_one_response_may_be_larger_than_the_limit() -> None:
    """A client alone gets its response, of any size."""
    assert wholes(1, 1) == [True]


def test_who_has_read_does_not_count() -> None:
    """Clients that read one after the other get their responses, any number of them."""

    async def run() -> list[bool]:
        async with serving(large, unread=UnreadResponses(LIMIT)) as port:
            return [await read(await ask(port)) for _ in range(5)]

    assert asyncio.run(run()) == [True] * 5


class Kept(UnreadResponses):
    """What it keeps, for all to see."""

    def __init__(self) -> None:
        super().__init__(LIMIT)
        self.transports: set[asyncio.Transport] = set()

    def add(self, transport: asyncio.Transport) -> None:
        self.transports.add(transport)
        super().add(transport)

    def discard(self, transport: asyncio.Transport) -> None:
        self.transports.discard(transport)
        super().discard(transport)


def test_who_leaves_is_not_kept() -> None:
    """Nothing is kept of a connection whose client leaves with most of its response unread: there is no end of such clients."""

    async def run() -> None:
        kept = Kept()
        async with serving(large, unread=kept) as port:
            clients = [await ask(port) for _ in range(2)]
            assert len(kept.transports) == 2
            for client in clients:
                client.close()
            async with asyncio.timeout(TIMEOUT):
                while kept.transports:
                    await asyncio.sleep(0.01)

    asyncio.run(run())


@pytest.mark.parametrize("is_pipelined", [True, False])
@pytest.mark.parametrize("leaves", [False, True], ids=["reads on", "leaves"])
def test_a_request_waits_until_the_last_response_is_read(is_pipelined: bool, leaves: bool) -> None:
    """H-24: on one connection nothing is computed while its client has most of an earlier response to read, since responses
    that wait are counted nowhere; then the next request is answered, unless the client has left.
    """
    started: list[str] = []

    async def large(scope: Any, receive: Any, send: Any) -> None:
        started.append(scope["path"])
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(BODY))]})
        await send({"type": "http.response.body", "body": BODY})

    @on_a_loop
    async def play() -> None:
        async with clients_of(large) as ask:
            ends = b"\r\n", b"\r\n", b"Connection: close\r\n\r\n"
            requests = [b"GET /%d HTTP/1.1\r\nHost: x\r\n%s" % request for request in enumerate(ends, 1)]
            reader, writer = await ask(b"".join(requests if is_pipelined else requests[:1]))
            assert await reader.readexactly(1) == b"H"
            if not is_pipelined:
                writer.write(b"".join(requests[1:]))
            other, _ = await ask(b"GET /other HTTP/1.1\r\nHost: x\r\n" + b"Connection: close\r\n\r\n")
            assert len(await other.read()) > len(BODY)
            assert started == ["/1", "/other"]
            if leaves:
                reset(writer)
                other, _ = await ask(b"GET /other HTTP/1.1\r\nHost: x\r\n" + b"Connection: close\r\n\r\n")
                await other.read()
                assert started == ["/1", "/other", "/other"]
                return
            rest = await reader.read()
            assert rest.count(b"HTTP/1.1 200 OK\r\n") == 2
            assert len(rest) > 3 * len(BODY)
            assert started == ["/1", "/other", "/2", "/3"]

    play()
