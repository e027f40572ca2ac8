"""uvicorn's protocol for requests that follow each other on one connection, and for clients that leave.

uvicorn knows the latest request of a connection only. With others behind it, the one that is being answered would not learn
that its client has left. And uvicorn starts the next request although the response to the last one has not been read.
"""

from __future__ import annotations

from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from serving.http.scope import HALF_CLOSED


class SerialProtocol(HttpToolsProtocol):
    """One client connection, whose requests are answered one by one, each once most of the response before it has been read."""

    _answered: RequestResponseCycle | None = None
    """The request that is being answered, or was last; ``cycle`` is the latest one, which may wait behind it."""
    _delayed: tuple[RequestResponseCycle, Any] | None = None
    """The next request and its application, while the client has most of the last response to read."""

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        """Start a request, or let it wait: a response that waited for another to be read would be counted nowhere."""
        if self.flow.write_paused:
            self._delayed = cycle, app
        else:
            self._answered = cycle
            super()._start_asgi_task(cycle, app)

    def resume_writing(self) -> None:
        super().resume_writing()
        delayed, self._delayed = self._delayed, None
        if delayed and not self.transport.is_closing():
            self._start_asgi_task(*delayed)

    def connection_lost(self, exc: Exception | None) -> None:
        self._delayed = None
        if self._answered is not None and not self._answered.response_complete:
            self._answered.disconnected = True
            self._answered.message_event.set()
        super().connection_lost(exc)

    def eof_received(self) -> bool:  # type: ignore[override]
        """Keep the connection of a client that has closed its writing half until its responses are sent."""
        if self.cycle is None or self.cycle.response_complete or self.cycle.more_body:
            return False  # the transport closes
        self.cycle.keep_alive = False
        for cycle in (self._answered, self.cycle, *(cycle for cycle, _ in self.pipeline)):
            if cycle is not None:
                cycle.scope[HALF_CLOSED] = True  # type: ignore[literal-required]
                cycle.message_event.set()  # the application receives one more message
        return True
