"""A limited queue of work that takes too long for the event loop, done in a thread of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from serving.errors import QueueFull

T = TypeVar("T")


class ThreadQueue:
    """Does one piece of work after the other; used on the event loop.

    Args:
        limit: sizes of all work that waits or is being done, together; one piece of any size may wait alone.
        what: is limited, for a refusal: ``bytes wait to be encoded``.
        name: of the thread.
        threads: does the work; None for a thread of that name.
    """

    def __init__(self, limit: int, what: str, name: str, threads: ThreadPoolExecutor | None = None) -> None:
        self._limit = limit
        self._what = what
        self.threads = threads or ThreadPoolExecutor(1, name)
        self._size = 0

    def check_room(self, size: int) -> None:
        """Check that work of that size may wait now.

        Raises:
            QueueFull: too much waits.
        """
        if self._size and self._size + size > self._limit:
            raise QueueFull(self._limit, self._what)

    async def run(self, work: Callable[[], T], size: int) -> T:
        """Return what the work returns, or raise what it raises; cancelled work that still waits is never done.

        Args:
            work: called in the thread.
            size: what it counts of the limit, such as the bytes that it holds.

        Raises:
            QueueFull: too much waits.
        """
        self.check_room(size)
        self._size += size
        waiting = [work]
        try:
            return await asyncio.get_running_loop().run_in_executor(self.threads, lambda: waiting.pop()())
        finally:
            waiting.clear()  # the executor keeps a cancelled call until its turn; it must not keep what the work holds
            self._size -= size
