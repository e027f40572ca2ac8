"""``Server-Timing``: where an answer came from, and what its making took."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from flask import Flask

from serving.app import create_app
from serving.generation.generate import RequestHeaders, Service, generate
from serving.http.asgi import ASGIApp
from serving.observability.timings import BatchTimes, Run, Timings
from serving.openapi.document import SERVER_TIMING
from serving.settings import Settings
from tests.serving.client import ask, fetch, measured, service_of

ASKED = [("/generate", "seed=1"), ("/walk", "from=1&to=2&frames=3"), ("/mix", "a=1&b=2")]


def shape(value: str | None) -> str | None:
    """A header's value without what each answer has of its own."""
    return value and re.sub(r"dur=[0-9.]+", "dur=#", value)


@pytest.fixture
def both(settings: Settings) -> list[ASGIApp]:
    """The application as shipped, and without the fast path; neither has answered a request yet."""
    return [create_app(replace(settings, fast_path=fast_path), log=lambda event, **facts: None) for fast_path in (True, False)]


@pytest.mark.slow
@pytest.mark.parametrize(("path", "query"), ASKED)
def test_each_way_to_a_sample_tells_the_same(both: list[ASGIApp], path: str, query: str) -> None:
    """Made, kept, and not changed: with the fast path and without it the header has one shape."""
    for app in both:
        rows = "3" if path == "/walk" else "1"
        made = f"cache;desc=miss, batch;desc={rows}, queue;dur=#, inference;dur=#, encode;dur=#"
        first, again = ask(app, query, path=path), ask(app, query, path=path)
        kept = ask(app, query, path=path, headers={"If-None-Match": first.headers["ETag"]})
        told = [shape(answer.server_timing) for answer in (first, again, kept)]
        assert told == [made, "cache;desc=hit", "cache;desc=not_modified"]


def test_the_address_of_a_digest_tells_it_too(app: ASGIApp, flask_only: Flask) -> None:
    """As ``/generate`` does."""
    for one in (app, flask_only):
        digest = next(iter(service_of(one).registry.values())).model.digest
        told = ask(one, "seed=2600", path=f"/models/{digest}/generate").server_timing
        assert told
        assert told.startswith("cache;desc=miss, batch;desc=1, ")


@pytest.mark.parametrize(("path", "query"), ASKED)
def test_what_was_not_made_tells_nothing(app: ASGIApp, path: str, query: str) -> None:
    """Neither HEAD nor an error has the header, nor has any other route."""
    assert ask(app, query, "HEAD", path).server_timing is None
    assert ask(app, "seed=x", path=path).server_timing is None
    assert ask(app, path="/models").server_timing is None


def test_equal_requests_tell_that_they_shared(make_service: Callable[..., Service]) -> None:
    """Of several who ask for the same at once one has it made, and all others have a share in it."""
    service = make_service()

    async def play() -> list[Any]:
        return await asyncio.gather(*(generate(service, "seed=1", RequestHeaders()) for _ in range(3)))

    told = [shape(reply.server_timing) for reply in service.portal.run(play())]
    assert told[1:] == ["cache;desc=coalesced"] * 2
    assert told[0] is not None
    assert told[0].startswith("cache;desc=miss")


def test_a_batch_counts_the_rows_of_others(make_service: Callable[..., Service]) -> None:
    """Two different requests of one moment are one inference, and each tells of all its rows."""
    service = make_service()

    async def play() -> list[Any]:
        return await asyncio.gather(*(generate(service, query, RequestHeaders()) for query in ("seed=1&n=3", "seed=9&n=5")))

    told = [reply.server_timing for reply in service.portal.run(play())]
    assert all("batch;desc=8," in value for value in told)


def test_an_answer_of_several_batches_tells_of_the_largest(make_service: Callable[..., Service]) -> None:
    """Ten rows in batches of four at most."""
    told = fetch(make_service(max_batch=4), "seed=1&n=10").server_timing
    assert told
    assert "batch;desc=4," in told


def test_the_times_of_several_batches_are_added() -> None:
    """In milliseconds, from the moments that were kept."""
    timings = Timings()
    for submitted, begun, ended in ((1.0, 1.25, 1.5), (2.0, 2.001, 2.0035)):
        batch = BatchTimes(4)
        batch.begun, batch.ended = begun, ended
        timings.runs.append(Run(submitted, batch))
    timings.encoding = (3.0, 3.0101)
    told = timings.server_timing()
    assert told == "cache;desc=miss, batch;desc=4, queue;dur=251.00, inference;dur=252.50, encode;dur=10.10"
    assert re.match(SERVER_TIMING, told)


def test_a_replys_headers_are_those_of_what_is_answered(make_service: Callable[..., Service]) -> None:
    """A reply's headers, which the archive for TorchServe passes on, hold nothing of one request alone."""
    reply = fetch(make_service(), "seed=1")
    assert "Server-Timing" not in dict(reply.headers)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("path", "query", "labels"),
    [
        ("/generate", "seed=77", {"route": "/generate", "cache": "miss", "model": "conditional"}),
        ("/generate", "seed=1&model=grey", {"route": "/generate", "cache": "miss", "model": "grey"}),
        ("/mix", "a=1&b=77&model=grey", {"route": "/mix", "cache": "miss", "model": "grey"}),
        ("/generate", "seed=1&model=canary", {"route": "/generate", "cache": "miss", "model": ""}),
        ("/models/grey", "", {"route": "/models/<name>", "cache": "miss", "model": ""}),
    ],
)
def test_durations_are_told_by_model(both: list[ASGIApp], path: str, query: str, labels: dict[str, str]) -> None:
    """The histogram's label is the name of the served model that an answer is from, and empty where it is from none."""
    service, name = service_of(both[0]), "gan_http_request_duration_seconds_count"
    before = measured(service, name, **labels)
    ask(both[0], query, path=path)
    assert measured(service, name, **labels) == before + 1


def test_each_histogram_holds_its_share_of_the_time_that_passed(app: ASGIApp) -> None:
    """In seconds: the steps of one answer took longer than nothing and, together, no longer than the whole of it."""
    service = service_of(app)
    own = {"route": "/generate", "cache": "miss", "model": "grey"}

    def sums() -> list[float]:
        whole = measured(service, "gan_http_request_duration_seconds_sum", **own)
        waited = measured(service, "gan_queue_wait_seconds_sum")
        computed = measured(service, "gan_inference_duration_seconds_sum", model="grey", provider="cpu")
        return [waited, computed, measured(service, "gan_encode_duration_seconds_sum", format="png"), whole]

    before, begun = sums(), time.perf_counter()
    assert ask(app, "seed=2700&model=grey").status == 200
    passed = time.perf_counter() - begun
    *steps, whole = (after - earlier for after, earlier in zip(sums(), before, strict=True))
    assert min(steps) > 0
    assert sum(steps) < whole < passed
