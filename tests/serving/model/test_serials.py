"""Serials of signed models: an older one is not let in again, and what cannot be remembered is not let in."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from serving.errors import ModelError
from serving.model.signatures import Serials
from tests.harness.processes import TIMEOUT, wait_until
from tests.harness.service import Server, running
from tests.serving.client import ask
from tests.serving.model.signing import put, put_release, signature
from tests.serving.process.test_served_table import kill_worker
from tests.serving.process.test_worker_faults import next_event
from tests.serving.reloading import make_app, reload, retrained


def test_an_older_model_is_not_let_in_again(home: Path, keys: Path) -> None:
    """S-30: a replayed older model, rightly signed, is refused at a reload; the same serial and a higher one are not."""
    app = make_app(home, public_key=keys)
    before = ask(app, "seed=42")
    put_release(home, 4)
    (outcome,) = reload(app)
    assert outcome.result == "refused"
    assert "serial 4 is older than 5, which was accepted before; GAN_DOWNGRADE=on allows it" in str(outcome.reason)
    assert ask(app, "seed=42") == before
    for serial, result in ((5, "unchanged"), (6, "swapped")):
        put_release(home, serial)
        assert reload(app)[0].result == result


@pytest.mark.slow
def test_a_folder_remembers_serials_beyond_the_end(home: Path, keys: Path, tmp_path: Path) -> None:
    """S-30: with GAN_SERIALS an older model is refused at the next start, too, until GAN_DOWNGRADE lets it in for good."""
    serials = tmp_path / "serials"
    make_app(home, public_key=keys, serials=serials)
    put_release(home, 4)
    with pytest.raises(ModelError, match="serial 4 is older than 5"):
        make_app(home, public_key=keys, serials=serials)
    make_app(home, public_key=keys, serials=serials, downgrade=True)
    make_app(home, public_key=keys, serials=serials)
    assert sorted(path.name for path in serials.iterdir()) == [".lock", "grey.serial"]


def test_a_refused_model_is_not_remembered(home: Path, keys: Path, tmp_path: Path) -> None:
    """A file that is signed and does not run raises no serial: the one before it is still let in."""
    serials = tmp_path / "serials"
    put(home, b"no model", signature(b"no model", serial=9))
    with pytest.raises(ModelError):
        make_app(home, public_key=keys, serials=serials)
    put_release(home, 5)
    make_app(home, public_key=keys, serials=serials)


def test_a_model_that_does_not_enter_service_is_not_remembered(home: Path, keys: Path, tmp_path: Path) -> None:
    """A newer model whose name another file has is refused at a reload and at a start, and raises no serial."""
    serials = tmp_path / "serials"
    app = make_app(tmp_path, public_key=keys, serials=serials)
    put_release(tmp_path / "new.onnx", 9)
    assert [outcome.result for outcome in reload(app)] == ["unchanged", "refused"]
    with pytest.raises(ModelError, match="another model has the name 'grey'"):
        make_app(tmp_path, public_key=keys, serials=serials)
    (tmp_path / "new.onnx").unlink()
    assert Serials(serials).highest("grey") == 5
    make_app(tmp_path, public_key=keys, serials=serials)


def test_models_that_cannot_be_remembered_do_not_enter_service(home: Path, keys: Path, tmp_path: Path) -> None:
    """Of two files that exchange their names neither is swapped in if the serial of one cannot be stored."""
    other, swapped = tmp_path / "n.onnx", {home: ("other", 6), tmp_path / "n.onnx": ("grey", 6)}
    put(other, retrained(1, "other"), signature(retrained(1, "other"), name="other", serial=5))
    app = make_app(tmp_path, public_key=keys, serials=tmp_path / "serials")
    before = ask(app, "seed=42")
    for path, (name, serial) in swapped.items():
        put(path, retrained(2, name), signature(retrained(2, name), name=name, serial=serial))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", full)
        assert [outcome.result for outcome in reload(app)] == ["refused", "refused"]
    assert ask(app, "seed=42") == before
    assert Serials(tmp_path / "serials").highest("grey") == Serials(tmp_path / "serials").highest("other") == 5


def test_the_serial_is_checked_before_the_file_is_parsed(home: Path, keys: Path) -> None:
    """S-30: what is no model at all is refused for its serial, by no parser."""
    app = make_app(home, public_key=keys)
    put(home, b"no model", signature(b"no model", serial=4))
    assert "serial 4 is older than 5" in str(reload(app)[0].reason)


@pytest.mark.parametrize("held", ["", "five\n", "-1\n", "5", None])
def test_a_damaged_memory_lets_nothing_in(held: str | None, home: Path, keys: Path, tmp_path: Path) -> None:
    """A serial that cannot be read is no zero, nor is a directory in its place; the message names it, not only the model."""
    path = tmp_path / "serials/grey.serial"
    path.parent.mkdir()
    path.mkdir() if held is None else path.write_text(held)
    right = ": cannot be read: Is a directory" if held is None else " must hold a serial" if held else ": the file must have 1"
    with pytest.raises(ModelError, match=f"GAN_SERIALS: {path}{right}"):
        make_app(home, public_key=keys, serials=tmp_path / "serials")


def test_what_cannot_be_remembered_is_not_let_in(home: Path, keys: Path, tmp_path: Path) -> None:
    """A folder for serials that cannot be written refuses the model."""
    (tmp_path / "serials").write_text("a file")
    with pytest.raises(ModelError, match="GAN_SERIALS: .* cannot be written"):
        make_app(home, public_key=keys, serials=tmp_path / "serials")


def test_serials_that_may_not_be_looked_at_let_nothing_in(home: Path, keys: Path, tmp_path: Path) -> None:
    """A folder that the file system refuses, as one that this user may not enter, refuses the model in one line."""
    with pytest.raises(ModelError, match="GAN_SERIALS: .* cannot be read: File name too long"):
        make_app(home, public_key=keys, serials=tmp_path / (300 * "x"))


def test_a_serial_that_cannot_be_stored_leaves_nothing(home: Path, keys: Path, tmp_path: Path) -> None:
    """A disk that is full in the middle keeps the highest serial, and no unfinished file stays."""
    make_app(home, public_key=keys, serials=tmp_path / "serials")
    before = Serials(tmp_path / "serials").highest("grey")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(ModelError, match="cannot be written: No space left on device"):
            Serials(tmp_path / "serials").store("grey", before + 1)
    assert sorted(path.name for path in (tmp_path / "serials").iterdir()) == [".lock", "grey.serial"]
    assert Serials(tmp_path / "serials").highest("grey") == before > 0


@pytest.mark.parametrize("first", [8, 9])
def test_a_lower_serial_is_never_stored(first: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One serial arrives while another one is being written under the same process id: the higher one is stored."""
    begun, write, refused = threading.Event(), os.fsync, list[str]()

    def slow(descriptor: int) -> None:
        begun.set()
        time.sleep(0.2 if threading.current_thread() is not threading.main_thread() else 0)
        write(descriptor)

    def store(serial: int) -> None:
        try:
            Serials(tmp_path).store("grey", serial)
        except ModelError as error:
            refused.append(str(error))

    monkeypatch.setattr(os, "fsync", slow)
    thread = threading.Thread(target=store, args=(first,))
    thread.start()
    assert begun.wait(TIMEOUT)
    store(17 - first)
    thread.join(TIMEOUT)
    assert Serials(tmp_path).highest("grey") == 9
    assert [reason[:24] for reason in refused] == ["serial 8 is older than 9"] * (first == 9)


def test_a_downgrade_stores_a_lower_serial(tmp_path: Path) -> None:
    """S-30: only GAN_DOWNGRADE does, after a service without it has stored a higher one."""
    Serials(tmp_path).store("grey", 9)
    with pytest.raises(ModelError, match="serial 8 is older than 9"):
        Serials(tmp_path).store("grey", 8)
    Serials(tmp_path, downgrade=True).store("grey", 8)
    assert Serials(tmp_path).highest("grey") == 8


def test_the_same_serial_needs_no_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder in which no file can be locked lets in the model whose serial it holds, and no newer one."""
    Serials(tmp_path).store("grey", 5)
    monkeypatch.setattr(fcntl, "flock", lambda descriptor, operation: full(descriptor))
    Serials(tmp_path).store("grey", 5)
    with pytest.raises(ModelError, match="GAN_SERIALS: .* cannot be written"):
        Serials(tmp_path).store("grey", 6)


def full(descriptor: int) -> None:
    """``os.fsync`` of a disk without space."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.process
def test_workers_share_what_they_remember(root: Path, home: Path, keys: Path) -> None:
    """S-30: a worker that is started anew refuses an older model that lies in the place by now, without GAN_SERIALS, too."""
    with running(root, models=home, public_key=keys, watch_seconds=1, cache_bytes=0) as server:
        served = server.get("/generate?seed=42").body
        put_release(home, 4)
        kill_worker(server)
        wait_until(lambda: b'result="refused"} 1.0' in server.get("/metrics").body, "the new worker refuses it")
        assert server.get("/generate?seed=42").body == served
        assert server.stop() == 0
        assert "serial 4 is older than 5" in str(next_event(server, "reload")["reason"])


@pytest.mark.process
@pytest.mark.parametrize("engine", ["worker", "shared"])
def test_a_service_restarts_after_a_refused_model(root: Path, home: Path, keys: Path, engine: str) -> None:
    """Either engine refuses a newer file whose model has another file's name, and starts again when that file is gone."""
    started: dict[str, Any] = {"models": home.parent, "public_key": keys, "engine": engine, "serials": home.parent / "serials"}
    with running(root, **started, watch_seconds=0.25) as server:
        put_release(home.with_name("new.onnx"), 9)
        wait_until(lambda: refusals(server) == 1, "the file is refused")
        home.with_name("new.onnx").unlink()
    stored = home.parent / "serials/grey.serial"
    with running(root, **started, watch_seconds=0.25) as server:
        assert stored.read_text() == "5\n"
        put_release(home, 6)
        wait_until(lambda: stored.read_text() == "6\n", "the newer model is swapped in")
        assert server.stop() == 0


def refusals(server: Server) -> float:
    """How many files the workers have refused."""
    (count,) = re.findall(r'gan_model_swaps_total{result="refused"} (\S+)', server.get("/metrics").body.decode()) or ["0"]
    return float(count)


@pytest.mark.process
@pytest.mark.parametrize("engine", ["worker", "shared"])
def test_a_new_worker_has_the_last_signed_model(root: Path, home: Path, keys: Path, engine: str) -> None:
    """F-30: an unsigned file is at the path when the worker is killed; its successor serves the signed one."""
    with running(root, models=home, public_key=keys, engine=engine, watch_seconds=0.25, cache_bytes=0) as server:
        served = server.get("/generate?seed=42").body
        put(home, b"no model", None)
        wait_until(lambda: refusals(server) == 1, "the file is refused")
        kill_worker(server)
        assert server.get("/generate?seed=42").body == served
        wait_until(lambda: refusals(server) == 2, "its successor refuses it, too")
        put_release(home, 4)
        wait_until(lambda: refusals(server) > 2, "it refuses an older one, too")
        assert server.get("/generate?seed=42").body == served
        put_release(home, 6)
        wait_until(lambda: server.get("/generate?seed=42").body != served, "a newer one is served")
        assert server.stop() == 0
