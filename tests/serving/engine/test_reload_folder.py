"""Reloading several model files: names move between them, and no two models have one name."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from serving.engine.reload import stamps
from serving.http.asgi import ASGIApp
from serving.settings import Settings
from tests.harness.processes import TIMEOUT
from tests.serving import tiny_onnx
from tests.serving.client import ask, service_of
from tests.serving.reloading import make_app, reload, reloader_of, replace_file, retrained


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
    assert list(after) == ["b", "a"], "in the order of their files, as after a start"
    assert after["b"] == before["b"]
    assert after["a"] != before["a"]
    replace_file(tmp_path / "a.onnx", retrained(6, "a"))
    assert [outcome.result for outcome in reload(two)] == ["refused", "unchanged", "unchanged"]
    assert served(two) == after


@pytest.mark.slow
def test_the_models_are_in_the_order_of_a_start(two: ASGIApp, tmp_path: Path) -> None:
    """A file that comes first in the folder has the default model at once, as in a service that starts now; its loss too."""
    replace_file(tmp_path / "0.onnx", retrained(2, "zero"))
    replace_file(tmp_path / "ab.onnx", retrained(3, "between"))
    reload(two)
    assert list(served(two)) == list(served(make_app(tmp_path))) == ["zero", "a", "between", "b"]
    (tmp_path / "a.onnx").unlink()
    replace_file(tmp_path / "b.onnx", retrained(4, "b"))
    reload(two)
    assert list(served(two)) == ["zero", "a", "between", "b"], "a model whose file is gone keeps its place"


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


def test_a_name_that_another_file_has_is_refused(tmp_path: Path) -> None:
    """Two files cannot have models of the same name, also after a reload; a new file with a new name is added."""
    (tmp_path / "a.onnx").write_bytes(tiny_onnx.grey())
    (tmp_path / "b.onnx").write_bytes(tiny_onnx.colour())
    app = make_app(tmp_path)
    replace_file(tmp_path / "b.onnx", retrained(name="grey"))
    replace_file(tmp_path / "c.onnx", retrained(name="third"))
    assert [outcome.result for outcome in reload(app)] == ["unchanged", "refused", "swapped"]
    assert [ask(app, f"seed=1&model={name}").status for name in ("grey", "colour", "third")] == [200, 200, 200]


def test_a_request_tries_refused_files_again(two: ASGIApp, tmp_path: Path) -> None:
    """A reload request loads a refused file again, since its reason may be gone without a change of the file."""
    reloader = reloader_of(two)
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
    app = make_app(*paths)
    paths[0].unlink()
    replace_file(paths[1], retrained(2, "b"))
    assert list(stamps(Settings(models=tuple(map(str, paths))))[0]) == paths[1:]
    missing, changed = reload(app)
    assert (missing.result, missing.file, changed.result) == ("refused", "GAN_MODELS", "swapped")
    assert str(paths[0]) in str(missing.reason)
    assert list(served(app)) == ["a", "b"]


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


def refused_files(app: ASGIApp) -> float | None:
    """The gauge of files that are refused now."""
    return service_of(app).metrics.registry.get_sample_value("gan_model_files_refused")


def test_the_number_of_refused_files_lasts_as_long_as_they_do(two: ASGIApp, tmp_path: Path) -> None:
    """Broken files and taken names count at each reload, until the file is valid or removed."""
    assert refused_files(two) == 0
    replace_file(tmp_path / "b.onnx", b"broken")
    replace_file(tmp_path / "c.onnx", retrained(5, "a"))
    for _ in range(2):
        reload(two)
        assert refused_files(two) == 2
    replace_file(tmp_path / "b.onnx", retrained(6, "b"))
    reload(two)
    assert refused_files(two) == 1
    (tmp_path / "c.onnx").unlink()
    reload(two)
    assert refused_files(two) == 0


@pytest.mark.slow
def test_a_path_without_a_model_counts_as_refused(tmp_path: Path) -> None:
    """The watch alone notices that a path of the settings has no file, and that it has one again."""
    (tmp_path / "a.onnx").write_bytes(retrained(1, "a"))
    app = make_app(tmp_path / "a.onnx", watch_seconds=0.01)

    async def play() -> None:
        watch = asyncio.create_task(reloader_of(app).watch())
        for move, count in ((("a.onnx", "away"), 1), (("away", "a.onnx"), 0)):
            (tmp_path / move[0]).rename(tmp_path / move[1])
            while refused_files(app) != count:
                assert not watch.done()
                await asyncio.sleep(0.01)
        watch.cancel()

    service_of(app).portal.run(asyncio.wait_for(play(), TIMEOUT))


def test_a_link_to_nothing_is_refused(two: ASGIApp, tmp_path: Path) -> None:
    """A service that starts would refuse the folder, too; a request tries the link again, and its model is served at last."""
    (tmp_path / "c.onnx").symlink_to(tmp_path / "later")
    run, reloader = service_of(two).portal.run, reloader_of(two)
    assert [outcome.result for outcome in reload(two)] == ["unchanged", "unchanged", "refused"]
    assert [outcome.result for outcome in reload(two)] == ["unchanged", "unchanged", "unchanged"]
    assert [outcome.result for outcome in run(reloader.reload_all())] == ["unchanged", "unchanged", "refused"]
    (tmp_path / "later").write_bytes(retrained(5, "c"))
    assert [outcome.result for outcome in reload(two)] == ["unchanged", "unchanged", "swapped"]
    assert list(served(two)) == ["a", "b", "c"]
