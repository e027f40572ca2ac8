"""How child processes are started: a Ctrl-C, which goes to the whole process group, reaches the launcher alone."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from multiprocessing.context import SpawnContext
from multiprocessing.process import BaseProcess
from multiprocessing.reduction import DupFd, ForkingPickler
from typing import Any


class _Packed:
    """Arguments of a child, which it reads from a file in memory.

    multiprocessing writes them into a pipe whose other end this process holds, too: if the child ended before it had read them,
    a write of more than a pipe holds, 64 KiB, would never end.
    """

    def __init__(self, arguments: tuple[Any, ...], memory: int) -> None:
        self._arguments, self._memory = arguments, memory

    def __reduce__(self) -> tuple[Any, ...]:
        with open(self._memory, "wb", closefd=False) as file:
            file.write(ForkingPickler.dumps(self._arguments))
        return _unpacked, (DupFd(self._memory),)


def _unpacked(duplicate: Any) -> Any:
    with open(duplicate.detach(), "rb") as file:
        file.seek(0)
        return ForkingPickler.loads(file.read())


def start_child(context: SpawnContext, target: Callable[..., None], *arguments: Any) -> BaseProcess:
    """Start a process for a function that calls ``leave_group`` first; until then SIGINT waits, so that no import is cut.

    Args:
        context: starts it.
        target: the function.
        arguments: its arguments, of any size.

    Raises:
        OSError: there are too many processes, or too little memory or too few descriptors for one more.
    """
    resource_tracker.ensure_running()  # its own start would unblock the signal
    memory = os.memfd_create("arguments")
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        process = context.Process(target=_call, args=(target, _Packed(arguments, memory)))
        with _program_name_alone():
            process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
        os.close(memory)
    return process


def _call(target: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    target(*arguments)


@contextmanager
def _program_name_alone() -> Iterator[None]:
    """Take the command line's arguments, which may name hundreds of models, from what multiprocessing writes into the pipe."""
    everything, sys.argv = sys.argv, sys.argv[:1]
    try:
        yield
    finally:
        sys.argv = everything


def leave_group() -> None:
    """Leave the launcher's process group, and drop a SIGINT that was sent to it meanwhile."""
    os.setpgid(0, 0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
