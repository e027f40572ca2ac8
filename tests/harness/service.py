"""The service as a process of its own, and a client that talks to it over a socket."""

from __future__ import annotations

import collections
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from typing import NamedTuple, TextIO

from tests.harness.processes import TIMEOUT, free_port, listeners, wait_for, wait_until

UNCOUNTED = re.compile(r"/metrics\b|/models/[^/]+/generate")
"""Paths that ``tests.harness.aftermath`` asks itself."""


ENGINE = "gan-engine"
"""Name of the engine's process."""


class Answer(NamedTuple):
    """An HTTP response."""

    status: int
    headers: dict[str, str]
    """By name in lower case."""
    body: bytes


def ask(
    port: int,
    path: str,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    body: bytes | str | None = None,
    timeout: float = TIMEOUT,
) -> Answer:
    """Send one request to 127.0.0.1 on a connection of its own.

    Raises:
        OSError, http.client.HTTPException: there was no whole answer.
    """
    connection = HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request(method, path, body, {"Connection": "close", **(headers or {})})
        response = connection.getresponse()
        return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
    finally:
        connection.close()


@dataclass
class Server:
    """A running service."""

    process: subprocess.Popen[str]
    port: int
    log: TextIO
    """Its standard error."""
    answered: collections.Counter[int] = field(default_factory=collections.Counter)
    """Responses received from it by status code, without those of ``UNCOUNTED``; a test with sockets of its own adds them."""

    def get(self, path: str, method: str = "GET", headers: dict[str, str] | None = None) -> Answer:
        """Send one request on a connection of its own."""
        answer = ask(self.port, path, method, headers)
        if not UNCOUNTED.match(path):
            self.answered[answer.status] += 1
        return answer

    def send(self, data: bytes) -> bytes:
        """Send raw bytes; return all that comes back until the server closes."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=TIMEOUT) as connection:
            connection.sendall(data)
            chunks = []
            while chunk := connection.recv(65536):
                chunks.append(chunk)
            return self.note(b"".join(chunks))

    def note(self, received: bytes) -> bytes:
        """Count the responses in bytes that a test has received from a socket of its own; return the bytes."""
        self.answered.update(int(code) for code in re.findall(rb"HTTP/1\.1 ([2-5]\d\d) ", received))
        return received

    def workers(self) -> list[int]:
        """Process ids of the workers."""
        return [pid for pid, name in self._children() if name != ENGINE]

    def engine(self) -> int:
        """Process id of the engine, with ``engine="shared"``.

        Raises:
            OSError: there is none now.
        """
        for pid, name in self._children():
            if name == ENGINE:
                return pid
        raise OSError("there is no engine")

    def _children(self) -> list[tuple[int, str]]:
        """Process ids and names of the launcher's children, without Python's helper."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        found = []
        for pid in children:
            with suppress(FileNotFoundError, ProcessLookupError):  # it has just been reaped
                if "spawn_main" in Path(f"/proc/{pid}/cmdline").read_text():
                    found.append((int(pid), Path(f"/proc/{pid}/comm").read_text().strip()))
        return found

    def errors(self) -> str:
        """What it has written to standard error."""
        self.log.seek(0)
        return self.log.read()

    def drain(self) -> None:
        """Send SIGTERM, and return when ``/readyz`` says that it leaves."""
        self.process.send_signal(signal.SIGTERM)
        wait_until(lambda: self.get("/readyz").status == 503, "it leaves")

    def stop(self, sign: int = signal.SIGTERM) -> int:
        """Send a signal; return the exit code."""
        self.process.send_signal(sign)
        return self.process.wait(TIMEOUT)


def environment(**settings: object) -> dict[str, str]:
    """This process's environment with only these settings of the service, such as ``models=...`` for GAN_MODELS."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("GAN_", "PYTHONUNBUFFERED"))}
    return clean | variables(**settings)


def variables(**settings: object) -> dict[str, str]:
    """The environment variables of the service's settings."""
    return {f"GAN_{name.upper()}": str(value) for name, value in settings.items()}


def run_to_end(
    root: Path,
    *arguments: str,
    entry: Sequence[str] = ("-m", "serving"),
    base: Mapping[str, str] | None = None,
    **settings: object,
) -> subprocess.CompletedProcess[str]:
    """Run the service where it is expected to end by itself, or a command of it.

    Args:
        root: of the repository.
        arguments: of the command line.
        entry: what Python runs.
        base: environment; by default this process's, without the service's variables.
        settings: of the service, in lower case without GAN_.
    """
    given = {"provider": "cpu", "port": free_port(), "workers": 1, **settings}
    env = {**(environment() if base is None else base), **variables(**given)}
    command = [sys.executable, *entry, *arguments]
    return subprocess.run(command, cwd=root, env=env, capture_output=True, text=True, timeout=TIMEOUT, check=False)


@contextmanager
def running(
    root: Path,
    *,
    entry: str = "serving",
    base: Mapping[str, str] | None = None,
    stdout: int = subprocess.PIPE,
    prefix: Sequence[str] = (),
    **settings: object,
) -> Iterator[Server]:
    """Start the service, wait until all its workers are ready, and kill it at the end if it still runs.

    Args:
        root: of the repository.
        entry: module to run.
        base: environment; by default this process's, without the service's variables.
        stdout: for its standard output, as ``Popen`` takes it.
        prefix: command that runs it in its own process, such as ``prlimit``.
        settings: of the service, in lower case without GAN_.

    Raises:
        StartError: it did not start.
    """
    given = {"provider": "cpu", "port": free_port(), "drain_seconds": 0, "workers": 1, **settings}
    env = {**(environment() if base is None else base), **variables(**given)}
    with tempfile.TemporaryFile("w+") as log:
        command = [*prefix, sys.executable, "-m", entry]
        process = subprocess.Popen(command, cwd=root, env=env, stdout=stdout, stderr=log, text=True)
        server = Server(process, int(str(given["port"])), log)
        try:
            wait_for_workers(process, server.port, int(str(given["workers"])), server)
            yield server
        finally:
            process.kill()
            process.communicate()
            sys.stderr.write(server.errors())


def wait_for_workers(process: subprocess.Popen[str], port: int, count: int, server: Server | None = None) -> None:
    """Return when ``count`` workers listen; each opens its own socket after it has loaded its models."""

    def all_listen() -> None:
        if listeners(port) < count:
            raise OSError(f"{listeners(port)} of {count} workers listen")

    wait_for(all_listen, process, seconds=2 * TIMEOUT, output=server.errors if server else str)
