"""Faults around a running server (metric files, log reader, descriptor limit): it continues to answer."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from http.client import HTTPConnection
from pathlib import Path

import pytest

from tests.harness.aftermath import unharmed
from tests.harness.processes import TIMEOUT, free_port, wait_for
from tests.harness.service import Server, environment, running, wait_for_workers

pytestmark = pytest.mark.process


def metrics_directory(server: Server) -> Path:
    """The directory in which a server's workers share their metrics."""
    variables = Path(f"/proc/{server.workers()[0]}/environ").read_text().split("\0")
    return Path(next(v.split("=", 1)[1] for v in variables if v.startswith("PROMETHEUS_MULTIPROC_DIR=")))


def corrupt(directory: Path) -> None:
    for path in directory.glob("*.db"):
        with path.open("r+b") as file:
            file.seek(8)
            file.write(b"\xff" * 200)


@pytest.mark.parametrize("damage", [shutil.rmtree, corrupt], ids=["gone", "corrupt"])
def test_damaged_metric_files_only_affect_metrics(root: Path, folder: Path, damage: Callable[[Path], None]) -> None:
    """F-18: when the metric files are gone or corrupt, ``/metrics`` is 500 with an id, and samples are answered as before."""
    with running(root, models=folder / "1-grey.onnx") as server:
        with unharmed(server, has_metrics=False):
            damage(metrics_directory(server))
            assert server.get("/metrics")[0] == 500
            assert b'"code": "internal"' in server.get("/metrics")[2]
            assert server.get("/generate?seed=42&scale=2")[0] == 200
        assert server.stop() == 0


class Popen(subprocess.Popen[str]):
    """A process that is killed when the test fails."""

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if kind:
            self.kill()
        super().__exit__(kind, *rest)  # type: ignore[arg-type]


def launch(root: Path, folder: Path, *prefix: str, port: int | None = None) -> tuple[subprocess.Popen[str], int]:
    """Start a server of one worker through a command; the process, killed when its block fails, and the port."""
    port = port or free_port()
    overrides = environment(provider="cpu", port=port, models=folder / "1-grey.onnx", workers=1, drain_seconds=0)
    process = Popen(
        [*prefix, sys.executable, "-m", "serving"],
        cwd=root,
        env=overrides,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    return process, port


def status(port: int, path: str) -> int:
    connection = HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    finally:
        connection.close()


def test_a_log_without_a_reader_does_not_stop_the_service(root: Path, folder: Path) -> None:
    """F-26: when the reader of stdout closes it, the server answers samples and errors, and exits with 0."""
    with running(root, models=folder / "1-grey.onnx") as server, unharmed(server):
        log, server.process.stdout = server.process.stdout, None
        assert log is not None
        log.close()
        assert [server.get(path)[0] for path in ("/generate?seed=1", "/generate?seed=x", "/nowhere")] == [200, 400, 404]
        assert server.process.poll() is None


def test_a_log_without_a_reader_does_not_stop_the_start(root: Path, folder: Path) -> None:
    """F-26: with stdout and stderr closed by their reader, the server starts, answers, and exits with 0."""
    process, port = launch(root, folder)
    with process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        process.stderr.close()
        wait_for_workers(process, port, 1)
        assert status(port, "/generate?seed=1") == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(TIMEOUT) == 0


def test_few_file_descriptors_cost_connections_and_no_worker(root: Path, folder: Path) -> None:
    """F-17, O-10: with 64 descriptors and 120 connections at once, some are answered and no worker ends; after they are closed,
    the same process answers every request again.
    """
    with running(root, models=folder / "1-grey.onnx", prefix=["prlimit", "--nofile=64"]) as server:
        workers = server.workers()
        with unharmed(server, lost=[200]):
            clients = []
            for seed in range(120):
                client = socket.create_connection(("127.0.0.1", server.port), timeout=TIMEOUT)
                client.sendall(b"GET /generate?seed=%d HTTP/1.1\r\nHost: x\r\n\r\n" % seed)
                clients.append(client)
            assert server.note(clients[0].recv(15)) == b"HTTP/1.1 200 OK"
            for client in clients:
                client.close()
            # a connection that comes too early is closed as well
            assert wait_for(lambda: server.get("/generate?seed=1"))[0] == 200
        assert server.workers() == workers
        assert server.stop() == 0
