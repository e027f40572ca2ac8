"""The supervisor of the worker processes: starts them, restarts crashed ones with back-off, and stops them at a signal."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess

SIGNALS = (signal.SIGTERM, signal.SIGINT)
MIN_BACKOFF_SECONDS = 0.1
"""Seconds before a crashed worker is restarted; doubled each time a worker crashes before it is stable."""
MAX_BACKOFF_SECONDS = 10.0
STABLE_SECONDS = 10.0
"""A worker that ran this long crashed for an unrelated reason: reset the restart back-off."""
EXIT_GRACE_SECONDS = 5.0
"""Seconds between ``stop_seconds`` and SIGKILL: uvicorn notices the stop within 1 s, spans take up to 3, the log 1."""


@dataclass
class _Slot:
    """One worker position, empty between a crash and the restart."""

    worker: BaseProcess | None = None
    started_at: float = 0.0
    backoff: float = MIN_BACKOFF_SECONDS
    restart_at: float = field(default_factory=time.monotonic)


class Supervisor:
    """Keeps a number of workers running until a signal stops them.

    Args:
        start: starts the worker process of a slot, index 0 to ``count`` - 1.
        count: number of workers.
        is_hopeless: whether a crash ends the service, from the exit code and whether no worker is left.
        on_crash: called for each worker that ended without being stopped.
        drain: called at each signal.
        drain_seconds: delay between the first signal and SIGTERM to the workers; a second signal, or SIGINT, ends the delay.
        stop_seconds: time for workers to finish requests; one still running ``EXIT_GRACE_SECONDS`` later is killed.
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
        """When workers get SIGTERM; None until a stop is requested."""
        self._kill_at: float | None = None
        """When workers that still run get SIGKILL; None until SIGTERM was sent."""
        self._signal: signal.Signals | None = None
        self._has_failed = False

    def run(self, signals: int) -> signal.Signals | None:
        """Supervise until all workers have ended.

        Args:
            signals: file descriptor from ``watch_signals``.

        Returns:
            The signal that stopped the service; None when it ended because a worker could not start.
        """
        while self._kill_at is None or self._workers():
            self._start_due_workers()
            events = wait([signals, *(worker.sentinel for worker in self._workers())], self._seconds_to_next_action())
            if signals in events:
                for number in os.read(signals, 64):
                    self._on_signal(number)
            self._reap()
            self._end_when_due()
        return None if self._has_failed else self._signal

    def _workers(self) -> list[BaseProcess]:
        return [slot.worker for slot in self._slots if slot.worker]

    def _seconds_to_next_action(self) -> float | None:
        """Seconds until a restart, SIGTERM or SIGKILL is due; None when none is planned."""
        restarts = [slot.restart_at for slot in self._slots if not slot.worker and self._kill_at is None]
        end = self._stop_at if self._kill_at is None else self._kill_at
        times = restarts if end is None else [*restarts, end]
        return max(0.0, min(times) - time.monotonic()) if times else None

    def _start_due_workers(self) -> None:
        for index, slot in enumerate(self._slots):
            if not slot.worker and self._kill_at is None and slot.restart_at <= time.monotonic():
                slot.worker, slot.started_at = self._start(index), time.monotonic()

    def _reap(self) -> None:
        """Release ended workers, and plan the restart of crashed ones."""
        for slot in self._slots:
            if slot.worker and slot.worker.exitcode is not None:
                code, now = slot.worker.exitcode, time.monotonic()
                slot.worker.close()
                slot.worker = None
                if code and self._kill_at is None:
                    self._on_crash()
                if code and self._is_hopeless(code, not self._workers()):
                    self._has_failed, self._stop_at = True, now
                backoff = MIN_BACKOFF_SECONDS if now - slot.started_at > STABLE_SECONDS else slot.backoff
                slot.restart_at, slot.backoff = now + backoff, min(2 * backoff, MAX_BACKOFF_SECONDS)

    def _on_signal(self, number: int) -> None:
        if number not in SIGNALS:
            return
        is_first = self._stop_at is None
        self._signal = signal.Signals(number)
        self._drain()
        self._stop_at = time.monotonic() + (self._drain_seconds if is_first and number == signal.SIGTERM else 0)

    def _end_when_due(self) -> None:
        """Send SIGTERM, or later SIGKILL, to the workers once it is due."""
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
    """Install handlers for ``SIGNALS``; the read end of a pipe to which their numbers are written from now on.

    The interpreter writes to the pipe in the thread that receives the signal; a main thread that waits for a lock is not woken
    by a signal that another thread receives.
    """
    receiver, sender = os.pipe()
    os.set_blocking(sender, False)
    for number in SIGNALS:
        signal.signal(number, lambda number, frame: None)
    signal.set_wakeup_fd(sender, warn_on_full_buffer=False)
    return receiver
