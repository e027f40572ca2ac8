"""What every harness of a server needs: a free port, a wait until the server answers, and its listening sockets (Linux)."""

from __future__ import annotations

import itertools
import os
import random
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")
TIMEOUT = 60
"""Seconds."""
LISTEN = "0A"
"""TCP_LISTEN in /proc/net/tcp."""
PORTS = 2000
"""Ports that a process of pytest-xdist takes in turn."""


class StartError(Exception):
    """A server did not start; the message says why and ends with what it printed last."""


def _own_ports() -> Iterator[int]:
    """The ports of this process of pytest-xdist, over and over, from any of them on: another test run may be under way."""
    first = 10_000 + PORTS * (int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]) % 10)
    start = random.SystemRandom().randrange(PORTS)
    return itertools.cycle([first + (start + number) % PORTS for number in range(PORTS)])


_ports = _own_ports()


def free_ports(count: int) -> list[int]:
    """Different ports of 127.0.0.1 that are free.

    They are below those that Linux gives to clients and for port 0 (from 32,768 on): until the server binds one, no other
    program gets it by chance, and a client that tries it before the server listens cannot be connected with itself.
    """
    ports: list[int] = []
    for port in _ports:
        with socket.socket() as one, suppress(OSError):
            one.bind(("127.0.0.1", port))
            ports.append(port)
        if len(ports) == count:
            break
    return ports


def free_port() -> int:
    """A port of 127.0.0.1 without a listener."""
    return free_ports(1)[0]


def wait_for(
    ask: Callable[[], T],
    process: subprocess.Popen[str] | subprocess.Popen[bytes] | None = None,
    *,
    seconds: float = TIMEOUT,
    errors: tuple[type[Exception], ...] = (OSError,),
    output: Callable[[], str] = str,
) -> T:
    """Call a function until it returns, and return its answer.

    Args:
        ask: raises one of ``errors`` while there is no answer yet.
        process: the server; the wait fails when it ends.
        seconds: longest wait.
        errors: exceptions that mean "not yet".
        output: what the server has printed.

    Raises:
        StartError: the server ended, or there was no answer in time.
    """
    pause = threading.Event()
    deadline = time.monotonic() + seconds
    while True:
        if process is not None and process.poll() is not None:
            raise StartError(f"it ended with exit code {process.returncode}: {last_lines(output())}")
        try:
            return ask()
        except errors as error:
            if time.monotonic() > deadline:
                raise StartError(f"no answer within {seconds} s: {error!r}; {last_lines(output())}") from None
        pause.wait(0.05)


def wait_until(is_so: Callable[[], bool], what: str, seconds: float = TIMEOUT) -> None:
    """Return when it is so; an AssertionError names ``what`` never came about."""
    pause = threading.Event()
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, f"it never came about that {what}"
        pause.wait(0.01)


def last_lines(text: str, count: int = 3) -> str:
    """The last lines of a text that are not blank, in one line."""
    return " | ".join([line.strip() for line in text.splitlines() if line.strip()][-count:])[-400:]


def listeners(port: int) -> int:
    """Number of sockets of this machine that listen on a port."""
    fields = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(int(line[1].rpartition(":")[2], 16) == port and line[3] == LISTEN for line in fields)
