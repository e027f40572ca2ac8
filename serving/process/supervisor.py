"""The launcher's watch over its workers: starts them, replaces those that fall, and ends them in good order."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess

SIGNALS = (signal.SIGTERM, signal.SIGINT)
FIRST_PAUSE = 0.1
"""Seconds before a fallen worker is replaced; twice as many each time one falls young."""
LAST_PAUSE = 10.0
OLD_SECONDS = 10.0
"""A worker that has lived so long falls for a reason of its own, not for one that the next one meets at once."""
EXIT_GRACE_SECONDS = 5.0
"""Beyond the time for answers: a worker's server takes a second to notice, its spans three to be sent, its log one."""


@dataclass
class _Slot:
    """The place of one worker."""

    worker: BaseProcess | None = None
    began: float = 0.0
    pause: float = FIRST_PAUSE
    due: float = field(default_factory=time.monotonic)
    """When the next worker starts here."""


class Supervisor:
    """Keeps a number of workers alive until a signal says stop.

    Args:
        start: starts the worker process of a place, 0 to ``count`` - 1.
        count: of workers.
        is_hopeless: whether a fallen worker's exit code means that the service ends; it is told, too, whether it was the last.
        on_crash: called for each worker that ended without having been told to.
        drain: called at the first signal.
        drain_seconds: how long workers go on after SIGTERM; a second signal, or SIGINT, ends them without that delay.
        stop_seconds: how long a worker may go on answering; one that has not ended ``FAREWELL_SECONDS`` later is killed.
    """

    def __init__(
        self,
        start: Callable[[int], BaseProcess],
        count: int,
        *,
        is_hopeless: Callable[[int, bool], bool],
        on_crash: Callable[[], None],
        drain: Callable[[], None],
        drain_seconds: float,
        stop_seconds: float,
    ) -> None:
        self._start = start
        self._slots = [_Slot() for _ in range(count)]
        self._is_hopeless = is_hopeless
        self._on_crash = on_crash
        self._drain = drain
        self._drain_seconds = drain_seconds
        self._stop_seconds = stop_seconds
        self._stop_at: float | None = None
        """When workers are told to end; None while nobody asked for it."""
        self._kill_at: float | None = None
        """When those that have not ended are killed; None while none was told to end."""
        self._has_failed = False

    def run(self, signals: int) -> bool:
        """Whether it ended because it was told to; false when a worker could not start.

        Args:
            signals: what ``watch_signals`` gave.
        """
        while not self._is_over():
            self._replace()
            events = wait([signals, *self._sentinels()], self._patience())
            if signals in events:
                for number in os.read(signals, 64):
                    self._on_signal(number)
            self._reap()
            self._end_when_due()
        return not self._has_failed

    def _is_over(self) -> bool:
        return self._kill_at is not None and not self._workers()

    def _workers(self) -> list[BaseProcess]:
        return [post.worker for post in self._slots if post.worker]

    def _sentinels(self) -> list[int]:
        return [worker.sentinel for worker in self._workers()]

    def _patience(self) -> float | None:
        """Seconds until something is due; None when nothing is."""
        due = [post.due for post in self._slots if not post.worker and self._kill_at is None]
        moments = [moment for moment in (self._stop_at if self._kill_at is None else self._kill_at, *due) if moment is not None]
        return max(0.0, min(moments) - time.monotonic()) if moments else None

    def _replace(self) -> None:
        """Start a worker wherever one is missing and its pause is over."""
        for place, post in enumerate(self._slots):
            if not post.worker and self._kill_at is None and post.due <= time.monotonic():
                post.worker, post.began = self._start(place), time.monotonic()

    def _reap(self) -> None:
        for post in self._slots:
            if post.worker and post.worker.exitcode is not None:
                code, now = post.worker.exitcode, time.monotonic()
                post.worker.close()
                post.worker = None
                if code and self._kill_at is None:
                    self._on_crash()
                if code and self._is_hopeless(code, not self._workers()):
                    self._has_failed, self._stop_at = True, now
                pause = FIRST_PAUSE if now - post.began > OLD_SECONDS else post.pause
                post.due, post.pause = now + pause, min(2 * pause, LAST_PAUSE)

    def _on_signal(self, number: int) -> None:
        if number not in SIGNALS:
            return
        is_first = self._stop_at is None
        self._drain()
        self._stop_at = time.monotonic() + (self._drain_seconds if is_first and number == signal.SIGTERM else 0)

    def _end_when_due(self) -> None:
        now = time.monotonic()
        if self._kill_at is None and self._stop_at is not None and self._stop_at <= now:
            self._kill_at = now + self._stop_seconds + EXIT_GRACE_SECONDS
            for worker in self._workers():
                worker.terminate()
        elif self._kill_at is not None and self._kill_at <= now:
            self._kill_at = now + EXIT_GRACE_SECONDS
            for worker in self._workers():
                worker.kill()


def watch_signals() -> int:
    """The end of a pipe where the numbers of signals arrive from now on; nothing is lost until somebody reads there.

    The interpreter writes it in whichever thread a signal is received: a main thread that waits for a lock is not woken by one
    that another thread received.
    """
    receiver, sender = os.pipe()
    os.set_blocking(sender, False)
    for number in SIGNALS:
        signal.signal(number, lambda number, frame: None)
    signal.set_wakeup_fd(sender, warn_on_full_buffer=False)
    return receiver
