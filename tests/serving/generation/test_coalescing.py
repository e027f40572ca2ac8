"""What lies between a request and the batcher: kept answers, answers shared in the making, deadlines, clients that leave."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from serving.errors import ClientDisconnected, DeadlineExceeded, NotFound
from serving.generation.coalescing import GRACE_SECONDS, Coalescer, Deadline
from serving.generation.generate import RequestHeaders, Service, generate
from serving.generation.service import answer
from serving.http.scope import HALF_CLOSED, until_disconnected
from serving.model.load import Model
from serving.observability.timings import Timings
from tests.serving.client import fetch, measured, on_a_loop
from tests.serving.sessions import BreakableSession, HeldSession


@pytest.fixture
def held(make_service: Callable[..., Service], models: dict[str, Model]) -> tuple[Service, HeldSession]:
    """A service of one model that keeps answers, and its session."""
    session = HeldSession(models["grey"].session)
    return make_service({"grey": replace(models["grey"], session=session)}, cache_bytes=2**20), session


async def begun(session: HeldSession) -> None:
    assert await asyncio.to_thread(session.begun.wait, 30)


def test_a_kept_answer_runs_no_inference_and_is_the_same(held: tuple[Service, HeldSession]) -> None:
    """D-09: asked again, the same bytes and headers come from the cache; any other parameter is made anew."""
    service, session = held
    session.let.set()
    first, again = fetch(service, "seed=42"), fetch(service, "scale=1&seed=42")
    assert (first.cache, again.cache, len(session.fed)) == ("miss", "hit", 1)
    assert (first.body, first.headers) == (again.body, again.headers)
    assert {fetch(service, query).cache for query in ("seed=43", "seed=42&scale=2", "seed=42&n=2")} == {"miss"}
    assert [measured(service, "gan_cache_requests_total", result=result) for result in ("hit", "miss")] == [1, 4]
    assert measured(service, "gan_cache_bytes") > len(first.body)


def test_a_random_seed_is_never_kept(held: tuple[Service, HeldSession]) -> None:
    """An answer without a seed is made anew and fills no cache."""
    service, session = held
    session.let.set()
    assert {fetch(service, "").cache for _ in range(3)} == {"miss"}
    assert measured(service, "gan_cache_bytes") == 0


def test_equal_requests_in_flight_are_one_inference(held: tuple[Service, HeldSession]) -> None:
    """A request equal to one in flight waits for it and gets the same bytes."""
    service, session = held

    async def play() -> list[Any]:
        tasks = [asyncio.create_task(generate(service, "seed=1", RequestHeaders())) for _ in range(5)]
        await begun(session)
        session.let.set()
        return await asyncio.gather(*tasks)

    replies = service.portal.run(play())
    assert sorted(reply.cache for reply in replies) == ["coalesced"] * 4 + ["miss"]
    assert len({reply.body for reply in replies}) == 1
    assert len(session.fed) == 1


@pytest.mark.parametrize("milliseconds", ["1", "200"])
def test_a_deadline_ends_the_wait_and_not_the_batch_that_runs(held: tuple[Service, HeldSession], milliseconds: str) -> None:
    """O-05: behind a batch that runs, a request is 504 when its deadline passes, not after its turn, and is never run."""
    service, session = held

    async def play() -> None:
        first = asyncio.create_task(generate(service, "seed=1", RequestHeaders()))
        await begun(session)
        asked = time.perf_counter()
        late = await answer(service, lambda event, **facts: None, "seed=2", RequestHeaders(timeout_ms=milliseconds))
        waited = time.perf_counter() - asked
        assert (late.status, dict(late.headers)["Retry-After"]) == (504, "1")
        session.let.set()
        assert (await first).status == 200
        assert waited > 0.9 * int(milliseconds) / 1000  # uvloop's timers count whole milliseconds

    service.portal.run(play())
    assert len(session.fed) == 1
    assert measured(service, "gan_rejected_total", reason="deadline_exceeded") == 1
    assert measured(service, "gan_queue_depth") == 0


def test_the_services_own_deadline_is_the_longest(make_service: Callable[..., Service], models: dict[str, Model]) -> None:
    """O-06: a client cannot ask for more time than the service gives."""
    session = HeldSession(models["grey"].session)
    service = make_service({"grey": replace(models["grey"], session=session)}, deadline_seconds=0.02)
    with pytest.raises(DeadlineExceeded, match=r"0\.02 s"):
        fetch(service, "seed=1", RequestHeaders(timeout_ms="999999999"))
    session.let.set()


@pytest.mark.parametrize("text", ["0", "-1", "abc", "", "1e9", "1.5", "9999999999"])
def test_a_malformed_deadline_is_refused(make_service: Callable[..., Service], text: str) -> None:
    """O-06: the header's value must be an integer of milliseconds, also where nothing is waited for."""
    service = make_service()
    reply = service.portal.run(answer(service, lambda event, **facts: None, "seed=1", RequestHeaders(timeout_ms=text)))
    assert reply.status == 400
    assert b"X-Request-Timeout-Ms must be an integer 1..999999999, got" in reply.body
    wrong = RequestHeaders(timeout_ms=text, is_head=True, if_none_match="*")
    assert service.portal.run(answer(service, lambda event, **facts: None, "seed=1", wrong)).status == 400


def test_a_client_that_leaves_takes_its_work_along(held: tuple[Service, HeldSession]) -> None:
    """O-07: what only gone clients wait for leaves the queue; what another one waits for is made."""
    service, session = held

    async def gone(is_waiting: Callable[[], bool]) -> None:
        return

    async def play() -> None:
        first = asyncio.create_task(generate(service, "seed=1", RequestHeaders()))
        await begun(session)
        leaving = [
            asyncio.create_task(generate(service, f"seed={seed}", RequestHeaders(until_disconnected=gone)))
            for seed in (2, 3, 3)
        ]
        staying = asyncio.create_task(generate(service, "seed=3", RequestHeaders()))
        results = await asyncio.gather(*leaving, return_exceptions=True)
        assert [type(result) for result in results] == [ClientDisconnected] * 3
        assert measured(service, "gan_queue_depth") == 1
        session.let.set()
        assert (await first).status == (await staying).status == 200

    service.portal.run(play())
    assert len(session.fed) == 2


def test_a_closed_writing_half_costs_only_work_that_waits(held: tuple[Service, HeldSession]) -> None:
    """H-19, O-07: of clients that have closed their writing half, the one whose sample is being made gets it, and the one whose
    sample still waits loses it.
    """
    service, session = held

    async def half_closed(is_waiting: Callable[[], bool]) -> None:
        messages: list[dict[str, object]] = [{"type": "http.request", "more_body": False}]

        async def receive() -> dict[str, object]:
            if not messages:
                await asyncio.Event().wait()
            return messages.pop()

        await until_disconnected({HALF_CLOSED: True}, receive, is_waiting)

    async def play() -> None:
        running = asyncio.create_task(generate(service, "seed=1", RequestHeaders(until_disconnected=half_closed)))
        await begun(session)
        waiting = asyncio.create_task(generate(service, "seed=2", RequestHeaders(until_disconnected=half_closed)))
        with pytest.raises(ClientDisconnected):
            await waiting
        session.let.set()
        assert (await running).status == 200

    service.portal.run(play())


def test_a_failed_flight_fails_for_all_and_is_forgotten(make_service: Callable[..., Service], models: dict[str, Model]) -> None:
    """O-09: an error reaches every request that waits for it, is not cached, and the next request is right."""
    session = BreakableSession(models["grey"].session)
    service = make_service({"grey": replace(models["grey"], session=session)}, cache_bytes=2**20)
    session.is_broken = True

    async def play() -> list[Any]:
        asked = [generate(service, "seed=1", RequestHeaders()) for _ in range(3)]
        return await asyncio.gather(*asked, return_exceptions=True)

    assert [str(result) for result in service.portal.run(play())] == ["cable cut"] * 3
    session.is_broken = False
    assert fetch(service, "seed=1").cache == "miss"


def test_a_large_answer_is_encoded_off_the_loop(make_service: Callable[..., Service]) -> None:
    """A sheet of many rows is the same whether the loop or a thread encodes it; the loop answers others meanwhile."""
    service = make_service()
    large = "model=colour&seed=0&n=256&format=npy"

    async def play() -> list[Any]:
        return await asyncio.gather(*(generate(service, query, RequestHeaders()) for query in (large, "seed=1", large)))

    one, small, other = service.portal.run(play())
    assert one.body == other.body
    assert small.body == fetch(service, "seed=1").body


@pytest.mark.slow
@on_a_loop
async def test_a_request_that_waited_long_leaves_no_garbage() -> None:
    """Requests whose connections were watched leave nothing to the garbage collector, for whose pauses all others wait."""
    coalescer = Coalescer()

    async def produce(timings: Timings) -> bytes:
        await asyncio.sleep(2 * GRACE_SECONDS)
        return b"body"

    async def until_disconnected(is_waiting: Callable[[], bool]) -> None:
        await asyncio.Event().wait()

    async def wait_for_all() -> list[bytes]:
        waits = (coalescer.start(str(key), produce).wait(Deadline(30, until_disconnected)) for key in range(20))
        return await asyncio.gather(*waits)

    assert await wait_for_all() == 20 * [b"body"]
    gc.collect()
    gc.disable()
    try:
        await wait_for_all()
        await asyncio.sleep(0.01)  # the watchers end in the loop's next turns
        assert gc.collect() < 20
    finally:
        gc.enable()


@on_a_loop
async def test_a_computation_that_ends_before_a_request_waits_is_not_kept() -> None:
    """Its result or error is that of the request, and the next one computes anew."""
    coalescer = Coalescer()

    async def produce(timings: Timings) -> bytes:
        return b"body"

    async def fail(timings: Timings) -> bytes:
        raise NotFound("nothing here")

    for _ in range(2):
        assert coalescer.find("key") is None
        assert await coalescer.start("key", produce).wait(Deadline(30)) == b"body"
        with pytest.raises(NotFound):
            await coalescer.start("key", fail).wait(Deadline(30))
