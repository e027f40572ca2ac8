"""Reloading a model while the service runs: it is swapped atomically, or refused without effect."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import http.client
import json
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from serving.engine.registry import ModelEntry
from serving.engine.reload import Outcome
from serving.http.asgi import ASGIApp
from serving.model.load import load_model
from tests.harness.processes import TIMEOUT
from tests.harness.service import running
from tests.serving import tiny_onnx
from tests.serving.client import ask, service_of
from tests.serving.reloading import make_app, reload, reloader_of, replace_file, retrained


@pytest.fixture
def app(home: Path) -> ASGIApp:
    """A service with that model file."""
    return make_app(home)


def swaps(app: ASGIApp, result: str) -> float | None:
    return service_of(app).metrics.registry.get_sample_value("gan_model_swaps_total", {"result": result})


def test_a_replaced_file_is_served(app: ASGIApp, home: Path) -> None:
    """F-07, D-09: after the swap /generate uses the new model; the old one gives the same bytes at its digest's address."""
    before = ask(app, "seed=42")
    replace_file(home, retrained())
    (outcome,) = reload(app)
    after = ask(app, "seed=42")
    assert (outcome.result, outcome.digest) == ("swapped", after.headers["X-Model-Digest"])
    assert after.headers["X-Model-Digest"] != before.headers["X-Model-Digest"]
    assert after.body != before.body
    old = before.headers["X-Model-Digest"]
    assert ask(app, "seed=42", path=f"/models/{old}/generate").body == before.body
    assert ask(app, "seed=42", headers={"If-None-Match": before.headers["ETag"]}).status == 200
    assert swaps(app, "swapped") == 1
    shown = {
        sample.labels["digest"]: sample.value
        for metric in service_of(app).metrics.registry.collect()
        for sample in metric.samples
        if sample.name == "gan_model_info"
    }
    assert shown == {old: 0, after.headers["X-Model-Digest"]: 1}


def test_a_model_that_was_replaced_twice_is_gone(app: ASGIApp, home: Path) -> None:
    """With one model kept, the digest of the model before it is 410."""
    first = ask(app, "seed=42").headers["X-Model-Digest"]
    for seed in (1, 2):
        replace_file(home, retrained(seed))
        reload(app)
    answer = ask(app, "seed=42", path=f"/models/{first}/generate")
    assert (answer.status, json.loads(answer.body)["code"]) == (410, "gone")


def test_a_file_of_another_date_is_no_swap(app: ASGIApp, home: Path) -> None:
    """A file that was touched, or copied once more, is loaded, and the same model in it is not counted."""
    for replaced in (lambda: os.utime(home, (1, 1)), lambda: replace_file(home, home.read_bytes())):
        replaced()
        assert [(outcome.result, outcome.model) for outcome in reload(app)] == [("unchanged", "grey")]
    assert swaps(app, "swapped") == 0


def test_an_unchanged_file_is_left_alone(app: ASGIApp) -> None:
    """An unchanged file is not loaded."""
    assert [outcome.result for outcome in reload(app)] == ["unchanged"]
    assert swaps(app, "swapped") == 0


def flipped(data: bytes) -> bytes:
    """Flip one bit of a weight's exponent."""
    offset = next(i for i in range(len(data) // 2, len(data)) if data[i] & 0x7F in (0x3C, 0x3D, 0x3E))
    return data[:offset] + bytes([data[offset] ^ 0x40]) + data[offset + 1 :]


BROKEN: dict[str, Callable[[bytes], bytes]] = {
    "half of it": lambda data: data[: len(data) // 2],
    "all but a byte": lambda data: data[:-1],
    "empty": lambda data: b"",
    "HTML": lambda data: b"<!doctype html><title>404</title>",
    "a bit flipped": flipped,
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_replaces_nothing(app: ASGIApp, home: Path, name: str) -> None:
    """F-10: a broken new file is refused with a reason, and the old model stays in service."""
    before = ask(app, "seed=42")
    replace_file(home, BROKEN[name](retrained()))
    (outcome,) = reload(app)
    assert outcome.result == "refused"
    assert outcome.reason
    assert ask(app, "seed=42") == before
    assert [outcome.result for outcome in reload(app)] == ["unchanged"]
    assert swaps(app, "refused") == 1
    replace_file(home, retrained())
    assert [outcome.result for outcome in reload(app)] == ["swapped"]


@pytest.mark.slow
def test_a_fault_of_the_machine_does_not_end_the_watch(home: Path) -> None:
    """A file whose load fails by something else than a refusal is refused, and the next file is served."""
    app = make_app(home, watch_seconds=0.01)
    reloader = reloader_of(app)
    load = reloader._load
    faults: list[Exception] = [OSError(errno.EMFILE, "Too many open files")]

    def load_or_fail(path: Path) -> ModelEntry:
        if faults:
            raise faults.pop()
        return load(path)

    async def play() -> None:
        watch = asyncio.create_task(reloader.watch())
        for seed, result in ((1, "refused"), (2, "swapped")):
            replace_file(home, retrained(seed))
            while not swaps(app, result):
                assert not watch.done()
                await asyncio.sleep(0.01)
        watch.cancel()

    reloader._load = load_or_fail
    service_of(app).portal.run(asyncio.wait_for(play(), TIMEOUT))


def test_a_pipe_or_a_missing_file_replaces_nothing(app: ASGIApp, home: Path) -> None:
    """F-10: a pipe instead of the file does not block the service, and a missing file does not end it."""
    before = ask(app, "seed=42")
    home.unlink()
    assert [outcome.result for outcome in reload(app)] == ["refused"]
    os.mkfifo(home)
    assert [outcome.result for outcome in reload(app)] == ["refused"]
    assert ask(app, "seed=42") == before


@pytest.mark.process
def test_a_file_written_in_place_is_served_when_it_is_whole(root: Path, home: Path) -> None:
    """F-08: while the watched file is overwritten in pieces, with a pause between, the old or the new model answers."""
    old, new = home.read_bytes(), retrained()
    digests = [hashlib.sha256(data).hexdigest() for data in (old, new)]
    with running(root, models=home, watch_seconds=0.25) as server:
        seen = [server.get("/generate?seed=1")]
        pause = threading.Event()
        with home.open("wb", buffering=0) as file:
            for part in range(20):
                file.write(new[part * len(new) // 20 : (part + 1) * len(new) // 20])
                pause.wait(1 if part == 9 else 0.05)
                seen.append(server.get("/generate?seed=1"))
        for _ in range(TIMEOUT * 20):
            if seen[-1].headers["x-model-digest"] == digests[1]:
                break
            pause.wait(0.05)
            seen.append(server.get("/generate?seed=1"))
    assert {answer.status for answer in seen} == {200}
    order = [digests.index(answer.headers["x-model-digest"]) for answer in seen]
    assert order == sorted(order)
    assert len({answer.body for answer in seen}) == 2


def test_concurrent_reloads_load_once(app: ASGIApp, home: Path) -> None:
    """F-11: fifty concurrent calls load a changed file once."""
    replace_file(home, retrained())
    reloader = reloader_of(app)

    async def all_at_once() -> list[list[Outcome]]:
        return list(await asyncio.gather(*(reloader.reload() for _ in range(50))))

    results = [outcome.result for (outcome,) in service_of(app).portal.run(all_at_once())]
    assert sorted(results) == ["swapped", *["unchanged"] * 49]


def test_a_model_of_another_name_replaces_the_old_one(app: ASGIApp, home: Path) -> None:
    """A file whose model has a new name is served under it, and the old name is unknown."""
    replace_file(home, retrained(name="other"))
    reload(app)
    assert ask(app, "seed=1&model=other").status == 200
    assert ask(app, "seed=1&model=grey").status == 400


@pytest.mark.process
def test_a_swap_under_load_fails_no_request(root: Path, home: Path, engine: str) -> None:
    """F-07: a file is replaced while 8 clients send requests to two workers: no request fails, each response comes wholly from
    the model that its digest names, and in the end all come from the new one.
    """
    new = home.with_name("new")
    new.write_bytes(retrained())
    expected = {}
    for path in (home, new):
        model = load_model(path, "cpu")
        expected[model.digest] = model.sample([42]).tobytes()
    newest = load_model(new, "cpu").digest
    seen: set[str] = set()
    wrong: list[object] = []
    end = threading.Event()

    def client(port: int) -> None:
        streak = 0
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)
        while streak < 200 and not end.is_set():
            connection.request("GET", "/generate?seed=42&format=npy")
            response = connection.getresponse()
            digest, body = response.headers["X-Model-Digest"], response.read()
            if response.status != 200 or not body.endswith(expected.get(digest, b"none")):
                wrong.append((response.status, digest))
            seen.add(digest)
            streak = streak + 1 if digest == newest else 0
        connection.close()

    with running(root, models=home, workers=2, watch_seconds=0.25, cache_bytes=0, engine=engine) as server:
        threads = [threading.Thread(target=client, args=(server.port,)) for _ in range(8)]
        for thread in threads:
            thread.start()
        while not seen:
            end.wait(0.01)
        new.replace(home)
        for thread in threads:
            thread.join(TIMEOUT)
        end.set()
        assert not wrong
        assert seen == set(expected)
        assert server.stop() == 0


def test_a_nondeterministic_model_has_its_own_metric(home: Path) -> None:
    """A file that gives different bytes for a seed is refused, and the gauge is 0 until a deterministic file replaces it."""
    app = make_app(home)
    gauge = lambda: service_of(app).metrics.registry.get_sample_value("gan_determinism_check_ok", {"model": "grey"})  # noqa: E731
    assert gauge() == 1
    replace_file(home, tiny_onnx.random())
    (outcome,) = reload(app)
    assert (outcome.result, gauge()) == ("refused", 0)
    assert "the same seed gives different outputs" in str(outcome.reason)
    replace_file(home, retrained())
    assert (reload(app)[0].result, gauge()) == ("swapped", 1)
