"""A coroutine that runs without a task, so that it costs no turns of the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from serving.engine.backend import Rows


class EagerRun:
    """Runs a coroutine without a task: up to its first wait at once, and then on in the call that ends a wait.

    A task needs a turn of the event loop to begin and one after each wait; two turns took 4 to 6 % of a small model's request.

    Args:
        coroutine: awaits futures of the event loop; an exception that it raises is the caller's.
    """

    def __init__(self, coroutine: Coroutine[Any, Any, None]) -> None:
        self._coroutine = coroutine
        self._awaited: asyncio.Future[Any] | None = None
        self._is_cancelled = False
        self._step()

    def cancel(self) -> None:
        """Raise CancelledError in the coroutine where it waits."""
        self._is_cancelled = True
        if self._awaited:
            self._awaited.cancel()
            if isinstance(self._awaited, Rows):
                self._awaited.resume = None
                self._step()

    def _step(self, _awaited: asyncio.Future[Any] | None = None) -> None:
        self._awaited = None
        try:
            if self._is_cancelled:
                awaited = self._coroutine.throw(asyncio.CancelledError())
            else:
                awaited = self._coroutine.send(None)
        except (StopIteration, asyncio.CancelledError):
            return
        if awaited is None:  # of ``asyncio.sleep(0)``
            asyncio.get_running_loop().call_soon(self._step)
            return
        awaited._asyncio_future_blocking = False  # says to the future that its waiter has seen it, as a task does
        self._awaited = awaited
        if isinstance(awaited, Rows):
            awaited.resume = self._step
        else:
            awaited.add_done_callback(self._step)
