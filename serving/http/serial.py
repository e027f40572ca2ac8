"""uvicorn's protocol for requests that follow each other on one connection.

uvicorn starts the next request although the response to the last one has not been read.
"""

from __future__ import annotations

from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle


class SerialProtocol(HttpToolsProtocol):
    """One client connection, whose requests are answered one by one, each once most of the response before it has been read."""

    _delayed: tuple[RequestResponseCycle, Any] | None = None
    """The next request and its application, while the client has most of the last response to read."""

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        """Start a request, or let it wait: a response that waited for another to be read would be counted nowhere."""
        if self.flow.write_paused:
            self._delayed = cycle, app
        else:
            super()._start_asgi_task(cycle, app)

    def resume_writing(self) -> None:
        super().resume_writing()
        delayed, self._delayed = self._delayed, None
        if delayed and not self.transport.is_closing():
            self._start_asgi_task(*delayed)

    def connection_lost(self, exc: Exception | None) -> None:
        self._delayed = None
        super().connection_lost(exc)
