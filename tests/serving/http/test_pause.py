"""After a refusal the service does not read a client's connection for a while, but a proxy's at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from serving.http import protocol
from tests.harness.processes import TIMEOUT
from tests.serving.http.protocol_server import serving


async def refuse(scope: Any, receive: Any, send: Any) -> None:
    """An application that refuses each request for now."""
    await send({"type": "http.response.start", "status": 503, "headers": [(b"retry-after", b"1"), (b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})


Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def ask(stream: Stream, header: bytes = b"") -> bytes:
    """The answer to a request with one more header line."""
    reader, writer = stream
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n" + header + b"\r\n")
    return await reader.readuntil(b"\r\n\r\n")


@asynccontextmanager
async def connections(port: int, count: int) -> AsyncIterator[list[Stream]]:
    """Some connections, closed at the end."""
    streams = [await asyncio.open_connection("127.0.0.1", port) for _ in range(count)]
    try:
        yield streams
    finally:
        for _, writer in streams:
            writer.close()
            await writer.wait_closed()


@pytest.fixture(autouse=True)
def _no_end_of_a_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "RETRY_PAUSE_SECONDS", 3_600)


def test_a_client_that_retries_at_once_waits() -> None:
    """Its second request is not answered, while others are."""

    async def run() -> bool:
        async with serving(refuse) as port, connections(port, 4) as (client, *others):
            await ask(client)
            again = asyncio.create_task(ask(client))
            await asyncio.sleep(0)  # it is sent before the others' requests
            for other in others:
                await ask(other)
            return again.done() or not again.cancel()

    assert not asyncio.run(run())


@pytest.mark.parametrize("header", [b"X-Forwarded-For: 10.0.0.1\r\n", b"Forwarded: for=10.0.0.1\r\n", b"Via: 1.1 x\r\n"])
def test_the_connection_of_a_proxy_is_read_at_once(header: bytes) -> None:
    """Its next request may be another client's, so it is answered."""

    async def run() -> list[bytes]:
        async with serving(refuse) as port, connections(port, 1) as (proxy,):
            return [await asyncio.wait_for(ask(proxy, header), TIMEOUT) for _ in range(3)]

    assert all(answer.startswith(b"HTTP/1.1 503 ") for answer in asyncio.run(run()))
