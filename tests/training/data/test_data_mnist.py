"""Data sets of IDX files: found on the machine, or fetched from a server on this machine."""

import dataclasses
import gzip
import hashlib
import os
import struct
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from training.data import DataError, load
from training.data.dataset import Request
from training.data.mnist import FASHION_MNIST, IdxSource, load_idx
from training.files import cache_folder

COUNTS = {"train": 12, "t10k": 5}


def encode(values: NDArray[np.uint8]) -> bytes:
    """The array as an IDX file."""
    return bytes((0, 0, 8, values.ndim)) + struct.pack(f">{values.ndim}I", *values.shape) + values.tobytes()


def contents() -> dict[str, bytes]:
    """A small data set's four files, by name."""
    random = np.random.RandomState(0)
    made = {}
    for prefix, count in COUNTS.items():
        made[f"{prefix}-images-idx3-ubyte"] = encode(random.randint(0, 256, (count, 28, 28)).astype(np.uint8))
        made[f"{prefix}-labels-idx1-ubyte"] = encode(np.arange(count, dtype=np.uint8) % 3)
    return made


def source_of(files: dict[str, bytes], mirror: str = "http://127.0.0.1:9/") -> IdxSource:
    """A data set of other contents, with an unreachable mirror unless one is given."""
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    return IdxSource(name="small", classes=("a", "b", "c"), licence="none", digests=digests, mirror=mirror)


def write(folder: Path, files: dict[str, bytes], packed: bool) -> None:
    """Put the files into the folder, gzipped or not."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / (f"{name}.gz" if packed else name)).write_bytes(gzip.compress(content) if packed else content)


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gz"])
def test_files_under_data_root_are_read(tmp_path: Path, packed: bool) -> None:
    """Both parts come from $DATA_ROOT/<name>, gzipped or not, with pixels and labels in the files' order."""
    files = contents()
    write(tmp_path / "small", files, packed)
    environ = {"DATA_ROOT": str(tmp_path), "HOME": str(tmp_path)}
    train = load_idx(source_of(files), Request(environ=environ))
    test = load_idx(source_of(files), Request(environ=environ, split="test"))
    assert (train.shape, train.items.dtype, len(train), len(test)) == ((1, 28, 28), torch.uint8, 12, 5)
    assert train.items.numpy().tobytes() == files["train-images-idx3-ubyte"][16:]
    assert train.labels is not None
    assert train.labels.tolist() == [0, 1, 2] * 4
    assert train.labels.dtype == torch.int64


def test_32_pads_and_other_sizes_resample(tmp_path: Path) -> None:
    """At size 32 the 28 x 28 pixels stand untouched inside a black border of 2; at 14 they are resampled."""
    files = contents()
    write(tmp_path / "small", files, packed=False)
    at = {
        size: load_idx(source_of(files), Request(environ={"DATA_ROOT": str(tmp_path)}, size=size)).items
        for size in (28, 32, 14)
    }
    assert torch.equal(at[32][:, :, 2:30, 2:30], at[28])
    assert at[32].int().sum() == at[28].int().sum()
    assert at[14].shape == (12, 1, 14, 14)
    assert abs(at[14].float().mean() - at[28].float().mean()) < 2


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """A folder without one of the files raises DataError that names the file."""
    files = contents()
    write(tmp_path / "small", files, packed=False)
    (tmp_path / "small" / "train-labels-idx1-ubyte").unlink()
    with pytest.raises(DataError, match=r"must hold train-labels-idx1-ubyte or train-labels-idx1-ubyte\.gz of small"):
        load_idx(source_of(files), Request(environ={"DATA_ROOT": str(tmp_path)}))


def test_other_contents_are_refused(tmp_path: Path) -> None:
    """A file of the right form whose bytes are not the original's raises DataError with both digests."""
    files = contents()
    write(tmp_path / "small", files | {"train-images-idx3-ubyte": encode(np.zeros((12, 28, 28), np.uint8))}, packed=True)
    with pytest.raises(
        DataError, match=r"train-images-idx3-ubyte\.gz is not small's: the SHA-256 unpacked must be [0-9a-f]{64}, got"
    ):
        load_idx(source_of(files), Request(environ={"DATA_ROOT": str(tmp_path)}))


def test_counts_that_differ_are_refused(tmp_path: Path) -> None:
    """A label too few raises DataError with both counts."""
    files = contents() | {"train-labels-idx1-ubyte": encode(np.zeros(11, np.uint8))}
    write(tmp_path / "small", files, packed=False)
    with pytest.raises(DataError, match="must have 12 labels, one for each image of train-images-idx3-ubyte, got 11"):
        load_idx(source_of(files), Request(environ={"DATA_ROOT": str(tmp_path)}))


def test_a_label_without_a_class_is_refused(tmp_path: Path) -> None:
    """A label beyond the classes raises DataError with the label and the range."""
    files = contents() | {"train-labels-idx1-ubyte": encode(np.full(12, 3, np.uint8))}
    write(tmp_path / "small", files, packed=False)
    with pytest.raises(DataError, match=r"each label must be 0\.\.2, got 3"):
        load_idx(source_of(files), Request(environ={"DATA_ROOT": str(tmp_path)}))


class Handler(SimpleHTTPRequestHandler):
    """Serves a folder and notes in its server what was asked for."""

    def log_message(self, format: str, *args: object) -> None:
        asked: list[str] = vars(self.server)["asked"]
        asked.append(self.path)


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, list[str]]]:
    """The URL of a server of tmp_path/mirror, and the list of what it was asked for."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    (tmp_path / "mirror").mkdir()
    asked: list[str] = []
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(tmp_path / "mirror"))) as server:
        vars(server)["asked"] = asked
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/", asked
        server.shutdown()
        thread.join()


def test_what_is_nowhere_is_fetched_once(tmp_path: Path, mirror: tuple[str, list[str]]) -> None:
    """A data set that is nowhere is fetched into $XDG_CACHE_HOME/gan-serve, verified, and read from there ever after."""
    url, asked = mirror
    files = contents()
    write(tmp_path / "mirror", files, packed=True)
    request = Request(environ={"XDG_CACHE_HOME": str(tmp_path / "cache"), "DATA_ROOT": str(tmp_path / "none")})
    first = load_idx(source_of(files, url), request)
    assert sorted(file.name for file in (tmp_path / "cache/gan-serve/small").iterdir()) == sorted(files)
    assert sorted(asked) == sorted(f"/{name}.gz" for name in files)
    assert torch.equal(load_idx(source_of(files, url), request).items, first.items)
    assert len(asked) == 4


def test_how_the_mirror_compresses_does_not_matter(tmp_path: Path, mirror: tuple[str, list[str]]) -> None:
    """The digest is the unpacked file's, so a mirror that compresses in another way serves as well."""
    files = contents()
    write(tmp_path / "mirror", files, packed=False)
    for name, content in files.items():
        (tmp_path / "mirror" / f"{name}.gz").write_bytes(gzip.compress(content, compresslevel=1, mtime=77))
    assert len(load_idx(source_of(files, mirror[0]), Request(environ={"XDG_CACHE_HOME": str(tmp_path / "cache")}))) == 12


def test_an_interrupted_fetch_is_completed(tmp_path: Path, mirror: tuple[str, list[str]]) -> None:
    """A cache with one file right and one damaged keeps the first and fetches the others."""
    url, asked = mirror
    files = contents()
    write(tmp_path / "mirror", files, packed=True)
    environ = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    cache = cache_folder(environ) / source_of(files, url).name
    right, damaged = list(files)[:2]
    write(cache, {right: files[right], damaged: b"half"}, packed=False)
    load_idx(source_of(files, url), Request(environ=environ))
    assert (cache / damaged).read_bytes() == files[damaged]
    assert sorted(asked) == sorted(f"/{name}.gz" for name in files if name != right)


@pytest.mark.parametrize(
    "served",
    [
        gzip.compress(b"something else", mtime=0),
        b"<html>",
        gzip.compress(b"x" * 99, mtime=0)[:-9],
        gzip.compress(b"", mtime=0)[:10] + 9 * b"\xff",
        None,
    ],
    ids=["another file", "a page", "cut short", "damaged", "none"],
)
def test_a_bad_answer_is_refused_and_not_kept(tmp_path: Path, mirror: tuple[str, list[str]], served: bytes | None) -> None:
    """Other contents, a page, half a file, a damaged one or a 404 raise DataError with the URL, and nothing is kept."""
    files = contents()
    if served is not None:
        for name in files:
            (tmp_path / "mirror" / f"{name}.gz").write_bytes(served)
    with pytest.raises(
        DataError, match=rf"cannot be fetched from {mirror[0]}.*put its four files under \$DATA_ROOT/small by hand"
    ):
        load_idx(source_of(files, mirror[0]), Request(environ={"XDG_CACHE_HOME": str(tmp_path / "cache")}))
    assert [file for file in tmp_path.glob("cache/**/*") if file.is_file()] == []


def test_no_network_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unreachable mirror raises DataError that says where to put the files."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with pytest.raises(DataError, match=r"by hand"):
        load_idx(source_of(contents()), Request(environ={"HOME": str(tmp_path)}))


def test_home_is_where_the_cache_is_without_xdg(tmp_path: Path) -> None:
    """Without XDG_CACHE_HOME the cache is ~/.cache/gan-serve."""
    assert cache_folder({"HOME": str(tmp_path)}) == tmp_path / ".cache/gan-serve"


def test_a_package_of_the_system_is_looked_at(tmp_path: Path) -> None:
    """Where $DATA_ROOT has no such folder, the folder of the operating system's package is taken."""
    files = contents()
    write(tmp_path / "package", files, packed=True)
    source = dataclasses.replace(source_of(files), places=(tmp_path / "package",))
    assert len(load_idx(source, Request(environ={"DATA_ROOT": str(tmp_path / "none"), "HOME": str(tmp_path)}))) == 12


has_mnist = pytest.mark.skipif(not Path(os.environ.get("DATA_ROOT", ""), "mnist").is_dir(), reason="no $DATA_ROOT/mnist")
has_fashion = pytest.mark.skipif(not FASHION_MNIST.places[0].is_dir(), reason="dataset-fashion-mnist is not installed")


@pytest.mark.slow
@has_mnist
def test_mnist_is_mnist() -> None:
    """The real files give 60,000 and 10,000 digits that begin with 5, 0, 4 and 7, 2, 1, white on black."""
    train, test = (load("mnist", split=split, environ=os.environ) for split in ("train", "test"))
    assert (tuple(train.items.shape), tuple(test.items.shape)) == ((60_000, 1, 28, 28), (10_000, 1, 28, 28))
    assert train.labels is not None
    assert test.labels is not None
    assert (train.labels[:3].tolist(), test.labels[:3].tolist()) == ([5, 0, 4], [7, 2, 1])
    assert train.items[:, :, 0].max() < 255
    assert 33 < train.items.float().mean() < 34


@pytest.mark.slow
@has_mnist
def test_mnist5k_is_of_mnists_training_part() -> None:
    """Each of mnist5k's images is one of MNIST's training images with the same label, none twice; its test part is MNIST's."""
    train, few = load("mnist", environ=os.environ), load("mnist5k", environ=os.environ)
    assert train.labels is not None
    assert few.labels is not None
    labels = {image.numpy().tobytes(): label for image, label in zip(train.items, train.labels.tolist(), strict=True)}
    images = [image.numpy().tobytes() for image in few.items]
    assert [labels[image] for image in images] == few.labels.tolist()
    assert len(set(images)) == 5000
    assert len(load("mnist5k", split="test", environ=os.environ)) == 10_000


@pytest.mark.slow
@has_mnist
def test_mnist50k_is_all_of_mnist_split_anew() -> None:
    """50,000 and 20,000 digits that together are MNIST's 70,000, the same split each time."""
    parts = [load("mnist50k", split=split, environ=os.environ) for split in ("train", "test")]
    whole = [load("mnist", split=split, environ=os.environ) for split in ("train", "test")]
    assert [len(part) for part in parts] == [50_000, 20_000]
    sums = [torch.cat([d.items.flatten(1).long().sum(1) for d in group]).sort().values for group in (parts, whole)]
    assert torch.equal(*sums)
    assert torch.equal(parts[0].items[:50], load("mnist50k", environ=os.environ).items[:50])


@pytest.mark.slow
@has_fashion
def test_fashion_mnist_is_fashion_mnist() -> None:
    """Debian's files give 6,000 pieces of each class to train on and 1,000 of each to test on."""
    train, test = (load("fashion-mnist", split=split, environ={}) for split in ("train", "test"))
    assert train.labels is not None
    assert test.labels is not None
    assert (torch.bincount(train.labels).tolist(), torch.bincount(test.labels).tolist()) == ([6000] * 10, [1000] * 10)
    assert train.classes[int(train.labels[0])] == "Ankle boot"
