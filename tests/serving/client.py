"""A request put to the application exactly as it is written: nothing is encoded, merged or sorted on the way."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import wraps
from typing import Any

from flask import Flask
from werkzeug.datastructures import Headers
from werkzeug.test import EnvironBuilder, run_wsgi_app

from serving.generation.generate import Reply, RequestHeaders, Service, generate
from serving.http.asgi import ASGIApp
from serving.model.load import Model
from serving.observability.metrics import Metrics
from tests.harness.processes import wait_until
from tests.serving.sessions import BreakableSession


@dataclass(frozen=True)
class Answer:
    """A response. Server-Timing and the request id do not count in a comparison."""

    status: int
    headers: Headers
    body: bytes
    server_timing: str | None = field(compare=False)
    """The header of that name, which is not in ``headers``."""
    request_id: str | None = field(compare=False)
    """``X-Request-Id``, which is not in ``headers`` either."""


def service_of(app: ASGIApp | Flask) -> Service:
    """What an application answers from."""
    flask = app if isinstance(app, Flask) else app.flask
    service: Service = flask.extensions["serving"].service
    return service


def break_model(service: Service, name: str) -> None:
    """Replace a model by one whose every run fails."""
    model = service.registry[name].model
    assert isinstance(model, Model)
    session = BreakableSession(model.session)
    entry = service.registry.make_entry(replace(model, session=session, idle_session=None, digest="f" * 64))
    session.is_broken = True
    service.registry.put(entry)


def ask(
    app: ASGIApp | Flask,
    query: str = "",
    method: str = "GET",
    path: str = "/generate",
    headers: Mapping[str, str] | None = None,
    body: bytes = b"",
) -> Answer:
    """One request, one answer: through the whole ASGI application, or through Flask alone."""
    if isinstance(app, ASGIApp):
        return service_of(app).portal.run(ask_on_the_loop(app, query, method, path, headers or {}, body))
    environ = EnvironBuilder(method=method, headers=Headers(headers or {}), data=body or None).get_environ()
    environ |= {"PATH_INFO": path, "QUERY_STRING": query}
    chunks, status, answered = run_wsgi_app(app, environ, buffered=True)
    return _answer(int(status.split()[0]), answered, b"".join(chunks))


async def ask_on_the_loop(app: ASGIApp, query: str, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
    """The same for callers on the application's event loop."""
    messages: list[dict[str, Any]] = []
    requests = iter([{"type": "http.request", "body": body, "more_body": False}])

    async def receive() -> dict[str, Any]:
        for message in requests:
            return message
        await asyncio.Event().wait()  # the client stays
        raise AssertionError

    async def send(message: Any) -> None:
        messages.append(message)

    sent = [(b"host", b"test"), *((name.lower().encode(), value.encode("latin-1")) for name, value in headers.items())]
    if body:
        sent.append((b"content-length", str(len(body)).encode()))
    scope: dict[str, Any] = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode("latin-1"),
        "root_path": "",
        "headers": sent,
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 8000),
    }
    await app(scope, receive, send)
    answered = Headers([(name.decode(), value.decode("latin-1")) for name, value in messages[0]["headers"]])
    return _answer(messages[0]["status"], answered, b"".join(message.get("body", b"") for message in messages[1:]))


def _answer(status: int, headers: Headers, body: bytes) -> Answer:
    timing, request_id = headers.pop("Server-Timing", None), headers.pop("X-Request-Id", None)
    return Answer(status, headers, body, server_timing=timing, request_id=request_id)


def fetch(service: Service, query: str, request_headers: RequestHeaders | None = None, digits: str | None = None) -> Reply:
    """The reply of ``generate``, asked from a test's own thread."""
    return service.portal.run(generate(service, query, request_headers or RequestHeaders(), digits))


def measured(service: Service, name: str, **labels: str) -> float:
    """The value of a metric with these labels; 0 where nothing was counted under them yet."""
    return service.metrics.registry.get_sample_value(name, labels) or 0.0


def wait_for_depth(metrics: Metrics, depth: int) -> None:
    """Return when this number of rows waits."""
    wait_until(lambda: metrics.registry.get_sample_value("gan_queue_depth") == depth, f"{depth} wait")


def on_a_loop(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Run a test on an event loop, for half a minute at most."""

    @wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        async def bounded() -> None:
            async with asyncio.timeout(30):
                await test(*args, **kwargs)

        asyncio.run(bounded())

    return run
