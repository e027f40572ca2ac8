"""The queue of large responses that wait to be encoded, in a thread of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from serving.errors import QueueFull

MAX_WAITING_BYTES = 2**28
"""Rows that wait or are being encoded; a request that finds more is refused."""


class EncodingQueue:
    """Encodes one response after the other; used on the event loop.

    Args:
        max_bytes: rows that may wait; one response of any size may wait alone.
        threads: runs the encoders.
    """

    def __init__(self, max_bytes: int = MAX_WAITING_BYTES, threads: ThreadPoolExecutor | None = None) -> None:
        self._max_bytes = max_bytes
        self._threads = threads or ThreadPoolExecutor(1, "encoding")
        self._bytes = 0

    async def run(self, encode: Callable[[], bytes], size: int) -> bytes:
        """Encode; a cancelled request that still waits is never encoded.

        Args:
            encode: returns the body.
            size: bytes of the rows that it holds.

        Raises:
            QueueFull: too many rows wait.
        """
        if self._bytes and self._bytes + size > self._max_bytes:
            raise QueueFull(self._max_bytes, "bytes wait to be encoded")
        self._bytes += size
        waiting = [encode]
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, lambda: waiting.pop()())
        finally:
            waiting.clear()  # the executor keeps a cancelled call until its turn; it must not keep the rows
            self._bytes -= size
