"""Folders larger than memory: decoded once into a file, and shards of pictures in tar files."""

from __future__ import annotations

import fcntl
import io
import os
import tarfile
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console

from tests.training.conftest import differences, tiny_context
from training.data import DataError, DataSet, cache, folder, load
from training.data.cache import BLOCKS, ITEMS, forget_unused, open_cache
from training.files import LOCK
from training.game.batches import Batches
from training.run import job
from training.run.checkpoint import load_newest
from training.run.config import RunConfig
from training.run.context import JobContext


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Ten colour pictures in two sub-folders."""
    dice = np.random.default_rng(0)
    for number in range(10):
        path = tmp_path / "pictures" / ("cat", "dog")[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(dice.integers(0, 256, (16, 16, 3), np.uint8)).save(path)
    return tmp_path / "pictures"


@pytest.fixture
def streaming(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four pictures a block, and none in memory."""
    monkeypatch.setattr(folder, "IN_MEMORY", 0)
    monkeypatch.setattr(cache, "BLOCK", 4)


def png(level: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 8), (level, 0, 0)).save(file, "PNG")
    return file.getvalue()


def shard(path: Path, members: dict[str, bytes], mode: str = "w:") -> None:
    """A tar file of these members, in this order."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))


def load_from(path: Path, root: Path, said: list[str] | None = None) -> DataSet:
    """The folder as a data set, its cache below ``root``."""
    say = (lambda text: None) if said is None else said.append
    return load(f"folder:{path}", size=8, environ={"XDG_CACHE_HOME": str(root)}, say=say)


def test_items_on_disk_are_those_in_memory(pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Items, labels and batches are the same, in the same order, and a second start decodes nothing."""
    whole = load_from(pictures, tmp_path)
    monkeypatch.setattr(folder, "IN_MEMORY", 0)
    monkeypatch.setattr(cache, "BLOCK", 4)
    said: list[str] = []
    streamed, again = load_from(pictures, tmp_path, said), load_from(pictures, tmp_path, said)
    assert (whole.prefetch, streamed.prefetch is not None) == (None, True)
    for data in (streamed, again):
        assert torch.equal(data.items, whole.items)
        ours, theirs = (Batches(each, 3, seed=1, pixels="tanh").at(4) for each in (data, whole))
        assert torch.equal(ours.x, theirs.x)
        assert torch.equal(ours.y, theirs.y)  # type: ignore[arg-type]
    assert said[0].startswith("decoded 10 pictures, ")
    assert said[1].startswith("decoded 0 pictures; 10 were in ")


@pytest.mark.usefixtures("streaming")
@pytest.mark.parametrize("damage", ["a kill before the second block", "a flipped bit", "a cut journal", "a cut file"])
def test_what_is_missing_or_damaged_is_decoded_again(damage: str, pictures: Path, tmp_path: Path) -> None:
    """The other blocks are kept."""
    expected = load_from(pictures, tmp_path).items.clone()
    (kept,) = (tmp_path / "gan-serve" / "pictures").iterdir()
    items, blocks = kept / ITEMS, kept / BLOCKS
    if damage == "a kill before the second block":
        items.write_bytes(items.read_bytes()[: 4 * 192])
        blocks.write_text(blocks.read_text().splitlines(keepends=True)[0])
    elif damage == "a flipped bit":
        content = bytearray(items.read_bytes())
        content[5 * 192] ^= 1
        items.write_bytes(content)
    elif damage == "a cut journal":
        blocks.write_text(blocks.read_text()[:-9])
    else:
        items.write_bytes(items.read_bytes()[:-1])
    said: list[str] = []
    assert torch.equal(load_from(pictures, tmp_path, said).items, expected)
    decoded = {"a kill before the second block": 6, "a flipped bit": 4}.get(damage, 2)
    assert said[0].startswith(f"decoded {decoded} pictures, ")


@pytest.mark.usefixtures("streaming")
def test_a_changed_picture_is_decoded_again(pictures: Path, tmp_path: Path) -> None:
    """The cache knows the files by name, length and time."""
    load_from(pictures, tmp_path)
    Image.new("RGB", (16, 16), (1, 2, 3)).save(pictures / "cat" / "0.png")
    assert load_from(pictures, tmp_path).items[0, :, 0, 0].tolist() == [1, 2, 3]


@pytest.mark.usefixtures("streaming")
def test_two_folders_are_two_sets(tmp_path: Path) -> None:
    """Also where names, lengths and times are equal, as of uncompressed pictures unpacked with one time."""
    for level, name in enumerate(("one", "two")):
        (tmp_path / name).mkdir()
        for number in range(3):
            path = tmp_path / name / f"{number}.bmp"
            Image.new("RGB", (8, 8), (level, 0, 0)).save(path)
            os.utime(path, (0, 0))
        assert load_from(tmp_path / name, tmp_path / "cache").items[0, 0, 0, 0] == level


@pytest.mark.usefixtures("streaming")
def test_a_job_says_that_it_waits_for_another(pictures: Path, tmp_path: Path) -> None:
    """While another one decodes the same pictures; then it reads what that one left."""
    load_from(pictures, tmp_path)
    (kept,) = (tmp_path / "gan-serve" / "pictures").iterdir()
    said: list[str] = []
    with (kept / LOCK).open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        waiting = threading.Thread(target=load_from, args=(pictures, tmp_path, said))
        waiting.start()
        while not said:
            time.sleep(0.01)
        assert said == [f"another job decodes or checks these pictures; waiting for it to leave {kept}"]
    waiting.join()
    assert said[1:] == [f"decoded 0 pictures; 10 were in {kept}"]


def test_blocks_of_large_pictures_are_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A block is bounded by its bytes, since it is in memory at once; a message says how far the job is."""
    monkeypatch.setattr(cache, "BLOCK_BYTES", 2 * 192 + 1)
    monkeypatch.setattr(cache, "SAY_EVERY_S", -1)
    lengths, said = list[int](), list[str]()

    def fill(first: int, items: np.ndarray) -> bool:
        lengths.append(len(items))
        items[:] = first
        return True

    for _ in range(2):
        items, _, _ = open_cache(tmp_path, (5, 3, 8, 8), fill, said.append)
    assert lengths == [2, 2, 1]
    assert items[:, 0, 0, 0].tolist() == [0, 0, 2, 2, 4]
    assert said[0].startswith("2 of 5 pictures are there (decoded 2, ")
    assert said[-2] == "5 of 5 pictures are there (checked)"


@pytest.mark.usefixtures("streaming")
def test_decoded_pictures_are_deleted_after_a_month_without_use(pictures: Path, tmp_path: Path) -> None:
    """Those of a folder that has changed since; not what was used yesterday, what another process holds, or other folders."""
    caches = tmp_path / "caches"
    month, day = (time.time() - days * 86_400 for days in (31, 1))
    for name, used in (("old", month), ("held", month), ("new", day), ("own", month), ("foreign", month)):
        (caches / name).mkdir(parents=True)
        (caches / name / LOCK).touch()
        (caches / name / ("config.json" if name == "foreign" else BLOCKS)).touch()
        os.utime(caches / name / LOCK, (used, used))
    said: list[str] = []
    with (caches / "held" / LOCK).open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        forget_unused(caches, caches / "own", said.append)
    assert sorted(path.name for path in caches.iterdir()) == ["foreign", "held", "new", "own"]
    assert said == [f"deleted decoded pictures that were not used for 30 days: {caches / 'old'}"]
    open_cache(caches / "own", (1, 3, 8, 8), lambda first, items: True, said.append)
    assert (caches / "own" / LOCK).stat().st_mtime > day


def test_grey_pictures_on_disk_have_one_channel(tmp_path: Path) -> None:
    """As in memory: of all blocks together."""
    for number in range(6):
        Image.new("L", (8, 8), number).save(tmp_path / f"{number}.png")
    data = load_from(tmp_path, tmp_path / "cache")
    assert data.shape == (1, 8, 8)
    assert data.items[:, 0, 0, 0].tolist() == list(range(6))


@pytest.mark.usefixtures("streaming")
def test_wrong_files_are_listed_from_all_blocks(pictures: Path, tmp_path: Path) -> None:
    """The message names each, and their blocks are not kept."""
    for name in ("cat/0.png", "dog/9.png"):
        (pictures / name).write_text("no picture")
    with pytest.raises(DataError, match=r"all 10 images .* but 2 cannot be: 'cat/0.png' .*'dog/9.png'"):
        load_from(pictures, tmp_path)


@pytest.mark.usefixtures("streaming")
def test_links_that_lead_nowhere_are_named(pictures: Path, tmp_path: Path) -> None:
    """Also in a folder larger than memory, and of shards."""
    (pictures / "cat" / "gone.png").symlink_to(tmp_path / "nothing.png")
    shards = tmp_path / "shards"
    shards.mkdir()
    (shards / "gone.tar").symlink_to(tmp_path / "nothing.tar")
    for place, name in ((pictures, "cat/gone.png"), (shards, "gone.tar")):
        with pytest.raises(DataError, match=f"but 1 cannot be: '{name}' cannot be read .No such file or directory"):
            load(f"folder:{place}", size=8, environ={"XDG_CACHE_HOME": str(tmp_path)})


def test_a_full_disk_is_an_error(tmp_path: Path) -> None:
    """Where the file is written through its map, the process would end by a signal."""
    (tmp_path / ITEMS).symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        open_cache(tmp_path, (2, 3, 8, 8), lambda first, items: True, print)


@pytest.mark.slow
@pytest.mark.usefixtures("streaming")
def test_a_run_says_how_long_its_nets_waited(pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the state after an interruption is that of an unbroken run."""
    monkeypatch.setattr(job, "export_game", lambda *arguments: None)
    monkeypatch.setattr(job, "make_evaluator", lambda *arguments: lambda samples, asked: (None, {}))
    config = RunConfig(recipe="vanilla", data=f"folder:{pictures}", size=8, steps=4, batch=4)
    said = io.StringIO()

    def context(name: str) -> JobContext:
        plain = tiny_context(tmp_path / name)
        environ = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
        return replace(plain, environ=environ, console=Console(file=said, width=200))

    assert job.train(config, context("whole"))
    steps = iter(range(1, 5))
    assert not job.train(config, replace(context("broken"), is_stopped=lambda: next(steps) == 3))
    assert job.train(config, context("broken"))
    whole, broken = (load_newest(tmp_path / name, device=torch.device("cpu"))[0] for name in ("whole", "broken"))
    assert differences(whole, broken) == []
    assert "decoded 10 pictures" in said.getvalue()
    assert "the nets waited for pictures for" in said.getvalue()


def test_shards_are_read_in_order(tmp_path: Path) -> None:
    """Sorted by shard and member, not in the order of the files; classes are numbers of .cls members, in their order."""
    shard(tmp_path / "b.tar", {"2.png": png(4), "2.cls": b"2", "1.PNG": png(3), "1.cls": b"10\n", "1.json": b"{}"})
    shard(tmp_path / "a.tar", {"d/1.png": png(1), "d/1.cls": b"2", "c/x.y.png": png(0), "c/x.cls": b"10"})
    data = load_from(tmp_path, tmp_path / "cache")
    assert data.items[:, 0, 0, 0].tolist() == [0, 1, 3, 4]
    assert data.classes == ("2", "10")
    assert data.labels is not None
    assert data.labels.tolist() == [1, 0, 1, 0]


@pytest.mark.usefixtures("streaming")
def test_shards_without_classes_stream(tmp_path: Path) -> None:
    """A picture is read from its place in the shard."""
    shard(tmp_path / "a.tar", {f"{number}.png": png(number) for number in range(9)})
    data = load_from(tmp_path, tmp_path / "cache")
    assert data.items[:, 0, 0, 0].tolist() == list(range(9))
    assert (data.labels, data.classes) == (None, ())


@pytest.mark.parametrize(
    ("mode", "members", "message"),
    [
        ("w:gz", {"1.png": png(1)}, "'a.tar' has no end of a tar file: it is cut, compressed"),
        ("w:", {"1.png": b"no picture"}, "'a.tar/1.png' is not an image of"),
        ("w:", {"1.png": b""}, "'a.tar/1.png' is empty"),
        ("w:", {"1.txt": b"x"}, "has no images"),
        ("w:", {"1.png": png(1), "2.png": png(2), "1.cls": b"0"}, "'a.tar/2.png' has none"),
    ],
)
def test_wrong_shards_are_named(mode: str, members: dict[str, bytes], message: str, tmp_path: Path) -> None:
    """The message has the shard or the member."""
    shard(tmp_path / "a.tar", members, mode)
    with pytest.raises(DataError, match=message):
        load_from(tmp_path, tmp_path / "cache")


def test_a_cut_shard_and_loose_pictures_are_refused(tmp_path: Path) -> None:
    """A shard must be whole, and stand alone."""
    path = tmp_path / "a.tar"
    shard(path, {"1.png": png(1), "2.png": png(2)})
    path.write_bytes(path.read_bytes()[:1100])
    with pytest.raises(DataError, match=r"'a\.tar'"):
        load_from(tmp_path, tmp_path / "cache")
    (tmp_path / "loose.png").write_bytes(png(1))
    with pytest.raises(DataError, match=r"holds shards, such as 'a\.tar', so no image may lie"):
        load_from(tmp_path, tmp_path / "cache")
