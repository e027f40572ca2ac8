"""Reloading models while the service runs: swapped atomically or refused without effect; and the admin route."""

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

from contract import Image, Normal
from serving.app import create_app
from serving.engine.registry import ModelEntry
from serving.engine.reload import Outcome, Reloader, stamps
from serving.errors import TooManyTries, Unauthorised
from serving.http.asgi import ASGIApp
from serving.model.load import load_model
from serving.settings import Settings
from tests.harness.processes import TIMEOUT
from tests.harness.service import running
from tests.serving import tiny_onnx
from tests.serving.client import ask, service_of

TOKEN = "CANARY-0123456789"  # of this test


def retrained(seed: int = 7, name: str = "grey") -> bytes:
    """A model of the shape of ``grey`` with other weights."""
    return tiny_onnx.build(name, {"z": Normal(20)}, Image(28, 28, 1), [30 + seed])


def replace_file(path: Path, data: bytes) -> None:
    """Replace a file atomically, by rename."""
    partial = path.with_name("partial")
    partial.write_bytes(data)
    partial.replace(path)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """The model file of the service."""
    path = tmp_path / "m.onnx"
    path.write_bytes(tiny_onnx.grey())
    return path


@pytest.fixture
def app(home: Path) -> ASGIApp:
    """A service with that model file."""
    return make_app(home)


def make_app(home: Path, **settings: object) -> ASGIApp:
    overrides = Settings(models=(str(home),), provider="cpu", **settings)  # type: ignore[arg-type]
    return create_app(overrides, log=lambda event, **facts: None)


def reload(app: ASGIApp) -> list[Outcome]:
    reloader: Reloader = app.flask.extensions["serving"].reloader
    return service_of(app).portal.run(reloader.reload())


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


def test_a_fault_of_the_machine_does_not_end_the_watch(home: Path) -> None:
    """A file whose load fails by something else than a refusal is refused, and the next file is served."""
    app = make_app(home, watch_seconds=0.01)
    reloader: Reloader = app.flask.extensions["serving"].reloader
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


@pytest.fixture
def two(tmp_path: Path) -> ASGIApp:
    """A service with the files ``a.onnx`` and ``b.onnx``, whose models have these names."""
    for seed, name in enumerate("ab"):
        (tmp_path / f"{name}.onnx").write_bytes(retrained(seed, name))
    return make_app(tmp_path)


def served(app: ASGIApp) -> dict[str, str]:
    """The digests of the models in service by name."""
    return {name: entry.model.digest for name, entry in service_of(app).registry.items()}


def test_a_model_may_come_back_in_another_file(two: ASGIApp, tmp_path: Path) -> None:
    """A model whose file is gone is replaced by one of its name in a file of another name."""
    before = served(two)
    (tmp_path / "a.onnx").unlink()
    replace_file(tmp_path / "c.onnx", retrained(5, "a"))
    assert [(outcome.file, outcome.result) for outcome in reload(two)] == [("b.onnx", "unchanged"), ("c.onnx", "swapped")]
    after = served(two)
    assert list(after) == ["a", "b"]
    assert after["b"] == before["b"]
    assert after["a"] != before["a"]
    replace_file(tmp_path / "a.onnx", retrained(6, "a"))
    assert [outcome.result for outcome in reload(two)] == ["refused", "unchanged", "unchanged"]
    assert served(two) == after


def test_a_list_of_the_models_is_that_of_one_moment(two: ASGIApp, tmp_path: Path) -> None:
    """A thread that lists the models while a reload renames one meets no missing name."""
    listed = iter(service_of(two).registry.values())
    next(listed)
    files = sorted(tmp_path.glob("*.onnx"))
    for number, path in enumerate(files):
        replace_file(path, retrained(number, f"renamed-{number}"))
    assert [outcome.result for outcome in reload(two)] == ["swapped", "swapped"]
    assert next(listed).model.card.name not in service_of(two).registry


def test_two_files_may_exchange_their_models(two: ASGIApp, tmp_path: Path) -> None:
    """After two files are exchanged, the same models are in service, and new versions of both are swapped in."""
    before = served(two)
    for seeds in ((0, 1), (8, 9)):
        replace_file(tmp_path / "a.onnx", retrained(seeds[1], "b"))
        replace_file(tmp_path / "b.onnx", retrained(seeds[0], "a"))
        assert [outcome.result for outcome in reload(two)] == ["swapped", "swapped"]
        assert set(served(two)) == {"a", "b"}
        assert (served(two) == before) == (seeds == (0, 1))


@pytest.mark.parametrize("names", ["bc", "cb"])
def test_names_may_move_between_files(two: ASGIApp, tmp_path: Path, names: str) -> None:
    """A name that a file gives up may be taken by another file in the same reload."""
    for seed, (file, name) in enumerate(zip("ab", names, strict=True)):
        replace_file(tmp_path / f"{file}.onnx", retrained(seed + 3, name))
    assert [outcome.result for outcome in reload(two)] == ["swapped", "swapped"]
    assert set(served(two)) == set(names)


def test_two_files_of_one_name_are_refused(two: ASGIApp, tmp_path: Path) -> None:
    """A changed file whose model has the name of another file's is refused with that name, and nothing else changes."""
    before = served(two)
    replace_file(tmp_path / "a.onnx", retrained(3, "b"))
    first, second = reload(two)
    assert (first.result, second.result) == ("refused", "unchanged")
    assert "another file has a model named 'b'" in str(first.reason)
    assert served(two) == before


def test_a_request_tries_refused_files_again(two: ASGIApp, tmp_path: Path) -> None:
    """A reload request loads a refused file again, since its reason may be gone without a change of the file."""
    reloader: Reloader = two.flask.extensions["serving"].reloader
    replace_file(tmp_path / "c.onnx", retrained(5, "a"))
    for _ in range(2):
        outcomes = service_of(two).portal.run(reloader.reload_all())
        assert [outcome.result for outcome in outcomes] == ["unchanged", "unchanged", "refused"]
    (tmp_path / "a.onnx").unlink()
    outcomes = service_of(two).portal.run(reloader.reload_all())
    assert [(outcome.file, outcome.result) for outcome in outcomes] == [("b.onnx", "unchanged"), ("c.onnx", "swapped")]


def test_a_missing_path_does_not_hold_up_the_others(tmp_path: Path) -> None:
    """While one of several paths has no model file, changes of the others are noticed and served."""
    paths = [tmp_path / "a.onnx", tmp_path / "b.onnx"]
    for path in paths:
        path.write_bytes(retrained(1, path.stem))
    app = create_app(Settings(models=tuple(map(str, paths)), provider="cpu"), log=lambda event, **facts: None)
    paths[0].unlink()
    replace_file(paths[1], retrained(2, "b"))
    assert list(stamps(Settings(models=tuple(map(str, paths))))) == paths[1:]
    missing, changed = reload(app)
    assert (missing.result, missing.file, changed.result) == ("refused", "GAN_MODELS", "swapped")
    assert str(paths[0]) in str(missing.reason)
    assert list(served(app)) == ["a", "b"]


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
    reloader: Reloader = app.flask.extensions["serving"].reloader

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


def test_a_name_that_another_file_has_is_refused(tmp_path: Path) -> None:
    """Two files cannot have models of the same name, also after a reload; a new file with a new name is added."""
    (tmp_path / "a.onnx").write_bytes(tiny_onnx.grey())
    (tmp_path / "b.onnx").write_bytes(tiny_onnx.colour())
    app = make_app(tmp_path)
    replace_file(tmp_path / "b.onnx", retrained(name="grey"))
    replace_file(tmp_path / "c.onnx", retrained(name="third"))
    assert [outcome.result for outcome in reload(app)] == ["unchanged", "refused", "swapped"]
    assert [ask(app, f"seed=1&model={name}").status for name in ("grey", "colour", "third")] == [200, 200, 200]


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


def test_admin_routes_do_not_exist_without_a_token(app: ASGIApp) -> None:
    """S-01: by default the admin route does not exist."""
    assert ask(app, method="POST", path="/admin/reload").status == 404


@pytest.mark.parametrize(
    "authorization", [None, "", "Bearer", "Bearer wrong", TOKEN, f"Basic {TOKEN}", f"Bearer {TOKEN[:-1]}", "Bearer \xe4\xf6"]
)
def test_a_wrong_token_is_refused(home: Path, authorization: str | None) -> None:
    """S-01, S-02: a missing, wrong, truncated or non-ASCII token is 401 with the same body, which says how to authorise."""
    app = make_app(home, admin_token=TOKEN)
    headers = {} if authorization is None else {"Authorization": authorization}
    answer = ask(app, method="POST", path="/admin/reload", headers=headers)
    assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
    assert json.loads(answer.body)["detail"] == "Authorization must be 'Bearer' and the token"


def test_the_right_token_is_accepted(home: Path) -> None:
    """With the token a reload returns its outcomes; a refused file makes it 422, and GET is 405."""
    app = make_app(home, admin_token=TOKEN)
    headers = {"Authorization": f"Bearer {TOKEN}"}
    answer = ask(app, method="POST", path="/admin/reload", headers=headers)
    assert (answer.status, json.loads(answer.body)["outcomes"][0]["result"]) == (200, "unchanged")
    home.write_bytes(b"x")
    for _ in range(2):  # the second time the file is as it was when it was refused
        answer = ask(app, method="POST", path="/admin/reload", headers=headers)
        assert (answer.status, json.loads(answer.body)["outcomes"][0]["result"]) == (422, "refused")
    assert ask(app, path="/admin/reload", headers=headers).status == 405


def test_many_wrong_tokens_are_rate_limited(home: Path) -> None:
    """S-06: after ten wrong tokens the next has 429 with Retry-After, and the operator with the right one is not shut out."""
    bearer_auth = make_app(home, admin_token=TOKEN).flask.extensions["serving"].bearer_auth
    for _ in range(10):
        with pytest.raises(Unauthorised):
            bearer_auth.check("Bearer wrong")
    for _ in range(1_000):
        with pytest.raises(TooManyTries) as refusal:
            bearer_auth.check("Bearer wrong")
    assert 1 <= int(refusal.value.headers["Retry-After"]) <= 60
    bearer_auth.check(f"Bearer {TOKEN}")


@pytest.mark.process
def test_every_worker_reloads_and_the_token_is_not_exposed(root: Path, home: Path) -> None:
    """A reload of one worker reloads both; the token is in no log, metric or response (S-04)."""
    with running(root, models=home, workers=2, admin_token=TOKEN, watch_seconds=0) as server:
        replace_file(home, retrained())
        newest = load_model(home, "cpu").digest
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=TIMEOUT)
        connection.request("POST", "/admin/reload", headers={"Authorization": f"Bearer {TOKEN}"})
        assert connection.getresponse().status == 200
        connection.close()
        streak = 0
        for _ in range(20_000):
            streak = streak + 1 if server.get("/generate?seed=1")[1]["x-model-digest"] == newest else 0
            if streak == 60:
                break
        assert streak == 60
        bodies = [server.get(path)[2] for path in ("/metrics", "/models", "/", "/admin/reload")]
        assert server.stop() == 0
        stdout = server.process.stdout.read() if server.process.stdout else ""
        assert TOKEN not in server.errors() + stdout
        assert all(TOKEN.encode() not in text for text in bodies)


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


@pytest.mark.parametrize("is_replaced", [True, False])
def test_the_metric_of_an_additional_file_ends_with_it(two: ASGIApp, tmp_path: Path, is_replaced: bool) -> None:
    """A new file that is nondeterministic has a gauge by its file's name, which is 0 until it is replaced or removed."""
    gauge = lambda: service_of(two).metrics.registry.get_sample_value("gan_determinism_check_ok", {"model": "new"})  # noqa: E731
    replace_file(tmp_path / "new.onnx", tiny_onnx.random())
    reload(two)
    assert gauge() == 0
    if is_replaced:
        replace_file(tmp_path / "new.onnx", retrained(3, "c"))
    else:
        (tmp_path / "new.onnx").unlink()
    reload(two)
    assert gauge() == 1
