"""Requests that take long do not hold up others: probes have their own threads, and waiting encodings are limited."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from flask import Flask

from serving.app import create_app
from serving.errors import DeadlineExceeded, QueueFull
from serving.generation.generate import RequestHeaders, Service
from serving.generation.thread_queue import ThreadQueue
from serving.generation.transform import max_body
from serving.http import asgi
from serving.http.asgi import ASGIApp
from serving.http.scope import Message
from serving.settings import Settings
from tests.serving.client import ask, fetch, measured, service_of


@pytest.mark.slow
@pytest.mark.parametrize("fast_path", [True, False])
@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics", "/v2/health/live", "/v2/health/ready"])
def test_probes_are_answered_while_all_threads_wait(settings: Settings, path: str, fast_path: bool) -> None:
    """O-11: with every thread of Flask busy, the probes and the metrics are answered."""
    app = create_app(replace(settings, threads=1, fast_path=fast_path), log=lambda event, **facts: None)
    entered, leave = threading.Event(), threading.Event()

    def hold() -> str:
        entered.set()
        leave.wait()
        return "held"

    app.flask.add_url_rule("/hold", "hold", hold)
    with ThreadPoolExecutor(1) as clients:
        held = clients.submit(ask, app, path="/hold")
        entered.wait()
        try:
            assert ask(app, path=path).status == 200
        finally:
            leave.set()
        assert held.result().body == b"held"


QUERIES = [
    ("/walk", "model=grey&from=1&to=2&frames=3"),
    ("/walk", "model=grey&from=1&to=2&frames=3&format=npy"),
    ("/walk", "model=grey&from=1"),
    ("/mix", "model=points2&a=1&b=2&t=0.25"),
    ("/arithmetic", "a=1&b=2&c=3"),
    ("/arithmetic", "a=1&b=2&c=x"),
]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(("path", "query"), QUERIES)
def test_interpolations_are_the_same_with_and_without_the_fast_path(
    app: ASGIApp, flask_only: Flask, path: str, query: str, method: str
) -> None:
    """``/walk``, ``/mix`` and ``/arithmetic`` have the same status, headers and body on the event loop and by Flask."""
    assert ask(app, query, method, path) == ask(flask_only, query, method, path)


def held_encoder(service: Service) -> tuple[ThreadPoolExecutor, threading.Event]:
    """A thread for encoding that is busy until the event is set."""
    threads, leave = ThreadPoolExecutor(1), threading.Event()
    threads.submit(leave.wait)
    return threads, leave


def test_an_encoding_that_nothing_waits_for_is_dropped(make_service: Callable[..., Service]) -> None:
    """O-08: a request whose deadline passes while it waits for the encoder is 504 and is never encoded."""
    service = make_service()
    threads, leave = held_encoder(service)
    service = replace(service, encoding=ThreadQueue(2**28, "bytes", "encoding", threads))
    with pytest.raises(DeadlineExceeded):
        fetch(service, "seed=1&scale=16", RequestHeaders(timeout_ms="100"))
    leave.set()
    threads.shutdown()
    assert service.metrics.registry.get_sample_value("gan_encode_duration_seconds_count", {"format": "png"}) is None


def test_waiting_encodings_are_limited(make_service: Callable[..., Service]) -> None:
    """O-08: a request that finds too many rows waiting for the encoder is 503; one alone may wait with any number of rows."""
    service = make_service()
    threads, leave = held_encoder(service)
    service = replace(service, encoding=ThreadQueue(1, "bytes", "encoding", threads))
    with ThreadPoolExecutor(1) as clients:
        first = clients.submit(fetch, service, "seed=1&scale=16")
        while not threads._work_queue.qsize():
            pass
        with pytest.raises(QueueFull):
            fetch(service, "seed=2&scale=16")
        leave.set()
        assert first.result().status == 200
    assert fetch(service, "seed=2&scale=16").status == 200
    threads.shutdown()


def part(body: bytes) -> Message:
    """A part of a chunked body that others follow."""
    return {"type": "http.request", "body": body, "more_body": True}


END: Message = {"type": "http.request", "body": b"", "more_body": False}


async def post(app: ASGIApp, path: str, *messages: Message) -> int:
    """The status of a chunked body that comes in these messages; where it has no end, the client stays."""
    waiting, sent = list(messages), list[Message]()

    async def receive() -> Message:
        return waiting.pop(0) if waiting else await asyncio.Event().wait()  # type: ignore[return-value]

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": path, "query_string": b"", "http_version": "1.1", "scheme": "http"}
    addresses = {"client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80)}
    media_type = b"image/png" if path == "/transform" else b"application/json"
    await app(scope | addresses | {"headers": [(b"content-type", media_type)]}, receive, send)
    return int(sent[0]["status"])


@pytest.mark.parametrize("path", ["/v2/models/grey/infer", "/transform"])
def test_bodies_that_are_held_are_limited(app: ASGIApp, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """O-08: while one client's body comes slowly, another one for which there is no room is 503, which the metrics count by
    its route; it is read once there is.
    """
    monkeypatch.setattr(asgi, "MAX_BODY_BYTES", 1000)

    async def clients() -> list[int]:
        slow = asyncio.create_task(post(app, path, part(600 * b" ")))
        await asyncio.sleep(0)
        refused = await post(app, path, part(600 * b" "), END)
        slow.cancel()
        await asyncio.wait([slow])
        return [refused, await post(app, path, part(600 * b" "), END)]

    before = [counted(app, code) for code in ("503", "400")]
    assert service_of(app).portal.run(clients()) == [503, 400]
    assert [counted(app, code) for code in ("503", "400")] == [count + 1 for count in before]


def test_a_body_of_the_greatest_size_is_read_to_its_end(app: ASGIApp) -> None:
    """S-09: what comes in one piece of that size is whole only if nothing follows; with one byte more it is 413."""
    largest = part(max_body(service_of(app)) * b" ")
    ends = [END], [part(b"x"), END]
    assert [service_of(app).portal.run(post(app, "/transform", largest, *end)) for end in ends] == [400, 413]


def counted(app: ASGIApp, code: str) -> float:
    """How many POST requests were answered with this status."""
    return sum(
        sample.value
        for metric in service_of(app).metrics.requests.collect()
        for sample in metric.samples
        if sample.name.endswith("_total") and sample.labels["code"] == code and sample.labels["route"] != "none"
    )


def test_a_body_whose_client_has_left_is_not_taken_for_whole(app: ASGIApp) -> None:
    """H-08: what came of a chunked body may look whole; without its last chunk it is never run, and counted as cancelled."""
    body = part(json.dumps({"inputs": [{"name": "seed", "datatype": "INT64", "shape": [1], "data": [42]}]}).encode())
    ends = ([END], [{"type": "http.disconnect"}])
    before = measured(service_of(app), "gan_cancelled_total"), counted(app, "499")
    statuses = [service_of(app).portal.run(post(app, "/v2/models/grey/infer", body, *end)) for end in ends]
    assert statuses == [200, 499]
    assert (measured(service_of(app), "gan_cancelled_total"), counted(app, "499")) == (before[0] + 1, before[1] + 1)
