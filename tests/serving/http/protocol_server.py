"""A server of the service's protocol in this process, with an application of the test, and clients of it."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any

from uvicorn.config import Config
from uvicorn.server import ServerState

from serving.http.protocol import HttpProtocol
from serving.http.transport import MAX_UNREAD_BYTES, UnreadResponses
from serving.observability.metrics import Metrics
from serving.observability.request_log import RequestObserver
from tests.harness.processes import TIMEOUT


@asynccontextmanager
async def serving(
    application: Any, *, unread: UnreadResponses | None = None, observer: RequestObserver | None = None
) -> AsyncIterator[int]:
    """The port of a server of an ASGI application; ``unread`` limits what its clients have not yet read, and
    ``observer`` logs what connections refuse.
    """
    seen = observer or RequestObserver(Metrics())
    limit = unread or UnreadResponses(MAX_UNREAD_BYTES)
    protocol = partial(HttpProtocol, seen, lambda: False, TIMEOUT, limit, None)
    config = Config(application, lifespan="off", log_config=None, access_log=False)
    config.load()
    state = ServerState()
    server = await asyncio.get_running_loop().create_server(
        lambda: protocol(config=config, server_state=state, app_state={}), "127.0.0.1", 0
    )
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for connection in list(state.connections):
            connection.transport.abort()
        if state.tasks:
            await asyncio.wait(state.tasks, timeout=TIMEOUT)


class Clients:
    """Connections to a port, closed at the end."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._writers: list[asyncio.StreamWriter] = []

    async def __call__(self, data: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection on which this was sent."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        self._writers.append(writer)
        writer.write(data)
        return reader, writer

    async def close(self) -> None:
        """Close all connections."""
        for writer in self._writers:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()


@asynccontextmanager
async def clients_of(application: Any) -> AsyncIterator[Clients]:
    """Clients of a server of an application."""
    async with serving(application, observer=getattr(application, "observer", None)) as port:
        clients = Clients(port)
        try:
            yield clients
        finally:
            await clients.close()


def reset(writer: asyncio.StreamWriter) -> None:
    """Close a connection by RST."""
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.close()
