"""A server of the service's protocol in this process, with an application of the test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
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
async def serving(application: Any, *, unread_bytes: int = MAX_UNREAD_BYTES) -> AsyncIterator[int]:
    """The port of a server of an ASGI application; ``unread_bytes`` limits what its clients have not yet read."""
    protocol = partial(HttpProtocol, RequestObserver(Metrics()), lambda: False, TIMEOUT, UnreadResponses(unread_bytes), None)
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
