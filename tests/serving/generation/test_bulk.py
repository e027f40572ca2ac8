"""Bulk answers, and where answers are encoded, so that other requests do not wait for them."""

from __future__ import annotations

import asyncio
import gc
import io
import tarfile
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from serving.generation.generate import RequestHeaders, Service, generate
from serving.generation.interpolate import walk
from serving.generation.thread_queue import ThreadQueue
from serving.model.load import Model
from tests.harness.processes import TIMEOUT
from tests.serving.client import fetch


def test_many_rows_are_those_of_the_seeds(make_service: Callable[..., Service], models: dict[str, Model]) -> None:
    """With n=1000 as npy, each row is the row of its seed alone, in order, whole batches and the rest."""
    rows = np.load(io.BytesIO(fetch(make_service(), "model=grey&seed=7&n=1000&format=npy").body), allow_pickle=False)
    alone = np.concatenate([models["grey"].sample([seed]) for seed in range(7, 1007)])
    assert rows.tobytes() == alone.tobytes()


@pytest.mark.parametrize("more", ["", "&y=3&c0=.5&scale=2", "&model=colour"])
def test_a_tar_brings_the_files_of_generate(make_service: Callable[..., Service], more: str) -> None:
    """Each of 70 members is byte for byte what ``/generate`` answers for its seed, the text of the PNG included."""
    service = make_service()
    data = fetch(service, f"seed=100&n=70&format=tar{more}").body
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        members = archive.getmembers()
        found = {member.name: archive.extractfile(member).read() for member in members}
    assert [member.name for member in members] == [f"{seed}.png" for seed in range(100, 170)]
    assert found == {f"{seed}.png": fetch(service, f"seed={seed}{more}").body for seed in range(100, 170)}


def test_a_tar_is_the_same_each_time(make_service: Callable[..., Service]) -> None:
    """Two services give the same archive, byte for byte: no time, no user, no host is in it."""
    assert len({fetch(make_service(), "seed=1&n=5&format=tar").body for _ in range(2)}) == 1


class CountingThreads(ThreadPoolExecutor):
    """Threads that count what they are given."""

    overrides = 0

    def submit(self, *arguments: Any, **named: Any) -> Any:
        self.overrides += 1
        return super().submit(*arguments, **named)


@pytest.mark.parametrize(
    ("make", "query", "is_threaded"),
    [
        (generate, "seed=1", False),
        (generate, "seed=1&n=64", False),
        (generate, "seed=1&scale=16", True),
        (generate, "seed=1&format=avif", True),
        (generate, "seed=1&n=100&format=npy", True),
        (generate, "model=points2&seed=1", False),
        (generate, "model=points2&seed=1&format=png", True),
        (walk, "from=1&to=2&frames=2", True),
        (walk, "from=1&to=2&frames=2&format=npy", False),
    ],
)
def test_what_takes_long_is_encoded_in_a_thread(
    make_service: Callable[..., Service], make: Any, query: str, is_threaded: bool
) -> None:
    """Animations, plots, AVIF, and answers of many rows or pixels leave the event loop free; small answers do not."""
    with CountingThreads(1) as threads:
        service = replace(make_service(), encoding=ThreadQueue(2**28, "bytes", "encoding", threads))
        assert service.portal.run(make(service, query, RequestHeaders())).status == 200
        assert bool(threads.overrides) == is_threaded


@pytest.mark.slow
def test_a_cancelled_answer_that_waits_is_let_go() -> None:
    """Rows of requests whose clients have left take no memory behind an answer that takes long to encode."""
    begun, let = threading.Event(), threading.Event()

    def encode_slowly() -> bytes:
        begun.set()
        assert let.wait(TIMEOUT)
        return b"body"

    async def play() -> None:
        queue = ThreadQueue(100, "bytes", "encoding")
        slow = asyncio.create_task(queue.run(encode_slowly, 100 - 8))
        while not begun.is_set():
            await asyncio.sleep(0.001)
        rows = np.zeros(8, np.uint8)
        kept = weakref.ref(rows)
        waiting = asyncio.create_task(queue.run(rows.tobytes, rows.nbytes))
        del rows
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
        del waiting
        gc.collect()
        assert kept() is None
        let.set()
        assert await slow == b"body"

    asyncio.run(play())
