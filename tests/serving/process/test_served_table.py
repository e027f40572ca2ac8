"""A worker is killed while other files are at the paths of its models: its successor serves what was served before."""

from __future__ import annotations

import gc
import os
import signal
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from serving.engine.kept_files import MOST_HELD, ServedFile, open_file
from serving.process.served_table import MOST_BYTES, ServedTable
from tests.harness.processes import wait_until
from tests.harness.service import Server, running
from tests.serving import tiny_onnx
from tests.serving.reloading import replace_file, retrained


def kill_worker(server: Server) -> None:
    """Kill the only worker, and return when its successor is ready."""
    (worker,) = server.workers()
    os.kill(worker, signal.SIGKILL)

    wait_until(lambda: server.workers() not in ([], [worker]) and is_ready(server), "its successor serves")


def is_ready(server: Server) -> bool:
    """Whether a worker is there, and ready."""
    with suppress(OSError):  # no worker listens, or the killed worker's connection is reset
        return server.get("/readyz").status == 200
    return False


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
        wait_until(lambda: b'result="refused"} 0.0' not in server.get("/metrics").body, "a file is refused")
        for _ in range(2):
            kill_worker(server)
            assert server.get("/generate?seed=42").body == served.body
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
        restored = b'gan_model_swaps_total{result="restored"} 1.0'
        wait_until(lambda: restored in server.get("/metrics").body, "its successor has the model")
        wait_until(lambda: server.get("/readyz").status == 200, "it is ready")
        assert server.get("/generate?seed=42").body == served
        assert server.stop() == 0


@pytest.mark.process
def test_two_workers_stay_alike(root: Path, tmp_path: Path) -> None:
    """F-30: a model of a taken name comes first in the folder, the default one's file is renamed, and one worker is killed: its
    successor serves the same models as the other one, both in the order of the files, and both follow the next change.
    """
    grey, colour = tmp_path / "b.onnx", tmp_path / "c.onnx"
    grey.write_bytes(tiny_onnx.grey())
    colour.write_bytes(tiny_onnx.colour())
    with running(root, models=tmp_path, workers=2, watch_seconds=0.25, cache_bytes=0) as server:
        served = server.get("/generate?seed=42").body
        (tmp_path / "a.onnx").write_bytes(retrained())
        wait_until(lambda: b'result="refused"} 2.0' in server.get("/metrics").body, "both refuse the second grey one")
        grey.rename(tmp_path / "d.onnx")
        (tmp_path / "a.onnx").unlink()
        killed, other = server.workers()
        os.kill(killed, signal.SIGKILL)
        wait_until(lambda: len(set(server.workers()) - {killed}) == 2, "the killed one is replaced")
        wait_until(lambda: all(is_ready(server) for _ in range(8)), "both are ready")
        first = server.get("/generate?seed=42&model=colour").body
        wait_until(
            lambda: {server.get("/generate?seed=42").body for _ in range(16)} == {first}, "both have the default of a start"
        )
        assert {server.get("/generate?seed=42&model=grey").body for _ in range(16)} == {served}
        replace_file(tmp_path / "d.onnx", retrained())
        url = "/generate?seed=42&model=grey"
        wait_until(lambda: served not in {server.get(url).body for _ in range(32)}, "both serve the new one")
        assert len({server.get(url).body for _ in range(16)}) == 1
        assert other in server.workers()
        assert server.stop() == 0


def test_the_launcher_holds_what_was_reported_last(home: Path) -> None:
    """The whole table counts, in its order; a worker gets descriptors of its own, and those of older tables are closed."""
    odd = home.with_name(os.fsdecode(b"\xff" * 200 + b".onnx"))
    odd.write_bytes(tiny_onnx.colour())
    gc.collect()  # what earlier tests have left
    table, before = ServedTable(), len(os.listdir("/proc/self/fd"))

    def report(*rows: tuple[Path, str, bool]) -> None:
        files = [ServedFile(path=p, name="n", digest=d, descriptor=open_file(p) if held else None) for p, d, held in rows]
        with table.handed_over() as handover:
            handover.report(files)
        for file in files:
            if file.descriptor is not None:
                os.close(file.descriptor)

    def reported() -> list[tuple[Path, str, bool]]:
        with table.handed_over() as handover:
            return [(file.path, file.digest, file.descriptor is not None) for file in handover.table]

    def is_held(rows: list[tuple[Path, str, bool]]) -> bool:
        return reported() == rows

    for rows in ([(odd, "1", True), (home, "2", True)], [(home, "3", True), (odd, "1", False)]):
        report(*rows)
        wait_until(partial(is_held, rows), "the table is held")
    first = home.read_bytes()
    replace_file(home, retrained())
    with table.handed_over() as handover:
        assert Path(f"/proc/self/fd/{handover.table[0].descriptor}").read_bytes() == first
    wait_until(lambda: len(os.listdir("/proc/self/fd")) == before + 1, "one descriptor is held")
    report(*((home, "4", True) for _ in range(MOST_HELD)))
    wait_until(lambda: len(reported()) == MOST_HELD, "as many as a message carries are held")
    report(*((home, "4" * 1000, False) for _ in range(MOST_BYTES // 1000)))
    wait_until(lambda: reported() == [], "a table that is too long is none")
    wait_until(lambda: len(os.listdir("/proc/self/fd")) == before, "all descriptors are closed")
