"""The models of a worker that starts, at first and after another one has served."""

from __future__ import annotations

import gc
import os
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from serving.engine.kept_files import KeptFiles, ServedFile, open_file
from serving.engine.stamps import stamp
from serving.engine.start import Started, load_again, load_models
from serving.errors import ModelError
from serving.model.load import Model, load_model
from tests.serving import tiny_onnx
from tests.serving.reloading import replace_file, retrained

load = partial(load_model, provider="cpu")


@pytest.fixture
def two(tmp_path: Path) -> list[Path]:
    """Files of the models ``grey`` and ``colour``."""
    paths = [tmp_path / "a.onnx", tmp_path / "b.onnx"]
    paths[0].write_bytes(tiny_onnx.grey())
    paths[1].write_bytes(tiny_onnx.colour())
    return paths


def served(started: Started[Model]) -> list[ServedFile]:
    """The table that a worker would report, with descriptors for the next one."""
    return [
        ServedFile(path=path, name=model.card.name, digest=model.digest, descriptor=os.dup(started.kept.descriptor(path) or 0))
        for path, model in started.models.items()
    ]


def names(started: Started[Model]) -> list[tuple[str, str]]:
    """The names of files and of their models, in order."""
    return [(path.name, model.card.name) for path, model in started.models.items()]


def test_two_models_of_one_name_are_refused(home: Path, tmp_path: Path) -> None:
    """A second model of one name ends the first start."""
    other = tmp_path / "z.onnx"
    other.write_bytes(home.read_bytes())
    with pytest.raises(ModelError, match="z.onnx: another model has the name 'grey'"):
        load_models([home, other], load)


def test_what_was_served_is_loaded_again_in_its_order(two: list[Path]) -> None:
    """Other files are at the paths by now: broken, gone, or of another model. A file that is still there keeps its stamp."""
    table = served(load_models(two[::-1], load))
    replace_file(two[0], b"broken")
    for data in (b"broken", None, retrained(name="colour")):
        again = [replace(row, descriptor=os.dup(row.descriptor or 0)) for row in table]
        replace_file(two[1], data) if data else two[1].unlink()
        started = load_again(again, load)
        assert names(started) == [("b.onnx", "colour"), ("a.onnx", "grey")]
        assert [model.digest for model in started.models.values()] == [row.digest for row in table]
        assert started.stamps == {two[0]: None, two[1]: None}
    started = load_models(two[1:], load)
    assert load_again(served(started), load).stamps == {two[1]: stamp(two[1])}


def test_a_file_overwritten_in_place_is_the_one_at_its_path(home: Path) -> None:
    """The file that is held has other bytes than those that were served: it is loaded as a new one, or refused as such."""
    started = load_models([home], load)
    home.write_bytes(retrained())
    again = load_again(served(started), load)
    assert again.models[home].digest != started.models[home].digest
    assert again.stamps == {home: stamp(home)}
    home.write_bytes(b"broken")
    with pytest.raises(ModelError, match="m.onnx: the file is truncated"):
        load_again(served(started), load)


def test_bytes_that_were_not_served_are_never_parsed(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """S-30: with a digest, other bytes are refused before anything looks into them."""
    monkeypatch.setattr("serving.model.load.model_from_bytes", lambda *arguments, **options: pytest.fail("they were parsed"))
    with pytest.raises(ModelError, match="other bytes than those with SHA-256 000000000000"):
        load(home, digest=64 * "0")


def test_a_refused_file_is_not_left_open(home: Path) -> None:
    """A worker that cannot start holds nothing; one that starts holds one descriptor for each model."""
    gc.collect()  # what earlier tests have left
    before = os.listdir("/proc/self/fd")
    started = load_models([home], load)
    assert len(os.listdir("/proc/self/fd")) == len(before) + 1
    started.kept.forget({home})
    home.write_bytes(b"broken")
    with pytest.raises(ModelError):
        load_models([home], load)
    assert os.listdir("/proc/self/fd") == before


def test_few_descriptors_are_taken_for_files(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An eighth of those that the process may open; a file beyond that is not held."""
    monkeypatch.setattr("resource.getrlimit", lambda kind: (16, 16))
    gc.collect()
    files, before = KeptFiles(), len(os.listdir("/proc/self/fd"))
    for number in range(5):
        files.hold(home.with_name(str(number)), open_file(home))
    assert [path.name for path in files.paths()] == ["0", "1"]
    assert len(os.listdir("/proc/self/fd")) == before + 2
    files.forget(set(files.paths()))
    assert len(os.listdir("/proc/self/fd")) == before
