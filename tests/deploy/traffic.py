"""Real requests to a real service, of every kind that its dashboard shows, from threads that end with a block."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tests.harness.service import Server

SEEDS = itertools.count(1000)
"""Never asked for before."""


def trickle(server: Server) -> None:
    """One of each kind: hit, miss, 304, wrong, unknown, a walk, a place between two, a plot, the pages."""
    etag = server.get("/generate?seed=1")[1]["etag"]
    server.get("/generate?seed=1", headers={"If-None-Match": etag})
    server.get(f"/generate?seed={next(SEEDS)}")
    server.get(f"/generate?seed={next(SEEDS)}&model=points2&format=png")
    server.get("/generate?seed=x")
    server.get("/nowhere")
    server.get(f"/walk?from=1&to={next(SEEDS)}&frames=2&format=apng")
    server.get(f"/mix?a=1&b={next(SEEDS)}")
    server.get("/models")
    server.get("/readyz")


def slowly(server: Server) -> None:
    """A sheet that takes long to encode; several at once take longer than 250 ms each, on a quick machine, too."""
    server.get(f"/generate?seed={next(SEEDS)}&n=16&scale=16&format=webp")


def too_much(server: Server) -> None:
    """As many images as may wait at all: of several such requests at once most are refused."""
    server.get(f"/generate?seed={next(SEEDS)}&n=64&format=npy&model=convolutional")


@contextmanager
def asking(server: Server, ask: Callable[[Server], None], threads: int, pause_s: float) -> Iterator[None]:
    """Send requests from that many threads, with a pause after each time, until the block ends."""
    is_over = threading.Event()

    def run() -> None:
        while not is_over.wait(pause_s):
            ask(server)

    started = [threading.Thread(target=run) for _ in range(threads)]
    for thread in started:
        thread.start()
    try:
        yield
    finally:
        is_over.set()
        for thread in started:
            thread.join()
