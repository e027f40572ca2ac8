"""How child processes are started: a Ctrl-C, which goes to the whole process group, reaches the launcher alone."""

from __future__ import annotations

import os
import signal
from multiprocessing import resource_tracker
from multiprocessing.process import BaseProcess
from typing import TypeVar

Process = TypeVar("Process", bound=BaseProcess)


def start_child(process: Process) -> Process:
    """Start a process whose function calls ``leave_group`` first; until then SIGINT waits, so that its imports are not cut."""
    resource_tracker.ensure_running()  # its own start would unblock the signal
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
    return process


def leave_group() -> None:
    """Leave the launcher's process group, and drop a SIGINT that was sent to it meanwhile."""
    os.setpgid(0, 0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
