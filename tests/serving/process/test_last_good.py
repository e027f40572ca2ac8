"""A worker is killed while its model's file is refused or gone: its successor serves the model that was served before."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path

import pytest

from serving.engine.kept_files import stamp_of
from serving.process.last_good import LastGoodFiles
from tests.harness.processes import wait_until
from tests.harness.service import Server, running
from tests.serving import tiny_onnx
from tests.serving.reloading import replace_file, retrained

RESTORED = b'gan_model_swaps_total{result="restored"} 1.0'


def kill_worker(server: Server) -> None:
    """Kill the only worker, and return when its successor is ready."""
    (worker,) = server.workers()
    os.kill(worker, signal.SIGKILL)

    def is_replaced() -> bool:
        with suppress(OSError):  # no worker listens, or the killed worker's connection is reset
            return server.workers() not in ([], [worker]) and server.get("/readyz").status == 200
        return False

    wait_until(is_replaced, "its successor serves")


@pytest.mark.process
@pytest.mark.parametrize("data", [b"broken", None], ids=["refused", "deleted"])
def test_a_new_worker_has_the_last_good_model(root: Path, home: Path, data: bytes | None, engine: str) -> None:
    """F-30: twice, and then the next good file replaces it, and is the one that a further worker has."""
    other = home.with_name("n.onnx")
    with running(root, models=home.parent, engine=engine, watch_seconds=0.25, cache_bytes=0) as server:
        served = server.get("/generate?seed=42")
        other.write_bytes(b"a broken file that was never served")
        if data is None:
            home.unlink()
        else:
            replace_file(home, data)
        wait_until(lambda: b'result="refused"}' in server.get("/metrics").body, "a file is refused")
        for _ in range(2):
            kill_worker(server)
            assert server.get("/generate?seed=42").body == served.body
            assert RESTORED in server.get("/metrics").body.replace(b" 2.0", b" 1.0")
        replace_file(home, retrained())
        wait_until(lambda: server.get("/generate?seed=42").body != served.body, "the next good file is served")
        now = server.get("/generate?seed=42").body
        replace_file(home, b"broken again")
        kill_worker(server)
        assert server.get("/generate?seed=42").body == now
        other.unlink()
        assert server.stop() == 0


@pytest.mark.process
def test_a_new_engine_has_what_a_new_worker_has(root: Path, home: Path) -> None:
    """F-30: after the worker the engine is killed, too; only the worker's successor holds the file of the model."""
    with running(root, models=home, engine="shared", watch_seconds=0.25, cache_bytes=0) as server:
        served = server.get("/generate?seed=42").body
        replace_file(home, b"broken")
        wait_until(lambda: b'result="refused"} 1.0' in server.get("/metrics").body, "the file is refused")
        kill_worker(server)
        os.kill(server.engine(), signal.SIGKILL)
        wait_until(lambda: server.get("/generate?seed=42").status == 503, "the engine has ended")
        wait_until(lambda: server.get("/readyz").status == 200, "its successor has the model")
        assert server.get("/generate?seed=42").body == served
        assert server.stop() == 0


def test_the_launcher_follows_what_workers_report(home: Path) -> None:
    """A file is held in the order in which it was first reported, under any name, until its path has no model any longer."""
    odd = home.with_name(os.fsdecode(b"\xff" * 200 + b".onnx"))
    odd.write_bytes(tiny_onnx.colour())
    held = LastGoodFiles()
    for path, digest in ((odd, "1"), (home, "2"), (odd, "3")):
        held.hand_over().report(path, digest, stamp_of(path.stat()))
    held.hand_over().report(home, "of another file", (0, 0, 0, 0))
    wait_until(lambda: held.hand_over().files.get(odd, None) is not None and len(held.hand_over().files) == 2, "both are held")
    wait_until(lambda: held.hand_over().files[odd].digest == "3", "the last report is followed")
    assert [(path, file.digest) for path, file in held.hand_over().files.items()] == [(odd, "3"), (home, "2")]
    replaced = home.read_bytes()
    replace_file(home, retrained())
    assert held.hand_over().files[home].address.read_bytes() == replaced
    held.hand_over().report(home, None, None)
    wait_until(lambda: list(held.hand_over().files) == [odd], "the other is forgotten")
