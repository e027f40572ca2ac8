"""The service as what is measured: started with all its processes, ready in each of them, and looked at while it works."""

from __future__ import annotations

import http.client
import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from email.message import Message
from pathlib import Path

from benchmarks.serving.contender import ROOT
from benchmarks.serving.processes import Server, StartError, descendants, running

MODELS_FOLDER = ROOT / ".build" / "bench-serve" / "models"
START_SECONDS = 120
LISTENS = "0A"
"""TCP_LISTEN in /proc/net/tcp."""
LOG_OFF = {"GAN_REQUEST_LOG": "off"}
"""Unless the environment says otherwise: half an hour's requests are a gigabyte of lines, and no figure before had them."""


@dataclass(frozen=True)
class Answer:
    """What was answered, and how long it took."""

    status: int
    headers: Message
    """Whose names may be asked for in any case."""
    body: bytes
    seconds: float


@contextmanager
def service(models: Path, port: int, workers: int, settings: Mapping[str, str], entry: str = "serving") -> Iterator[Server]:
    """The real service on a port, every worker ready; ended when the block ends.

    Args:
        models: a model file or a folder of them.
        port: to listen on.
        workers: processes.
        settings: beside these, by the names of their variables.
        entry: the module that is run.

    Raises:
        StartError: it did not come up.
    """
    given = {
        "GAN_MODELS": str(models.resolve()),
        "GAN_PORT": str(port),
        "GAN_WORKERS": str(workers),
        "GAN_PROVIDER": "cpu",
        "GAN_DRAIN_SECONDS": "0",
        "PYTHONPATH": str(ROOT),
    }
    with (
        tempfile.TemporaryDirectory(prefix="gan-bench-") as folder,
        running([sys.executable, "-m", entry], {**LOG_OFF, **os.environ, **given, **settings}, Path(folder)) as server,
    ):
        _wait(server, port, workers)
        yield server


def find_model(name: str) -> Path:
    """The file of a fixed model, made if need be, or the file that the name is."""
    from benchmarks.serving.fixed_models import MODELS, build  # not above: no process of a load needs torch

    return build(name, MODELS_FOLDER / f"{name}.onnx") if name in MODELS else Path(name).resolve()


def ask(port: int, path: str, *, method: str = "GET", headers: Mapping[str, str] | None = None, timeout: float = 60) -> Answer:
    """One request on a connection of its own.

    Raises:
        OSError, http.client.HTTPException: there was no whole answer.
    """
    start = time.monotonic()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request(method, path, headers=dict(headers or {}))
        response = connection.getresponse()
        body = response.read()
        return Answer(response.status, response.headers, body, time.monotonic() - start)
    finally:
        connection.close()


def processes_of(server: Server) -> list[int]:
    """The launcher and everything below it."""
    return [server.process.pid, *descendants(server.process.pid)]


def resident(pids: list[int]) -> int:
    """Bytes of memory that each holds, summed; pages that they share are counted in each."""
    pages = 0
    for pid in pids:
        with suppress(OSError):
            pages += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def threads(pids: list[int]) -> int:
    """Threads of all of them."""
    return sum(_entries(Path(f"/proc/{pid}/task")) for pid in pids)


def descriptors(pids: list[int]) -> tuple[int, int]:
    """Open files and the like of all of them, and open sockets, clients' connections among them."""
    files = sockets = 0
    for pid in pids:
        with suppress(OSError):
            for link in Path(f"/proc/{pid}/fd").iterdir():
                with suppress(OSError):
                    is_socket = os.readlink(link).startswith("socket:")
                    sockets += is_socket
                    files += not is_socket
    return files, sockets


def _entries(folder: Path) -> int:
    try:
        return len(os.listdir(folder))
    except OSError:
        return 0


def _wait(server: Server, port: int, workers: int) -> None:
    pause = threading.Event()
    deadline = time.monotonic() + START_SECONDS
    while _listeners(port) < workers:
        if server.process.poll() is not None:
            raise StartError(f"it ended with exit code {server.process.returncode}: {server.last_words()}")
        if time.monotonic() > deadline:
            raise StartError(f"not ready within {START_SECONDS} s: {server.last_words()}")
        pause.wait(0.05)


def _listeners(port: int) -> int:
    """Sockets that listen on a port; each worker has one of its own from when it is ready."""
    fields = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(int(line[1].rpartition(":")[2], 16) == port and line[3] == LISTENS for line in fields)
