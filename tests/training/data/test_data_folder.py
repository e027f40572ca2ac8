"""Folders of images: their layout, their order, and files that are not right."""

import io
import os
import struct
import threading
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from training.data import DataError, DataSet, dataset, load
from training.data.folder import _in_order


def colour(*levels: int, size: tuple[int, int] = (8, 8)) -> Image.Image:
    """An image of one colour, or of one grey when one level is given."""
    return Image.new("RGB" if len(levels) == 3 else "L", size, levels if len(levels) == 3 else levels[0])


def put(path: Path, image: Image.Image) -> Path:
    """Save the image there, with the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)
    return path


def load_from(path: Path, size: int | None = 8) -> DataSet:
    """The folder as a data set."""
    return load(f"folder:{path}", size=size, environ={})


def firsts(data: DataSet) -> list[int]:
    """The upper left pixel's first channel of each image."""
    return [int(level) for level in data.items[:, 0, 0, 0]]


def test_images_come_in_the_order_of_their_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The order is that of the sorted paths, independent of the file system's."""
    for level in (3, 1, 2):
        put(tmp_path / f"{level}.png", colour(level))
    data = load_from(tmp_path)
    listdir = os.listdir
    monkeypatch.setattr(os, "listdir", lambda path: listdir(path)[::-1])
    assert firsts(data) == firsts(load_from(tmp_path)) == [1, 2, 3]
    assert (data.labels, data.classes, data.is_image) == (None, (), True)


def test_sub_folders_are_classes(tmp_path: Path) -> None:
    """Each sub-folder is a class by its name, blanks and letters of any script included, with images at any depth."""
    put(tmp_path / "a cat" / "deep" / "er" / "1.png", colour(10))
    put(tmp_path / "a cat" / "2.jpg", colour(20))
    put(tmp_path / "Ζώα" / "3.PNG", colour(30))
    data = load_from(tmp_path)
    assert data.classes == ("a cat", "Ζώα")
    assert data.labels is not None
    assert (data.labels.tolist(), data.labels.dtype, firsts(data)) == ([0, 0, 1], torch.int64, [20, 10, 30])


@pytest.mark.slow
def test_one_class_and_a_thousand_work(tmp_path: Path) -> None:
    """A single sub-folder is one class, and a thousand are a thousand."""
    put(tmp_path / "one" / "only" / "1.png", colour(1))
    for number in range(1000):
        put(tmp_path / "many" / f"{number:03}" / "1.png", colour(number % 256))
    assert load_from(tmp_path / "one").classes == ("only",)
    many = load_from(tmp_path / "many")
    assert many.labels is not None
    assert many.labels.tolist() == list(range(1000))


def test_size_is_64_unless_asked_for(tmp_path: Path) -> None:
    """Images of all sizes, portrait and landscape, come to 64 x 64, or to the size asked for."""
    for number, size in enumerate(((5, 90), (200, 30), (64, 64), (1, 1))):
        put(tmp_path / f"{number}.png", colour(1, 2, 3, size=size))
    assert load_from(tmp_path, size=None).items.shape == (4, 3, 64, 64)
    assert load_from(tmp_path, size=16).items.shape == (4, 3, 16, 16)


def test_grey_is_one_channel_only_if_all_are_grey(tmp_path: Path) -> None:
    """Without a coloured pixel there is one channel, however the files store it; one coloured image makes it three."""
    put(tmp_path / "1.png", colour(7))
    put(tmp_path / "2.png", colour(9, 9, 9))
    assert load_from(tmp_path).shape == (1, 8, 8)
    put(tmp_path / "3.png", colour(9, 9, 10))
    assert load_from(tmp_path).shape == (3, 8, 8)


def test_the_name_tells_no_path(tmp_path: Path) -> None:
    """The data set is called by the folder's last name alone."""
    put(tmp_path / "secret" / "cats" / "1.png", colour(1))
    assert load_from(tmp_path / "secret" / "cats").name == "folder:cats"


def test_other_files_are_passed_over(tmp_path: Path) -> None:
    """Files without an image's suffix, and hidden files and folders, are no part of the data set."""
    put(tmp_path / "1.png", colour(1))
    put(tmp_path / ".thumbs" / "2.png", colour(2))
    put(tmp_path / ".3.png", colour(3))
    (tmp_path / "README.txt").write_text("words")
    assert firsts(load_from(tmp_path)) == [1]


def test_links_are_followed(tmp_path: Path) -> None:
    """A class that is a link to a folder elsewhere is read like any other."""
    put(tmp_path / "elsewhere" / "1.png", colour(5))
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "linked").symlink_to(tmp_path / "elsewhere")
    assert load_from(tmp_path / "set").classes == ("linked",)


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("", "must name a folder of images, but '' does not exist"),
        ("nothing", "must name a folder of images, but '.*nothing' does not exist"),
        ("file.png", "must name a folder of images, but '.*file.png' is a file"),
        ("empty", r"has no images: it must hold files named \.avif, \.bmp"),
        ("mixed", "has sub-folders, its classes, so no image may lie beside them, got 'loose.png'"),
        ("hollow", "each sub-folder is a class and must hold an image, but 'dogs' holds none"),
        ("nul\0", "does not exist"),
    ],
)
def test_a_folder_that_is_no_data_set_says_why(tmp_path: Path, argument: str, message: str) -> None:
    """A missing path, a file, no images, images next to classes and an empty class are each one sentence."""
    put(tmp_path / "file.png", colour(1))
    (tmp_path / "empty").mkdir()
    put(tmp_path / "mixed" / "loose.png", colour(1))
    put(tmp_path / "mixed" / "cats" / "1.png", colour(1))
    put(tmp_path / "hollow" / "cats" / "1.png", colour(1))
    (tmp_path / "hollow" / "dogs").mkdir()
    with pytest.raises(DataError, match=message) as caught:
        load(f"folder:{tmp_path / argument}" if argument else "folder:", environ={})
    assert "\n" not in str(caught.value)


def test_a_class_whose_name_is_not_text_is_refused(tmp_path: Path) -> None:
    """A class's name goes into the model's card as UTF-8, so bytes that are none are refused."""
    put(Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe")) / "1.png", colour(1))
    with pytest.raises(DataError, match="a class's name must be printable UTF-8"):
        load_from(tmp_path)


def test_a_folder_has_no_test_part(tmp_path: Path) -> None:
    """Asked for the test part, a folder says that it has none."""
    put(tmp_path / "1.png", colour(1))
    with pytest.raises(DataError, match="has no test images"):
        load(f"folder:{tmp_path}", split="test", environ={})


def saved(image: Image.Image, kind: str) -> bytes:
    """The image as a file of that kind."""
    file = io.BytesIO()
    image.save(file, kind)
    return file.getvalue()


def png_header(width: int, height: int) -> bytes:
    """The beginning of a PNG that declares that many pixels and has none."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    data = b"IDAT" + zlib.compress(b"")
    chunks = (struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) for chunk in (header, data))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


NOISE = Image.fromarray(np.random.RandomState(0).randint(0, 256, (64, 64, 3)).astype(np.uint8))
WRONG = {
    "empty": (b"", "is empty"),
    "text": (b"these are words", "is not an image of PNG"),
    "truncated PNG": (saved(NOISE, "PNG")[:-2000], "cannot be read"),
    "truncated JPEG": (saved(NOISE, "JPEG")[:-500], "cannot be read"),
    "truncated GIF": (saved(NOISE, "GIF")[:-2000], "cannot be read"),
    "truncated WebP": (saved(NOISE, "WEBP")[:-500], "cannot be read"),
    "truncated TIFF": (saved(NOISE, "TIFF")[:-500], "cannot be read"),
    "PNG with a wrong byte": (saved(NOISE, "PNG").replace(b"IDAT", b"IDAT\x55", 1), "cannot be read"),
    "no pixels": (png_header(0, 0), "is not an image of PNG"),
    "100 million pixels": (png_header(10_000, 10_000), "has 10000 x 10000 pixels, at most 89478485 are allowed"),
    "10 billion pixels": (png_header(100_000, 100_000), "cannot be read .*decompression bomb"),
    "PostScript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "is not an image of PNG"),
    "float": (saved(Image.new("F", (4, 4)), "TIFF"), r"cannot be read \(its pixels have 32 bits, must be 8 or 16\)"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_a_wrong_file_is_named(tmp_path: Path, kind: str) -> None:
    """Among right files, one that is not a whole image stops the loading with its name and what is wrong with it."""
    content, message = WRONG[kind]
    put(tmp_path / "cats" / "right.png", colour(1))
    (tmp_path / "cats" / "wrong.png").write_bytes(content)
    with pytest.raises(DataError, match=f"all 2 images must be readable, but 1 cannot be: 'cats/wrong.png' {message}"):
        load_from(tmp_path)


def test_wrong_files_are_listed_together(tmp_path: Path) -> None:
    """Several wrong files are all named, sorted, in one error; beyond ten, the first ten."""
    put(tmp_path / "00.png", colour(1))
    for number in (3, 1, 2):
        (tmp_path / f"{number:02}.png").write_bytes(b"")
    with pytest.raises(DataError, match="but 3 cannot be: '01.png' is empty; '02.png' is empty; '03.png' is empty$"):
        load_from(tmp_path)
    for number in range(4, 20):
        (tmp_path / f"{number:02}.png").write_bytes(b"")
    with pytest.raises(DataError, match="but the first 10 cannot be: '01.png' is empty; .*; '10.png' is empty$"):
        load_from(tmp_path)


def test_links_that_lead_nowhere_are_named(tmp_path: Path) -> None:
    """A file that links to itself, a dangling link and a pipe, which would block, are listed."""
    (tmp_path / "loop.png").symlink_to(tmp_path / "loop.png")
    (tmp_path / "dangling.png").symlink_to(tmp_path / "nothing.png")
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(DataError) as caught:
        load_from(tmp_path)
    assert "'dangling.png' cannot be read (No such file or directory)" in str(caught.value)
    assert "'loop.png' cannot be read (" in str(caught.value)
    assert "'pipe.png' is not a regular file" in str(caught.value)


def test_folders_without_end_are_refused(tmp_path: Path) -> None:
    """T-14: a hundred folders in each other are one sentence; a thousand would exceed Python's stack."""
    put(tmp_path.joinpath(*100 * ["d"]) / "1.png", colour(1))
    with pytest.raises(DataError, match=r"'d/d/d/\.\.\.' has more than 64 folders in each other"):
        load_from(tmp_path)


def test_a_link_upwards_is_named(tmp_path: Path) -> None:
    """A folder that links to one above it would never end: it is listed."""
    put(tmp_path / "cats" / "1.png", colour(1))
    (tmp_path / "cats" / "again").symlink_to(tmp_path)
    with pytest.raises(DataError, match="'cats/again' is a link to a folder that it lies in"):
        load_from(tmp_path)


@pytest.mark.parametrize("name", ["cats/1.png", "cats"])
def test_what_may_not_be_read_is_named(tmp_path: Path, name: str) -> None:
    """A file or a folder without permission is listed."""
    put(tmp_path / "cats" / "1.png", colour(1))
    (tmp_path / name).chmod(0)
    if os.access(tmp_path / name, os.R_OK):
        pytest.skip("this user may read everything")
    try:
        with pytest.raises(DataError, match=f"'{name}' cannot be (read|opened) .Permission denied"):
            load_from(tmp_path)
    finally:
        (tmp_path / name).chmod(0o755)


def test_nothing_is_printed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Loading right and wrong files alike prints nothing and leaves no thread behind."""
    put(tmp_path / "1.png", colour(1))
    load_from(tmp_path)
    (tmp_path / "2.png").write_bytes(WRONG["100 million pixels"][0])
    (tmp_path / "3.tif").write_bytes(WRONG["truncated TIFF"][0])
    with pytest.raises(DataError):
        load_from(tmp_path)
    assert capfd.readouterr() == ("", "")
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("decode")]


def test_one_number_in_several_spellings_has_an_order(tmp_path: Path) -> None:
    """Labels of shards by value, and 1, 01 and 001 always in the same order: a set's order differs from process to process."""
    labels = ["10", "1", "01", "2", "001"]
    assert _in_order(labels) == _in_order(labels[::-1]) == ("001", "01", "1", "2", "10")


def test_a_checksum_reads_all_contents_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also of grey pictures that lie in memory as colours; no part is larger than it may be."""
    for level in range(5):
        put(tmp_path / f"{level}.png", colour(level))
    data = load_from(tmp_path)
    monkeypatch.setattr(dataset, "MOST_BYTES", 2 * 64 + 1)
    parts = [bytes(part) for part in data.contents()]
    assert [len(part) for part in parts] == [128, 128, 64]
    assert b"".join(parts) == data.items.numpy().tobytes()
