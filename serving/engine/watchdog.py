"""What ends a worker that cannot be mended: a run that never returns, a GPU context that is broken for good.

The launcher starts another worker in its place; a worker that is ended says why first.
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Callable, Iterable

from serving.observability.logs import Log

EXIT_CODE = 70
"""EX_SOFTWARE of sysexits.h."""
LAST_SECONDS = 1.0
"""How long a broken worker still answers, not ready any more, and how slowly it can therefore be replaced at most."""

STICKY = re.compile(
    r"CUDA (?:failure|error)[ :]+(?!2\b)\d+|cudaError(?:Illegal|LaunchFailure)|CUDNN_STATUS_(?:EXECUTION|INTERNAL)",
    re.IGNORECASE,
)
"""Errors after which no call of this process succeeds; 2 is out of memory, which passes."""


def is_sticky(error: BaseException) -> bool:
    """Whether onnxruntime's error says that the CUDA context is lost."""
    return STICKY.search(str(error)) is not None


class Watchdog:
    """Whether this worker can still answer.

    Args:
        leave: ends the process.
    """

    def __init__(self, leave: Callable[[int], None] = os._exit) -> None:
        self._leave = leave
        self.on_exit: Callable[[], None] = lambda: None
        """Called before the process is ended: what is written in the log must come to be read."""
        self.is_failing = False
        """Whether the end is near; the worker is not ready from then on."""

    def inspect(self, error: BaseException, log: Log) -> None:
        """End the process soon if this error means that nothing will succeed any more."""
        if is_sticky(error) and not self.is_failing:
            self.is_failing = True
            log("lost", reason=str(error)[:1000])
            timer = threading.Timer(LAST_SECONDS, self._end)
            timer.daemon = True
            timer.start()

    def watch(self, running_since: Callable[[], Iterable[float | None]], stall_seconds: float, log: Log) -> None:
        """From a thread of its own, end the process when a run has not returned for so long."""
        watchdog = threading.Thread(target=self._watch, args=(running_since, stall_seconds, log), name="watchdog", daemon=True)
        watchdog.start()

    def _watch(self, running_since: Callable[[], Iterable[float | None]], stall_seconds: float, log: Log) -> None:
        while True:
            time.sleep(min(1.0, stall_seconds / 4))
            started = [since for since in running_since() if since is not None]
            if started and time.monotonic() - min(started) > stall_seconds:
                self.is_failing = True
                log("stalled", seconds=round(time.monotonic() - min(started), 1))
                self._end()
                return

    def _end(self) -> None:
        self.on_exit()
        self._leave(EXIT_CODE)
