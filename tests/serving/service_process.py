"""The real server as a process of its own, and a client that speaks to it over a socket."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import TextIO, TypeVar

T = TypeVar("T")
TIMEOUT = 60


@dataclass
class Server:
    """A running server."""

    process: subprocess.Popen[str]
    port: int
    log: TextIO

    def get(self, path: str, method: str = "GET", headers: dict[str, str] | None = None) -> tuple[int, dict[str, str], bytes]:
        """One request on a connection of its own."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT)
        try:
            connection.request(method, path, headers={"Connection": "close", **(headers or {})})
            response = connection.getresponse()
            return response.status, {k.lower(): v for k, v in response.getheaders()}, response.read()
        finally:
            connection.close()

    def send(self, data: bytes) -> bytes:
        """Raw bytes, and all that comes back until the server closes."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=TIMEOUT) as connection:
            connection.sendall(data)
            chunks = []
            while chunk := connection.recv(65536):
                chunks.append(chunk)
            return b"".join(chunks)

    def workers(self) -> list[int]:
        """Process ids of the workers: the launcher's children that listen."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return [int(pid) for pid in children if "spawn_main" in Path(f"/proc/{pid}/cmdline").read_text()]

    def errors(self) -> str:
        """What it has written to standard error."""
        self.log.seek(0)
        return self.log.read()

    def stop(self, sign: int = signal.SIGTERM) -> int:
        """Tell it to end; its exit code."""
        self.process.send_signal(sign)
        return self.process.wait(TIMEOUT)


def environment(**settings: object) -> dict[str, str]:
    """This process's environment with the server's settings, ``models=...`` being GAN_MODELS, and Python's own buffering."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("GAN_", "PYTHONUNBUFFERED"))}
    return clean | {f"GAN_{name.upper()}": str(value) for name, value in settings.items()}


def retry(ask: Callable[[], T]) -> T:
    """Ask until there is an answer."""
    pause = threading.Event()
    for _ in range(TIMEOUT * 20):
        try:
            return ask()
        except OSError:
            pause.wait(0.05)
    raise AssertionError("no answer")


def free_port() -> int:
    """A free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def running(root: Path, **settings: object) -> Iterator[Server]:
    """A server that is ready in all its workers; killed at the end if it still runs."""
    port = free_port()
    overrides = {"provider": "cpu", "port": port, "drain_seconds": 0, "workers": 1, **settings}
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "serving"],
            cwd=root,
            env=environment(**overrides),
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        try:
            wait_for_workers(process, port, int(str(overrides["workers"])))
            yield Server(process, port, log)
        finally:
            process.kill()
            process.communicate()
            log.seek(0)
            print(log.read())


def wait_for_workers(process: subprocess.Popen[str], port: int, count: int) -> None:
    """Return when this number of workers listens; each has a socket of its own once its models are loaded."""
    pause = threading.Event()
    for _ in range(TIMEOUT * 20):
        if process.poll() is not None:
            raise AssertionError(f"the server ended with exit code {process.returncode}")
        if listeners(port) >= count:
            return
        pause.wait(0.05)
    raise AssertionError(f"{count} workers were never ready")


def listeners(port: int) -> int:
    """How many sockets listen on a port of this machine."""
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    return sum(line.split()[1].endswith(f":{port:04X}") and line.split()[3] == "0A" for line in lines)
