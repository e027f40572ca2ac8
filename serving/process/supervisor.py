"""The supervisor of the worker processes: starts them, restarts crashed ones with back-off, and stops them at a signal."""

from __future__ import annotations

import math
import os
import signal
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
DRAINING_SIGNALS = (signal.SIGTERM, signal.SIGHUP)
"""Signals after which the service still answers for ``drain_seconds``."""
IGNORED_SIGNALS = (signal.SIGUSR1, signal.SIGUSR2)
"""Sent by tools that rotate logs; their default action would end the launcher without a drain, or a worker."""
HEARTBEAT_SECONDS = 1.0
"""Seconds between two checks of the heartbeats, at most."""
MIN_BACKOFF_SECONDS = 0.1
"""Seconds before a crashed worker is restarted; doubled each time a worker crashes before it is stable."""
MAX_BACKOFF_SECONDS = 10.0
MAX_SERVED_BACKOFF_SECONDS = 1.0
"""The same limit for a worker that has served: requests fail while it is away, and loading its models is a pause already."""
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
    beat: int | None = None
    """Latest heartbeat; None until the first one of this worker."""
    first_beat: int = 0
    """Heartbeat when the worker was started."""
    silent_checks: int = 0
    """Checks in a row that found no new heartbeat."""


class Supervisor:
    """Keeps a number of workers running until a signal stops them.

    Args:
        start: starts the worker process of a slot, index 0 to ``count`` - 1.
        count: number of workers.
        is_hopeless: whether a crash ends the service, from the exit code and the slots whose workers still run.
        on_end: called with slot, process id and exit code of each worker that ended before the service stops.
        on_no_start: called with slot and error when the system starts no process; it is tried again unless this raises.
        heartbeat: a number that a slot's worker changes while it works; checked from its first change on.
        stall_seconds: a worker whose heartbeat does not change for so long is killed.
        on_stall: called with slot and process id of such a worker.
        drain: called at each signal.
        drain_seconds: delay between the first signal and SIGTERM to the workers; a second signal, SIGINT or
            SIGQUIT ends the delay.
        stop_seconds: time for workers to finish requests; one still running ``EXIT_GRACE_SECONDS`` later is killed.
    """

    def __init__(
        self,
        start: Callable[[int], BaseProcess],
        count: int,
        *,
        is_hopeless: Callable[[int, Collection[int]], bool],
        on_end: Callable[[int, int, int], None],
        on_no_start: Callable[[int, OSError], None],
        heartbeat: Callable[[int], int] = lambda index: 0,
        stall_seconds: float = math.inf,
        on_stall: Callable[[int, int], None] = lambda index, pid: None,
        drain: Callable[[], None],
        drain_seconds: float,
        stop_seconds: float,
    ) -> None:
        self._start = start
        self._slots = [_Slot() for _ in range(count)]
        self._is_hopeless = is_hopeless
        self._on_end = on_end
        self._on_no_start = on_no_start
        self._heartbeat = heartbeat
        self._check_seconds = min(HEARTBEAT_SECONDS, stall_seconds / 4)
        self._stall_checks = stall_seconds / self._check_seconds
        self._on_stall = on_stall
        self._check_at = time.monotonic()
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
            self._check_heartbeats()
            self._end_when_due()
        return None if self._has_failed else self._signal

    def _workers(self) -> list[BaseProcess]:
        return [slot.worker for slot in self._slots if slot.worker]

    def _seconds_to_next_action(self) -> float | None:
        """Seconds until a restart, SIGTERM or SIGKILL is due; None when none is planned."""
        restarts = [slot.restart_at for slot in self._slots if not slot.worker and self._kill_at is None]
        end = self._stop_at if self._kill_at is None else self._kill_at
        checks = [self._check_at] if math.isfinite(self._stall_checks) and self._kill_at is None else []
        times = [*restarts, *checks, *([] if end is None else [end])]
        return max(0.0, min(times) - time.monotonic()) if times else None

    def _start_due_workers(self) -> None:
        for index, slot in enumerate(self._slots):
            if not slot.worker and self._kill_at is None and slot.restart_at <= time.monotonic():
                slot.beat, slot.first_beat, slot.silent_checks = None, self._heartbeat(index), 0
                try:
                    slot.worker, slot.started_at = self._start(index), time.monotonic()
                except OSError as error:  # too many processes, or no memory or descriptors for one more
                    self._on_no_start(index, error)
                    slot.restart_at, slot.backoff = time.monotonic() + slot.backoff, min(2 * slot.backoff, MAX_BACKOFF_SECONDS)

    def _reap(self) -> None:
        """Release ended workers, and plan the restart of crashed ones."""
        for index, slot in enumerate(self._slots):
            if slot.worker and slot.worker.exitcode is not None:
                code, now, pid = slot.worker.exitcode, time.monotonic(), slot.worker.pid or 0
                slot.worker.close()
                slot.worker = None
                if self._kill_at is None:
                    self._on_end(index, pid, code)
                running = [place for place, other in enumerate(self._slots) if other.worker]
                if code and self._is_hopeless(code, running):
                    self._has_failed, self._stop_at = True, now
                has_served = self._heartbeat(index) != slot.first_beat
                backoff = restart_delay(slot.backoff, now - slot.started_at, has_served=has_served)
                slot.restart_at, slot.backoff = now + backoff, min(2 * backoff, MAX_BACKOFF_SECONDS)

    def _check_heartbeats(self) -> None:
        """Kill workers that have shown no heartbeat for ``stall_seconds``: stopped ones, and ones whose event loop is blocked.

        Checks are counted, not seconds: when the launcher was suspended together with its workers, they have missed nothing.
        """
        now = time.monotonic()
        if self._kill_at is not None or now < self._check_at:
            return
        self._check_at = now + self._check_seconds
        for index, slot in enumerate(self._slots):
            beat = self._heartbeat(index)
            if not slot.worker or (slot.beat is None and beat == slot.first_beat):
                continue
            slot.silent_checks = slot.silent_checks + 1 if beat == slot.beat else 0
            slot.beat = beat
            if slot.silent_checks > self._stall_checks:
                self._on_stall(index, slot.worker.pid or 0)
                slot.worker.kill()
                slot.beat, slot.first_beat = None, beat  # do not report it again until it is reaped

    def _on_signal(self, number: int) -> None:
        if number not in SIGNALS:
            return
        is_first = self._stop_at is None
        self._signal = signal.Signals(number)
        self._drain()
        self._stop_at = time.monotonic() + (self._drain_seconds if is_first and number in DRAINING_SIGNALS else 0)

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


def restart_delay(backoff: float, seconds: float, *, has_served: bool) -> float:
    """Seconds until a crashed worker is restarted.

    Args:
        backoff: the delay that its slot has reached.
        seconds: how long it ran.
        has_served: whether its event loop has turned.
    """
    if seconds > STABLE_SECONDS:
        return MIN_BACKOFF_SECONDS
    return min(backoff, MAX_SERVED_BACKOFF_SECONDS) if has_served else backoff


def watch_signals() -> int:
    """Install handlers for ``SIGNALS``; the read end of a pipe to which their numbers are written from now on.

    ``IGNORED_SIGNALS`` are ignored, also by the workers, which inherit that.

    The interpreter writes to the pipe in the thread that receives the signal; a main thread that waits for a lock is not woken
    by a signal that another thread receives.
    """
    receiver, sender = os.pipe()
    os.set_blocking(sender, False)
    for number in SIGNALS:
        if signal.getsignal(number) != signal.SIG_IGN:  # nohup ignores SIGHUP
            signal.signal(number, lambda number, frame: None)
    for number in IGNORED_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.set_wakeup_fd(sender, warn_on_full_buffer=False)
    return receiver


def signal_name(number: int) -> str:
    """A signal's name, or its number as text."""
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal
        return str(number)
