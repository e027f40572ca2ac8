"""uvicorn as this service configures it: its own protocol, signals and log."""

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

from serving.http.asgi import ASGIApp
from serving.http.balance import Balance
from serving.http.protocol import HttpProtocol
from serving.http.transport import MAX_UNREAD_BYTES, UnreadResponses
from serving.observability.logs import Log
from serving.settings import Settings


class Server(uvicorn.Server):
    """uvicorn that shares its connections, and reports when it listens and that its loop turns.

    It does not raise a signal again after its shutdown.
    """

    def __init__(
        self, config: Config, when_ready: Callable[[], None], beat: Callable[[], None], balance: Balance | None
    ) -> None:
        super().__init__(config)
        self._when_ready = when_ready
        self._beat = beat
        self._balance = balance

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self._balance:
            self._balance.begin(self._make_protocol)
        self._when_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if self._balance:
            self._balance.end(self._make_protocol)
        await super().shutdown(sockets)

    def _make_protocol(self, hops: int) -> asyncio.Protocol:
        """A protocol as uvicorn makes it, for a connection of another worker."""
        make: Any = self.config.http_protocol_class
        protocol: asyncio.Protocol = make(
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state, hops=hops
        )
        return protocol

    async def on_tick(self, counter: int) -> bool:
        self._beat()
        return await super().on_tick(counter)

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
    app: ASGIApp,
    settings: Settings,
    *,
    is_draining: Callable[[], bool],
    when_ready: Callable[[], None],
    beat: Callable[[], None],
    log: Log,
    balance: Balance | None = None,
) -> Server:
    """Configure uvicorn: no log lines of its own, no ``Server`` header, limits and timeouts from the settings.

    Args:
        app: the application.
        settings: limits and timeouts.
        is_draining: whether the service shuts down.
        when_ready: called when it listens.
        beat: called several times a second by the event loop.
        log: writes errors.
        balance: shares connections with the other workers; None where there are none.
    """
    for name in ("uvicorn.error", "opentelemetry", "asyncio"):
        logging.getLogger(name).addHandler(_EventHandler(log))
    application: Any = app  # its message types are wider than uvicorn's
    unread = UnreadResponses(MAX_UNREAD_BYTES)
    protocol: Any = partial(HttpProtocol, app.observer, is_draining, settings.client_seconds, unread, balance)
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
    return Server(config, when_ready, beat, balance)
