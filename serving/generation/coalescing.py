"""Answers in the making: one flight for all who ask for the same thing meanwhile, each with a deadline of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Executor
from functools import partial

import numpy as np

from contract import Array, Overrides
from serving.engine.batcher import Batcher, Job
from serving.errors import ClientDisconnected, DeadlineExceeded
from serving.latents.sources import RowSource
from serving.observability.timings import Run, Timings

Encode = Callable[[Array, Timings], bytes]
"""Rows to the bytes that are answered, saying how long it took; may refuse them by raising."""
Land = Callable[["InFlight", bytes | None], None]

GRACE_SECONDS = 0.05
"""How long a client is waited for before it is watched; most answers are there sooner."""
SMALL_ROWS_BYTES = 2**16
"""Rows of more bytes than this are encoded in a thread."""


class Deadline:
    """How long one client waits: until its deadline, or until it has gone away.

    Args:
        seconds: from now to the deadline.
        until_gone: returns when the client is gone; None where that cannot be known.
    """

    __slots__ = ("_seconds", "_until_disconnected", "_timer", "_watcher")

    def __init__(self, seconds: float, until_disconnected: Callable[[], Awaitable[None]] | None = None) -> None:
        self._seconds = seconds
        self._until_disconnected = until_disconnected
        self._timer: asyncio.TimerHandle | None = None
        self._watcher: asyncio.Task[None] | None = None

    def start(self, waiter: asyncio.Future[bytes]) -> None:
        """End the waiter when patience ends."""
        loop = asyncio.get_running_loop()
        if self._seconds <= GRACE_SECONDS:
            self._timer = loop.call_later(self._seconds, self._expire, waiter)
        else:
            self._timer = loop.call_later(GRACE_SECONDS, self._look, waiter)

    def stop(self) -> None:
        """The wait is over."""
        if self._timer:
            self._timer.cancel()
        if self._watcher:
            self._watcher.cancel()

    def _look(self, waiter: asyncio.Future[bytes]) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._seconds - GRACE_SECONDS, self._expire, waiter)
        if self._until_disconnected:
            self._watcher = loop.create_task(self._watch(self._until_disconnected, waiter))

    def _expire(self, waiter: asyncio.Future[bytes]) -> None:
        if not waiter.done():
            waiter.set_exception(DeadlineExceeded(self._seconds))

    async def _watch(self, until_disconnected: Callable[[], Awaitable[None]], waiter: asyncio.Future[bytes]) -> None:
        await until_disconnected()
        if not waiter.done():
            waiter.set_exception(ClientDisconnected())


class InFlight:
    """One answer being made. It ends when it is there, when it fails, or when nobody waits for it any more.

    Args:
        seeds: all that are wanted, or places between seeds, or rows of latents; more than a batch holds are run one batch after
            the other, with those of others in between.
        given: what all of them fix.
        batcher: of the model.
        max_batch: rows of a job, at most.
        encode: makes the answer from the rows.
        is_slow: whether it is encoded in a thread even if there are few rows.
        land: called once at the end, with the bytes if there are any.
        threads: where large answers are encoded.
    """

    def __init__(
        self,
        seeds: Sequence[RowSource],
        overrides: Overrides,
        *,
        batcher: Batcher,
        max_batch: int,
        encode: Encode,
        is_slow: bool,
        land: Land,
        threads: Executor,
    ) -> None:
        self._seeds = seeds
        self._given = overrides
        self._batcher = batcher
        self._max_batch = max_batch
        self._encode = encode
        self._is_slow = is_slow
        self._land = land
        self._threads = threads
        self.timings = Timings()
        self._parts: list[Array] = []
        self._rows = 0
        self._job: Job | None = None
        self._waiters: list[asyncio.Future[bytes]] = []
        self._is_over = False

    def start(self) -> None:
        """Ask for the first rows.

        Raises:
            QueueFull, Draining: they are refused.
        """
        part = self._seeds[self._rows : self._rows + self._max_batch]
        self._job = Job(part, self._given, self._take)
        self._batcher.submit(self._job)

    async def wait(self, deadline: Deadline) -> bytes:
        """The answer.

        Raises:
            DeadlinePassed, ClientGone: patience ended first.
            Exception: whatever the answer failed with.
        """
        waiter: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        deadline.start(waiter)
        try:
            return await waiter
        finally:
            deadline.stop()
            self._leave(waiter)

    def _leave(self, waiter: asyncio.Future[bytes]) -> None:
        self._waiters.remove(waiter)
        if not self._waiters and not self._is_over:
            if self._job:
                self._batcher.withdraw(self._job)
            self._end(None, None)

    def _take(self, rows: Array | None, error: Exception | None) -> None:
        if self._is_over:
            return
        assert self._job is not None
        if self._job.batch:
            self.timings.runs.append(Run(self._job.submitted, self._job.batch))
        try:
            if rows is None:
                raise error or RuntimeError("a batch gave neither rows nor an error")
            self._parts.append(rows)
            self._rows += len(rows)
            if self._rows < len(self._seeds):
                self.start()
            else:
                self._finish(self._parts[0] if len(self._parts) == 1 else np.concatenate(self._parts))
        except Exception as failure:  # told to everyone who waits
            self._end(None, failure)

    def _finish(self, rows: Array) -> None:
        if rows.nbytes <= SMALL_ROWS_BYTES and not self._is_slow:
            self._end(self._encode(rows, self.timings), None)
        else:
            encoding = asyncio.get_running_loop().run_in_executor(self._threads, self._encode, rows, self.timings)
            encoding.add_done_callback(self._encoded)

    def _encoded(self, encoding: asyncio.Future[bytes]) -> None:
        error = encoding.exception()
        assert error is None or isinstance(error, Exception)
        self._end(None if error else encoding.result(), error)

    def _end(self, body: bytes | None, error: Exception | None) -> None:
        if self._is_over:
            return
        self._is_over = True
        self._land(self, body)
        for waiter in self._waiters:
            if not waiter.done():
                if body is None:
                    waiter.set_exception(error or RuntimeError("an answer ended without a reason"))
                else:
                    waiter.set_result(body)


class Coalescer:
    """The flights that others may join, by key."""

    def __init__(self, keep: Callable[[str, bytes], None]) -> None:
        self._flying: dict[str, InFlight] = {}
        self._keep = keep

    def find(self, key: str) -> InFlight | None:
        """The flight of that key, if it is on its way."""
        return self._flying.get(key)

    def launch(self, key: str | None, make: Callable[[Land], InFlight]) -> InFlight:
        """Start a flight; one without a key is joined by nobody and its answer is not kept.

        Raises:
            QueueFull, Draining: it cannot start.
        """
        flight = make(partial(self._land, key))
        flight.start()
        if key is not None:
            self._flying[key] = flight
        return flight

    def _land(self, key: str | None, flight: InFlight, body: bytes | None) -> None:
        if key is not None:
            if self._flying.get(key) is flight:
                del self._flying[key]
            if body is not None:
                self._keep(key, body)
