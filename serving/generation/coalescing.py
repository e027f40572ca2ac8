"""Results being computed: one computation for all requests that ask for the same thing, each with a deadline of its own."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any, Generic, TypeVar

from serving.errors import BadParameter, ClientDisconnected, DeadlineExceeded
from serving.generation.eager_run import EagerRun
from serving.observability.timings import Timings

T = TypeVar("T")

Produce = Callable[[Timings], Coroutine[Any, Any, T]]
"""Computes a result and records what it took; cancelled when no request waits for it any more."""

GRACE_SECONDS = 0.05
"""Seconds until a client's connection is watched; most results are there sooner."""

UntilDisconnected = Callable[[Callable[[], bool]], Awaitable[None]]
"""Returns when the client has left, given a function that says whether its request still waits for the model."""

MILLISECONDS = re.compile(r"[1-9][0-9]{0,8}", re.ASCII)
"""What ``X-Request-Timeout-Ms`` may be."""


def waiting_seconds(timeout_ms: str | None, limit: float) -> float:
    """Return the seconds until the request's deadline: ``X-Request-Timeout-Ms``, but at most ``limit``.

    Raises:
        BadParameter: the header is no number of milliseconds.
    """
    if timeout_ms is None:
        return limit
    if not MILLISECONDS.fullmatch(timeout_ms):
        raise BadParameter("X-Request-Timeout-Ms", timeout_ms, "an integer 1..999999999")
    return min(int(timeout_ms) / 1000, limit)


class Deadline:
    """How long one request waits: until its deadline, or until its client has disconnected.

    Args:
        seconds: from the arrival of the request to the deadline.
        until_disconnected: returns when the client has disconnected; None where that cannot be known.
        arrival: when the request arrived (``time.perf_counter``); None for now.
    """

    __slots__ = ("seconds", "_arrival", "_until_disconnected", "_timer", "_watcher")

    def __init__(
        self, seconds: float, until_disconnected: UntilDisconnected | None = None, arrival: float | None = None
    ) -> None:
        self.seconds = seconds
        self._arrival = time.perf_counter() if arrival is None else arrival
        self._until_disconnected = until_disconnected
        self._timer: asyncio.TimerHandle | None = None
        self._watcher: asyncio.Task[None] | None = None

    def remaining(self) -> float:
        """Return the seconds that are left; negative after the deadline."""
        return self._arrival + self.seconds - time.perf_counter()

    def check(self) -> None:
        """Check that the deadline has not passed, so that no work begins for a request whose client no longer waits.

        Raises:
            DeadlineExceeded: it has.
        """
        if self.remaining() <= 0:
            raise DeadlineExceeded(self.seconds)

    def start(self, waiter: asyncio.Future[Any], timings: Timings) -> None:
        """Fail the waiter at the deadline, or when the client disconnects; ``timings`` are those of the computation."""
        loop = asyncio.get_running_loop()
        if (remaining := self.remaining()) <= GRACE_SECONDS:
            self._timer = loop.call_later(remaining, self._expire, waiter)
        else:
            self._timer = loop.call_later(GRACE_SECONDS, self._watch_client, waiter, timings)

    def stop(self) -> None:
        """Cancel the timer and the watcher, and forget them: the watcher's frames hold this object in a cycle."""
        if self._timer:
            self._timer.cancel()
        if self._watcher:
            self._watcher.cancel()
        self._timer = self._watcher = None

    def _watch_client(self, waiter: asyncio.Future[Any], timings: Timings) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self.remaining(), self._expire, waiter)
        if self._until_disconnected:
            self._watcher = loop.create_task(self._fail_when_disconnected(self._until_disconnected, waiter, timings))

    def _expire(self, waiter: asyncio.Future[Any]) -> None:
        if not waiter.done():
            waiter.set_exception(DeadlineExceeded(self.seconds))

    async def _fail_when_disconnected(
        self, until_disconnected: UntilDisconnected, waiter: asyncio.Future[Any], timings: Timings
    ) -> None:
        await until_disconnected(lambda: timings.is_queued)
        if not waiter.done():
            waiter.set_exception(ClientDisconnected())


class InFlight(Generic[T]):
    """One result being computed; the computation is cancelled when the last waiting request leaves.

    Args:
        produce: computes the result.
        on_end: called once, when the computation ends in any way.
    """

    def __init__(self, produce: Produce[T], on_end: Callable[[], object] = lambda: None) -> None:
        self.timings = Timings()
        self.is_over = False
        """Whether the computation has ended; it may do so before a request waits."""
        self._on_end = on_end
        self._first: asyncio.Future[T] | None = asyncio.get_running_loop().create_future()
        self._waiters = [self._first]
        self._run = EagerRun(self._compute(produce))

    async def wait(self, deadline: Deadline) -> T:
        """Return the result.

        Raises:
            DeadlineExceeded, ClientDisconnected: before the result was there.
            Exception: the computation failed with it.
        """
        waiter, self._first = self._first, None
        if waiter is None:
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
        deadline.start(waiter, self.timings)
        try:
            return await waiter
        finally:
            deadline.stop()
            self._waiters.remove(waiter)
            if not self._waiters and not self.is_over:
                self._end()
                self._run.cancel()

    async def _compute(self, produce: Produce[T]) -> None:
        try:
            result = await produce(self.timings)
        except Exception as error:  # raised in every waiting request
            for waiter in self._end():
                waiter.set_exception(error)
        else:
            for waiter in self._end():
                waiter.set_result(result)

    def _end(self) -> list[asyncio.Future[T]]:
        """End the computation, and return the waiters that its outcome is for."""
        self.is_over = True
        self._on_end()
        return [waiter for waiter in self._waiters if not waiter.done()]


class Coalescer:
    """The bodies being computed, by entity tag, so that equal requests share one computation."""

    def __init__(self) -> None:
        self._in_flight: dict[str | None, InFlight[bytes]] = {}

    def find(self, key: str | None) -> InFlight[bytes] | None:
        """Return the computation of that key, if one is in flight."""
        return self._in_flight.get(key)

    def start(self, key: str | None, produce: Produce[bytes]) -> InFlight[bytes]:
        """Start a computation; one without a key is shared with no other request."""
        in_flight = InFlight(produce, partial(self._in_flight.pop, key, None))
        if key is not None and not in_flight.is_over:
            self._in_flight[key] = in_flight
        return in_flight
