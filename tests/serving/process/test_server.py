"""The real server processes: they start, give the same answers, survive crashes, and stop cleanly."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask

from contract import Image, Normal
from tests.harness.aftermath import unharmed
from tests.harness.processes import wait_until
from tests.harness.service import Server, running
from tests.serving import tiny_onnx
from tests.serving.client import ask
from tests.serving.corpus import CASES, Case

pytestmark = pytest.mark.process


@pytest.fixture(scope="module")
def server(root: Path, folder: Path, engine: str) -> Iterator[Server]:
    """A server of two workers with every model."""
    with running(root, models=folder, workers=2, engine=engine) as server:
        yield server


def on_the_wire(case: Case) -> bool:
    """Whether an ordinary HTTP client can send this case: a URI holds no angle brackets, and http.client enforces it."""
    return all(33 <= ord(letter) < 127 and letter not in "<>" for letter in case.query)


@pytest.mark.parametrize("case", [case for case in CASES if on_the_wire(case)][::4], ids=lambda case: str(case.name))
def test_the_server_answers_as_the_application_does(server: Server, app: Flask, case: Case) -> None:
    """Over a socket, through the launcher and uvicorn, bytes and status equal those of the application called in-process."""
    headers = {"Accept": case.accept} if case.accept else {}
    status, answered, body = server.get(f"/generate?{case.query}", headers=headers)
    expected = ask(app, case.query, headers=headers)
    assert (status, body) == (expected.status, expected.body)
    for name in ("ETag", "Content-Type", "Content-Length", "Vary", "X-Seed"):
        assert answered.get(name.lower()) == expected.headers.get(name)


def test_two_workers_and_a_restart_give_the_same(root: Path, folder: Path, server: Server) -> None:
    """D-04: forty connections to two workers, and a restarted server with one worker, give the same bytes."""
    answers = {server.get("/generate?seed=42")[2] for _ in range(40)}
    with running(root, models=folder, workers=1) as other:
        answers.add(other.get("/generate?seed=42")[2])
    assert len(answers) == 1


def test_head_has_no_length_and_no_body(server: Server) -> None:
    """HEAD returns the headers of GET except Content-Length and Server-Timing, which are unknown without inference."""
    asked = {"X-Request-Id": "the-same"}
    head, get = (server.get("/generate?seed=42", method, asked)[1] for method in ("HEAD", "GET"))
    assert {"content-length", "server-timing"} & set(head) == set()
    assert {k: v for k, v in get.items() if k not in ("content-length", "server-timing", "date")} == {
        k: v for k, v in head.items() if k != "date"
    }


@pytest.mark.parametrize("method", ["TRACE", "FOO", "POST", "CONNECT"])
def test_other_methods_are_refused_and_nothing_is_echoed(server: Server, method: str) -> None:
    """B-22: an unsupported method is answered 4xx or 501, and nothing of the request is echoed."""
    target = "x:80" if method == "CONNECT" else "/generate?seed=1"
    answer = server.send(f"{method} {target} HTTP/1.1\r\nHost: x\r\nX-Canary: canary\r\nConnection: close\r\n\r\n".encode())
    assert re.match(rb"HTTP/1.1 (4\d\d|501) ", answer)
    assert b"canary" not in answer


def test_a_body_on_get_does_not_disturb_the_next_request(server: Server) -> None:
    """B-24: a GET with a body is answered, and so is the next request on the same connection."""
    first = b'GET /generate?seed=1 HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\nContent-Type: application/json\r\n\r\n{"a": 12}'
    second = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    answer = server.send(first + second)
    assert answer.count(b"HTTP/1.1 200 OK") == 2
    assert answer.endswith(b'"ok"\n}\n')


def test_many_and_large_headers_do_no_harm(server: Server) -> None:
    """B-25: a cookie of 8 KB is served, 200 headers are served or refused, and the server continues."""
    assert server.get("/generate?seed=1", headers={"Cookie": "a=" + 8192 * "x"})[0] == 200
    headers = b"".join(b"X-%d: y\r\n" % i for i in range(200))
    answer = server.send(b"GET /generate?seed=1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + headers + b"\r\n")
    assert re.match(rb"HTTP/1.1 (200|431|400) ", answer)
    assert server.get("/healthz")[0] == 200


def test_raw_bytes_in_the_query_are_refused(server: Server) -> None:
    """B-04: unescaped digits of another script are answered 400."""
    answer = server.send("GET /generate?seed=\u0664\u0662 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("path", ["/generate%2f", "/generate/", "//generate", "/GENERATE", "/%67enerate%00"])
def test_other_paths_are_not_found(server: Server, path: str) -> None:
    """B-26: over the wire, too, a path that does not equal a route is 404."""
    assert server.get(f"{path}?seed=1")[0] == 404


def metric(text: str, name: str) -> float:
    """The sum of a metric's samples."""
    return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if re.match(rf"{name}[ {{]", line))


def test_any_worker_reports_the_metrics_of_all(server: Server) -> None:
    """``/metrics`` of either worker counts the requests to both, exactly as many as were sent."""
    count = 'gan_http_requests_total{code="400",method="GET",route="/generate"}'
    before = metric(server.get("/metrics")[2].decode(), re.escape(count))
    for _ in range(30):
        server.get("/generate?seed=x")
    assert metric(server.get("/metrics")[2].decode(), re.escape(count)) == before + 30


def test_promtool_accepts_the_metrics(server: Server) -> None:
    """O-14: promtool reports no problem in the metrics of two workers."""
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed")
    text = server.get("/metrics")[2]
    checked = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, check=False)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")


def test_a_killed_worker_comes_back(root: Path, folder: Path) -> None:
    """F-04: after SIGKILL of its only worker the server answers the same bytes again, and no counter has decreased."""
    with running(root, models=folder / "1-grey.onnx") as server:
        (worker,) = server.workers()
        with unharmed(server):
            os.kill(worker, signal.SIGKILL)
        assert f'pid="{worker}"' not in server.get("/metrics")[2].decode()
        assert server.stop() == 0


def test_work_of_disconnected_clients_is_dropped(root: Path, tmp_path: Path, engine: str) -> None:
    """O-07: of forty requests whose clients close, half-close or reset early, those that wait are dropped and counted
    as 499, with a request behind them, too; the queue is empty afterwards, the next request is right, and the log has no error.
    """
    path = tmp_path / "slow.onnx"
    path.write_bytes(tiny_onnx.build("slow", {"z": Normal(20)}, Image(28, 28, 1), [2048, 2048]))
    with running(root, models=path, queue_limit=60_000, cache_bytes=0, engine=engine) as server:
        with unharmed(server, lost=[200, 499]):
            before = server.get("/generate?seed=42")[2]

            def answered(code: str) -> float:
                name = rf'gan_http_requests_total{{code="{code}",method="GET",route="/generate"}}'
                return metric(server.get("/metrics")[2].decode(), name)

            already = answered("200")
            clients = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(40)]
            for index, client in enumerate(clients):
                behind = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" * (index // 4 % 2)
                client.sendall(b"GET /generate?seed=%d&n=256 HTTP/1.1\r\nHost: x\r\n\r\n" % (1000 * index) + behind)
            threading.Event().wait(0.15)
            for index, client in enumerate(clients):
                if index % 4 == 0:
                    client.shutdown(socket.SHUT_WR)
                    continue
                if index % 2:
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # closing resets
                client.close()
            wait_until(lambda: answered("200") + answered("499") == already + 40, "all forty are counted")
            text = server.get("/metrics")[2].decode()  # once more: a scrape reads gauges and counters at different moments
            assert answered("499") == metric(text, "gan_cancelled_total") > 0
            assert metric(text, "gan_queue_depth") == 0
            assert server.get("/generate?seed=42")[2] == before
            for client in clients[::4]:
                while chunk := client.recv(2**20):
                    assert not chunk.startswith(b"HTTP/1.1 ") or chunk.startswith(b"HTTP/1.1 200 ")
                client.close()
        assert server.stop() == 0
        assert server.process.stdout is not None
        assert "returned without" not in server.process.stdout.read()


def test_workers_end_with_their_launcher(root: Path, folder: Path) -> None:
    """When the launcher is killed, its workers and the engine end and free the port."""
    with running(root, models=folder / "1-grey.onnx", workers=2, engine="shared") as server:
        workers = [*server.workers(), server.engine()]
        assert len(workers) == 3
        server.stop(signal.SIGKILL)
        wait_until(lambda: not any(Path(f"/proc/{pid}/stat").exists() for pid in workers), "all have ended")
