"""The service's log has the errors of the server and of the event loop."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import Iterator

import pytest

from serving.http.asgi import ASGIApp
from serving.http.uvicorn_server import make_server
from serving.settings import Settings

Events = list[tuple[str, dict[str, object]]]


@pytest.fixture
def events(app: ASGIApp, settings: Settings) -> Iterator[Events]:
    """What a server writes into the log; its handlers are removed afterwards."""
    found: Events = []
    loggers = [logging.getLogger(name) for name in ("uvicorn.error", "opentelemetry", "asyncio")]
    before = [list(logger.handlers) for logger in loggers]
    gc.collect()  # what earlier tests have left may write to these, too
    make_server(
        app,
        settings,
        is_draining=lambda: False,
        when_ready=lambda: None,
        beat=lambda: None,
        log=lambda event, **facts: found.append((event, facts)),
    )
    yield found
    for logger, handlers in zip(loggers, before, strict=True):
        logger.handlers[:] = handlers


def test_an_error_of_a_callback_is_a_line_of_the_log(events: Events, capfd: pytest.CaptureFixture[str]) -> None:
    """With its traceback; nothing of it goes to standard error as plain text."""
    loop = asyncio.new_event_loop()
    loop.call_soon(lambda: [].pop())
    loop.call_soon(loop.stop)
    loop.run_forever()
    loop.close()
    [(event, facts)] = events
    assert event == "server"
    assert "Exception in callback" in str(facts["message"])
    assert "IndexError: pop from empty list" in str(facts["error"])
    assert capfd.readouterr().err == ""
