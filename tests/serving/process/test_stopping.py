"""Shutdown: requests in progress are answered completely, whichever signal arrives and whenever."""

from __future__ import annotations

import collections
import json
import os
import re
import signal
import socket
import threading
from pathlib import Path

import pytest

from contract import Image, Normal
from tests.harness.processes import TIMEOUT, free_port, listeners, wait_for, wait_until
from tests.harness.service import running
from tests.serving import tiny_onnx
from tests.serving.process.test_faults import launch

pytestmark = pytest.mark.process


class Client(threading.Thread):
    """A client that sends requests one after another on a kept connection until the server closes it."""

    def __init__(self, port: int, first_seed: int) -> None:
        super().__init__()
        self.counts: collections.Counter[str] = collections.Counter()
        self._port, self._seed = port, first_seed

    def run(self) -> None:
        while True:
            try:
                connection = socket.create_connection(("127.0.0.1", self._port), timeout=TIMEOUT)
            except (ConnectionRefusedError, ConnectionResetError):  # the listening socket is closed, or was closed a moment ago
                return
            with connection:
                while (result := self._ask(connection)) == "kept":
                    self.counts["answered"] += 1
                self.counts[result] += 1

    def _ask(self, connection: socket.socket) -> str:
        self._seed += 1
        data = b""
        try:
            connection.sendall(b"GET /generate?seed=%d HTTP/1.1\r\nHost: x\r\n\r\n" % self._seed)
            while not is_whole(data):
                chunk = connection.recv(65536)
                if not chunk:
                    return "cut" if data else "closed"
                data += chunk
        except ConnectionError:
            return "cut" if data else "closed"
        if not data.startswith(b"HTTP/1.1 200 "):
            return data[:13].decode()
        return "answered" if b"\r\nconnection: close\r\n" in data.lower() else "kept"


def is_whole(data: bytes) -> bool:
    """Whether a response has its complete body."""
    head, end, body = data.partition(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", head.lower())
    return bool(end) and length is not None and len(body) == int(length[1])


def test_sigterm_under_load_loses_nothing(root: Path, folder: Path, engine: str) -> None:
    """F-01: requests that two workers are processing for 16 busy clients are answered completely, and the exit code is 0.

    A kept connection may be closed between two requests, as HTTP allows; a client sees that as a close before any byte.
    """
    drain_seconds = {"worker": 0, "shared": 0.5}[engine]
    with running(root, models=folder / "1-grey.onnx", workers=2, drain_seconds=drain_seconds, engine=engine) as server:
        clients = [Client(server.port, index * 10**6) for index in range(16)]
        for client in clients:
            client.start()
        wait_until(lambda: sum(client.counts["answered"] for client in clients) >= 500, "500 requests are answered")
        assert server.stop() == 0
        assert server.errors() == ""
        for client in clients:
            client.join(TIMEOUT)
        total = sum((client.counts for client in clients), collections.Counter())
        assert set(total) <= {"answered", "closed"}, total
        assert total["closed"] <= 2 * len(clients)


def test_a_draining_server_is_not_ready_and_still_answers(root: Path, folder: Path) -> None:
    """F-02: after SIGTERM ``/readyz`` is 503, while ``/generate`` still answers until the delay is over."""
    with running(root, models=folder / "1-grey.onnx", drain_seconds=600) as server:
        assert server.get("/readyz")[0] == 200
        server.drain()
        status, _, body = server.get("/readyz")
        assert (status, json.loads(body)["code"]) == (503, "shutting_down")
        assert server.get("/generate?seed=1")[0] == 200
        assert server.stop(signal.SIGTERM) == 0  # the second one does not wait


def test_sigint_ends_at_once(root: Path, folder: Path) -> None:
    """SIGINT stops the service without the delay, with exit code 0."""
    with running(root, models=folder / "1-grey.onnx", drain_seconds=600) as server:
        assert server.stop(signal.SIGINT) == 0


@pytest.mark.parametrize("pause", [0.0, 0.2, 0.5])
def test_sigterm_while_loading_ends_cleanly(root: Path, folder: Path, pause: float) -> None:
    """F-03: stopped before it is ready, the server exits with 0, keeps stderr empty, and frees its port."""
    process, port = launch(root, folder)
    with process:
        assert process.stdout is not None
        started = json.loads(process.stdout.readline())
        assert (started["event"], started["url"]) == ("start", f"http://127.0.0.1:{port}")
        threading.Event().wait(pause)
        process.send_signal(signal.SIGTERM)
        assert process.wait(TIMEOUT) == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""
        last = json.loads(process.stdout.read().splitlines()[-1])
        assert (last["event"], last["exit_code"], last["reason"]) == ("stop", 0, "SIGTERM")
        assert listeners(port) == 0


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_while_it_looks_for_a_gpu_ends_cleanly(root: Path, folder: Path, tmp_path: Path, sign: signal.Signals) -> None:
    """F-03: a signal to the process group, as by Ctrl-C, in the first second ends launcher and helper without a traceback."""
    (tmp_path / "onnxruntime.py").write_text("import time; time.sleep(600)")  # the helper is still there when it is found
    process, _ = launch(root, folder, "setsid", "env", "GAN_PROVIDER=auto", f"PYTHONPATH={tmp_path}:{root}")
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")

    def helper() -> str:
        (pid,) = (pid for pid in children.read_text().split() if "spawn_main" in Path(f"/proc/{pid}/cmdline").read_text())
        return pid

    with process:
        pid = wait_for(helper, process, errors=(OSError, ValueError))
        os.killpg(process.pid, sign)
        output, errors = process.communicate(timeout=TIMEOUT)
        assert (process.returncode, errors) == (0, "")
        assert (json.loads(output)["event"], json.loads(output)["reason"]) == ("stop", sign.name)
        assert not Path(f"/proc/{pid}").exists()


def test_nothing_is_answered_before_the_models_are_ready(root: Path, folder: Path) -> None:
    """O-18: of clients that ask from the start of the service on, each is refused by the kernel or gets its sample."""
    port = free_port()
    statuses: collections.Counter[str] = collections.Counter()

    def ask_until_answered() -> None:
        while not statuses["200"]:
            try:
                with socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT) as connection:
                    connection.sendall(b"GET /generate?seed=1 HTTP/1.1\r\nHost: x\r\n\r\n")
                    statuses[connection.recv(12)[9:].decode()] += 1
            except ConnectionRefusedError:
                statuses["refused"] += 1
                threading.Event().wait(0.005)

    clients = [threading.Thread(target=ask_until_answered, daemon=True) for _ in range(8)]
    for client in clients:
        client.start()
    wait_until(lambda: statuses["refused"] > 0, "the first one is refused")
    process, _ = launch(root, folder, port=port)
    with process:
        for client in clients:
            client.join(TIMEOUT)
        process.terminate()
        assert process.wait(TIMEOUT) == 0
    assert set(statuses) == {"refused", "200"}


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_the_delay(root: Path, folder: Path, second: signal.Signals) -> None:
    """F-03: a second SIGTERM, or a SIGINT, during the drain delay stops the server at once and cleanly."""
    with running(root, models=folder / "1-grey.onnx", workers=2, drain_seconds=600) as server:
        server.drain()
        assert server.stop(second) == 0
        assert server.errors() == ""


def test_sigterm_while_swapping_ends_cleanly(root: Path, folder: Path, tmp_path: Path) -> None:
    """F-03: stopped while a large model is loaded and checked, the server exits with 0 and an empty stderr."""
    path = tmp_path / "m.onnx"
    path.write_bytes((folder / "1-grey.onnx").read_bytes())
    large = tmp_path / "large"
    large.write_bytes(tiny_onnx.build("grey", {"z": Normal(20)}, Image(28, 28, 1), [3000, 3000]))
    with running(root, models=path, watch_seconds=0.25) as server:
        large.replace(path)
        threading.Event().wait(0.6)
        assert server.stop() == 0
        assert server.errors() == ""
