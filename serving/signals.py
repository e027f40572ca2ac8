"""Signals that are never slept through.

The kernel may hand a process's signal to any of its threads, but Python runs the handler in the main one, and a main thread
that waits on a lock is not woken by a signal that another thread received: under load, workers slept through SIGTERM.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading

WAKE = signal.SIGUSR2


def wake_main_thread_on_signals() -> None:
    """From now on, a signal that any thread receives interrupts what the main thread waits for; call it there, once."""
    receiver, sender = os.pipe()
    os.set_blocking(sender, False)
    signal.signal(WAKE, lambda number, frame: None)
    signal.set_wakeup_fd(sender, warn_on_full_buffer=False)
    threading.Thread(target=_pass_on, args=(receiver, threading.main_thread().ident), daemon=True).start()


def _pass_on(receiver: int, main_thread: int) -> None:
    while numbers := os.read(receiver, 64):
        if set(numbers) != {WAKE}:
            signal.pthread_kill(main_thread, WAKE)


class Tally:
    """A number that processes share; each may raise it, and it never falls."""

    def __init__(self) -> None:
        self._number = multiprocessing.get_context("spawn").RawValue("Q", 0)

    def raise_it(self) -> None:
        """One more; two at the same moment may count as one, which is enough to be noticed."""
        self._number.value += 1

    def value(self) -> int:
        """As it is now."""
        return int(self._number.value)


class Flag:
    """A claim that processes share: one byte and no lock, so that a signal handler may make it at any moment.

    An Event holds a lock while it is set or asked; a second signal, or a process killed there, would hold it for ever.
    """

    def __init__(self) -> None:
        self._byte = multiprocessing.get_context("spawn").RawValue("b", 0)

    def set(self) -> None:
        """From now on it holds, in every process."""
        self._byte.value = 1

    def is_set(self) -> bool:
        """Whether any process has set it."""
        return bool(self._byte.value)
