"""A watchdog that ends a worker which cannot recover: an inference that never returns, or a lost CUDA context.

The worker logs the reason before it ends; the launcher starts another one.
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
EXIT_DELAY_SECONDS = 1.0
"""Seconds for which a failing worker still answers, not ready; this also limits how often it can be restarted."""

STICKY = re.compile(
    r"CUDA (?:failure|error)[ :]+(?!2\b)\d+|cudaError(?:Illegal|LaunchFailure)|CUDNN_STATUS_(?:EXECUTION|INTERNAL)",
    re.IGNORECASE,
)
"""Errors after which no CUDA call of this process succeeds; 2 is out of memory, which is transient."""


def is_sticky(error: BaseException) -> bool:
    """Whether an error of onnxruntime means that the CUDA context is lost."""
    return STICKY.search(str(error)) is not None


class Watchdog:
    """Ends this worker process when it can no longer answer.

    Args:
        exit_process: ends the process with an exit code.
    """

    def __init__(self, exit_process: Callable[[int], None] = os._exit) -> None:
        self._exit_process = exit_process
        self.on_exit: Callable[[], None] = lambda: None
        """Called before the process ends, to flush the log."""
        self.is_failing = False
        """Whether the process is about to end; the worker is then not ready."""

    def inspect(self, error: BaseException, log: Log) -> None:
        """End the process soon if this error means that the CUDA context is lost."""
        if is_sticky(error) and not self.is_failing:
            self.is_failing = True
            log("lost", reason=str(error)[:1000])
            timer = threading.Timer(EXIT_DELAY_SECONDS, self._end)
            timer.daemon = True
            timer.start()

    def watch(self, running_since: Callable[[], Iterable[float | None]], stall_seconds: float, log: Log) -> None:
        """Start a thread that ends the process when an inference has run for longer than ``stall_seconds``."""
        args = (running_since, stall_seconds, log)
        threading.Thread(target=self._watch, args=args, name="watchdog", daemon=True).start()

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
        self._exit_process(EXIT_CODE)
