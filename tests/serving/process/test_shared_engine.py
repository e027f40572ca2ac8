"""The engine of ``GAN_ENGINE=shared`` and its workers, each killed: every request is answered, and all processes return."""

from __future__ import annotations

import json
import os
import signal
import threading
from http.client import HTTPConnection
from pathlib import Path

import pytest

from tests.harness.aftermath import open_files, unharmed
from tests.harness.processes import TIMEOUT, wait_for, wait_until
from tests.harness.service import Answer, Server, run_to_end, running
from tests.serving.reloading import replace_file, retrained

pytestmark = pytest.mark.process


def wait_until_restored(server: Server, workers: int) -> None:
    """Return when this number of workers has the models of a new engine, and all say that they are ready."""
    restored = f'gan_model_swaps_total{{result="restored"}} {workers}.0'.encode()
    wait_until(lambda: restored in server.get("/metrics").body, f"{workers} workers have the new engine's models")
    wait_until(lambda: all(server.get("/readyz").status == 200 for _ in range(8)), "they are ready")


def test_whoever_waits_for_a_killed_engine_is_answered_503(root: Path, folder: Path) -> None:
    """F-28: requests that wait in two workers are 503 with Retry-After, ``/readyz`` is 503 until the engine is back with the
    same models, the workers stay, and cached answers are given all the time.
    """
    with running(root, models=folder / "1-grey.onnx", workers=2, engine="shared") as server:
        cached = {server.get("/generate?seed=42").body for _ in range(30)}  # by both workers
        workers, engine = server.workers(), server.engine()
        os.kill(engine, signal.SIGSTOP)
        answers: list[Answer] = []
        clients = [
            threading.Thread(target=lambda seed=seed: answers.append(server.get(f"/generate?seed={seed}")))
            for seed in range(12)
        ]
        for client in clients:
            client.start()
        assert server.get("/generate?seed=99", headers={"X-Request-Timeout-Ms": "300"}).status == 504
        assert (answers, server.get("/readyz").status) == ([], 200)
        server.process.send_signal(signal.SIGSTOP)  # it starts no engine before all are answered
        os.kill(engine, signal.SIGKILL)
        for client in clients:
            client.join(TIMEOUT)
        assert [(a.status, a.headers["retry-after"], json.loads(a.body)["code"]) for a in answers] == 12 * [
            (503, "1", "engine_lost")
        ]
        not_ready = server.get("/readyz")
        assert (not_ready.status, json.loads(not_ready.body)["code"]) == (503, "engine_lost")
        assert {server.get("/generate?seed=42").body for _ in range(10)} == cached
        server.process.send_signal(signal.SIGCONT)
        wait_until_restored(server, 2)
        assert server.get("/generate?seed=42&scale=1").body in cached
        assert server.get("/generate?seed=77").status == 200
        assert (server.workers(), server.engine() != engine) == (workers, True)
        text = server.get("/metrics").body.decode()
        assert 'gan_rejected_total{reason="engine_lost"} 12.0' in text
        assert "gan_worker_crashes_total 1.0" in text
        assert server.stop() == 0
        assert server.errors() == ""


@pytest.mark.parametrize("data", [b"broken", None], ids=["refused", "deleted"])
def test_a_new_engine_has_the_last_good_model(root: Path, home: Path, data: bytes | None) -> None:
    """F-28: a refused file is at the model's path, or none, when the engine is killed: both workers serve the model that they
    served before, and the next good file replaces it.
    """
    good = home.read_bytes()
    with running(root, models=home.parent, workers=2, engine="shared", watch_seconds=0.25, cache_bytes=0) as server:
        served = server.get("/generate?seed=42")
        if data is None:
            home.unlink()
        else:
            replace_file(home, data)
            wait_until(lambda: b'gan_model_swaps_total{result="refused"} 2.0' in server.get("/metrics").body, "it is refused")
            wait_until(lambda: b"gan_model_files_refused 1.0" in server.get("/metrics").body, "it is counted")
        os.kill(server.engine(), signal.SIGKILL)
        wait_until_restored(server, 2)
        assert {server.get("/generate?seed=42").body for _ in range(8)} == {served.body}
        replace_file(home, retrained())
        wait_until(lambda: server.get("/generate?seed=42").body != served.body, "the next good file is served")
        wait_until(lambda: b"gan_model_files_refused 0.0" in server.get("/metrics").body, "no worker refuses a file")
        os.kill(server.engine(), signal.SIGKILL)
        replace_file(home, good)
        wait_until(lambda: server.get("/generate?seed=42").body == served.body, "the first file is served again")
        assert server.stop() == 0


def test_a_killed_worker_takes_nothing_from_the_others(root: Path, folder: Path) -> None:
    """F-29: while one of two workers is killed, every request to the other is answered by the same engine, which lets go all
    that the killed one had; its successor is served.
    """
    with running(root, models=folder / "1-grey.onnx", workers=2, engine="shared", cache_bytes=0) as server, unharmed(server):
        engine, workers = server.engine(), server.workers()
        held = len(open_files(engine))
        connections = [HTTPConnection("127.0.0.1", server.port, timeout=TIMEOUT) for _ in range(16)]
        for seed, connection in enumerate(connections):
            connection.request("GET", f"/healthz?{seed}")
            response = connection.getresponse()
            response.read()
            server.answered[response.status] += 1
        lost = 0
        for turn in range(20):
            if turn == 5:
                os.kill(workers[0], signal.SIGKILL)
            for seed, connection in enumerate(list(connections)):
                try:
                    connection.request("GET", f"/generate?seed={1000 * turn + seed}")
                    response = connection.getresponse()
                except (ConnectionError, OSError):
                    lost += 1
                    connection.close()
                    connections.remove(connection)
                    continue
                server.answered[response.status] += 1
                assert (response.status, len(response.read()) > 0) == (200, True)
        assert 0 < lost < 16
        for connection in connections:
            connection.close()

        def restarted() -> None:
            if len(server.workers()) < 2 or len(open_files(engine)) != held:
                raise OSError("not yet")

        wait_for(restarted, server.process)
        assert server.engine() == engine


def test_workers_have_no_runtime(root: Path, folder: Path) -> None:
    """Only the engine maps onnxruntime, so that weights are in memory once."""
    with running(root, models=folder / "1-grey.onnx", workers=2, engine="shared") as server:
        has_runtime = ["onnxruntime" in Path(f"/proc/{pid}/maps").read_text() for pid in [*server.workers(), server.engine()]]
        assert has_runtime == [False, False, True]


def test_a_refused_model_ends_the_service(root: Path, tmp_path: Path) -> None:
    """A broken file is the same single line and exit code as without the engine; nothing is left running."""
    (tmp_path / "m.onnx").write_bytes(b"broken")
    ended = run_to_end(root, models=tmp_path / "m.onnx", workers=2, engine="shared")
    assert (ended.returncode, ended.stderr) == (1, f"serving: {tmp_path}/m.onnx: the file is truncated or not an ONNX model\n")
