"""The models of a worker that starts after others have served: a refused or missing file takes nothing out of service."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import pytest

from serving.engine.kept_files import GoodFile, KeptFiles, stamp_of
from serving.engine.start import Started, load_models
from serving.errors import ModelError
from serving.model.load import Model, load_model
from tests.serving import tiny_onnx
from tests.serving.reloading import replace_file, retrained

load = partial(load_model, provider="cpu")


def held(*paths: Path) -> dict[Path, GoodFile]:
    """These files as a launcher would hold them, each in its place under another name."""
    good = {}
    for path in paths:
        other = path.with_suffix(".held")
        other.write_bytes(path.read_bytes())
        good[path] = GoodFile(address=other, digest=load(other).digest)
    return good


def names(started: Started[Model]) -> dict[str, str]:
    """The name of the model of each file's name."""
    return {path.name: model.card.name for path, model in started.models.items()}


@pytest.fixture
def two(tmp_path: Path) -> list[Path]:
    """Files of the models ``grey`` and ``colour``."""
    paths = [tmp_path / "a.onnx", tmp_path / "b.onnx"]
    paths[0].write_bytes(tiny_onnx.grey())
    paths[1].write_bytes(tiny_onnx.colour())
    return paths


def test_two_models_of_one_name_are_refused(home: Path, tmp_path: Path) -> None:
    """At the first start a second model of one name ends it; later it is one more refused file."""
    other = tmp_path / "z.onnx"
    other.write_bytes(home.read_bytes())
    with pytest.raises(ModelError, match="z.onnx: another model has the name 'grey'"):
        load_models([home, other], load)
    started = load_models([home, other], load, good=held(home))
    assert (names(started), list(started.refused)) == ({"m.onnx": "grey"}, [other])


def test_the_first_start_accepts_no_refused_file(two: list[Path]) -> None:
    """Before any worker has served, a file that is refused is the operator's mistake, and is said at once."""
    two[1].write_bytes(b"broken")
    with pytest.raises(ModelError, match="b.onnx"):
        load_models(two, load)


def test_refused_and_missing_files_leave_their_models(two: list[Path], tmp_path: Path) -> None:
    """The last good files take their place, in the order that the models had, and the reason of the refusal is kept."""
    good = held(*two)
    replace_file(two[0], b"broken")
    two[1].unlink()
    new = tmp_path / "0.onnx"
    new.write_bytes(b"broken, too")
    added = tmp_path / "c.onnx"
    added.write_bytes(tiny_onnx.exact())
    started = load_models([new, two[0], added], load, good=good)
    assert list(names(started).items()) == [("a.onnx", "grey"), ("b.onnx", "colour"), ("c.onnx", "exact")]
    assert {path: str(error).split(": ")[0] for path, error in started.refused.items()} == {
        new: str(new),
        two[0]: str(two[0]),
    }


def test_a_model_that_moved_to_another_file_is_loaded_once(home: Path, tmp_path: Path) -> None:
    """A file that was renamed while no worker ran is not restored under its old path."""
    good = held(home)
    moved = home.rename(tmp_path / "n.onnx")
    assert names(load_models([moved], load, good=good)) == {"n.onnx": "grey"}


def test_a_file_overwritten_in_place_is_not_restored(home: Path) -> None:
    """The file that is held has other bytes than those that were served: none is left, and the refusal says why."""
    good = held(home)
    good[home].address.write_bytes(retrained())
    home.write_bytes(b"broken")
    with pytest.raises(ModelError, match="m.onnx"):
        load_models([home], load, good=good)
    home.unlink()
    with pytest.raises(ModelError, match="the files of all models are gone"):
        load_models([], load, good=good)


def test_a_held_file_is_the_one_that_was_loaded(home: Path) -> None:
    """A file that was renamed over it meanwhile is not taken for it, and the one held before stays."""
    files, first = KeptFiles(), home.read_bytes()
    loaded = stamp_of(home.stat())
    assert files.keep(home, loaded)
    replace_file(home, b"another")
    assert not files.keep(home, loaded)
    address = files.address(home)
    assert address
    assert address.read_bytes() == first
    assert files.keep(home, None)
    assert not address.exists() or address.read_bytes() == b"another"
    descriptors = len(os.listdir("/proc/self/fd"))
    files.forget({home})
    assert (files.address(home), len(os.listdir("/proc/self/fd"))) == (None, descriptors - 1)
