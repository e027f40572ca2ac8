"""What the formats hold: the very pixels and points, and how to make them again."""

from __future__ import annotations

import io
import json
import tarfile
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image as Pictures

from contract import Image, Points, Tokens
from serving.encoding.formats import (
    FORMATS,
    PNG_KEYWORD,
    Sample,
    contact_sheet,
    fingerprints,
    image_formats,
    json_rows,
    picture_pixels,
    picture_sides,
)
from serving.encoding.png import write_png
from serving.model.load import Model


def sample_of(model: Model, count: int = 1, **changes: Any) -> Sample:
    fields = {
        "output": model.card.output,
        "rows": model.sample(range(count)),
        "model": model.card.name,
        "digest": model.digest,
        "runtime": model.runtime,
        "seed": 0,
        **changes,
    }
    return Sample(**fields)


def opened(data: bytes) -> Any:
    with Pictures.open(io.BytesIO(data)) as picture:
        picture.load()
        return picture


@settings(max_examples=60)
@given(pixels=arrays.arrays(np.uint8, st.tuples(st.integers(1, 40), st.integers(1, 40), st.sampled_from([1, 3]))))
def test_a_png_holds_the_pixels(pixels: Any) -> None:
    """Any grey or RGB picture comes back from another PNG reader pixel for pixel."""
    picture = opened(write_png(pixels, {"a": "b"}))
    assert picture.mode == ("L" if pixels.shape[2] == 1 else "RGB")
    assert np.array_equal(np.asarray(picture).reshape(pixels.shape), pixels)
    assert picture.info["a"] == "b"


def test_a_png_is_read_by_the_standard_librarys_zlib() -> None:
    """The deflate stream of the PNG writer is an ordinary one."""
    data = write_png(np.zeros((5, 4, 1), np.uint8), {})
    place = data.index(b"IDAT")
    size = int.from_bytes(data[place - 4 : place], "big")
    assert zlib.decompress(data[place + 4 : place + 4 + size]) == bytes(25)


def test_a_png_says_how_to_make_it_again(models: dict[str, Model]) -> None:
    """The text inside a PNG names seed, parameters, model and digest."""
    model = models["conditional"]
    data = FORMATS["image"]["png"].encode(sample_of(model, 2, seed=0, scale=2, overrides={"y": 3, "c0": 0.5}))
    assert json.loads(opened(data).info[PNG_KEYWORD]) == {
        "model": "conditional",
        "digest": model.digest,
        "runtime": model.runtime,
        "seed": 0,
        "n": 2,
        "scale": 2,
        "parameters": {"y": 3, "c0": 0.5},
    }


@pytest.mark.parametrize("name", ["grey", "colour"])
def test_webp_is_lossless_and_jpeg_is_near(models: dict[str, Model], name: str) -> None:
    """WebP holds the very pixels; JPEG is a few levels off on average."""
    sample = sample_of(models[name], 4)
    right = contact_sheet(sample.rows, 1).astype(int)
    webp = np.asarray(opened(FORMATS["image"]["webp"].encode(sample)).convert("RGB"))
    assert np.array_equal(webp, np.broadcast_to(right, webp.shape))
    jpeg = np.asarray(opened(FORMATS["image"]["jpeg"].encode(sample))).reshape(right.shape)
    assert np.abs(jpeg - right).mean() < 8


def test_avif_is_lossless_for_grey_and_near_for_colour(models: dict[str, Model]) -> None:
    """AVIF holds the very pixels of grey images as a grey picture, and is at most three levels off in colour."""
    for name, mode, off in (("grey", "L", 0), ("colour", "RGB", 3)):
        sample = sample_of(models[name], 4, scale=2)
        picture = opened(FORMATS["image"]["avif"].encode(sample))
        right = contact_sheet(sample.rows, 2)
        assert (picture.format, picture.mode) == ("AVIF", mode)
        assert np.abs(np.asarray(picture).reshape(right.shape).astype(int) - right).max() <= off


def test_pillow_may_be_built_without_avif() -> None:
    """Without AVIF in Pillow there is no such format, and the others are as they were."""
    assert list(image_formats(has_avif=False)) == [name for name in image_formats(has_avif=True) if name != "avif"]


@pytest.mark.parametrize(("given", "scale"), [({}, 1), ({"y": 3}, 2)])
def test_a_tar_holds_the_files_of_its_seeds(models: dict[str, Model], given: dict[str, float], scale: int) -> None:
    """Each member is named by its seed and byte-equal to the PNG that the seed gives alone, its text included."""
    model = models["conditional"]
    rows = model.sample(range(5, 9), [given] * 4)
    data = FORMATS["image"]["tar"].encode(sample_of(model, rows=rows, seed=5, scale=scale, overrides=given))
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        found = {member.name: archive.extractfile(member).read() for member in archive.getmembers()}
    png = FORMATS["image"]["png"].encode
    assert found == {
        f"{seed}.png": png(sample_of(model, rows=rows[i : i + 1], seed=seed, scale=scale, overrides=given))
        for i, seed in enumerate(range(5, 9))
    }


@pytest.mark.parametrize("name", ["grey", "points2", "tokens"])
def test_npy_and_json_hold_the_rows(models: dict[str, Model], name: str) -> None:
    """NPY brings the array of n rows as the model gave it; JSON the same numbers, with shape and origin."""
    sample = sample_of(models[name], 3)
    kind = sample.output.kind
    assert np.array_equal(np.load(io.BytesIO(FORMATS[kind]["npy"].encode(sample)), allow_pickle=False), sample.rows)
    value = json.loads(FORMATS[kind]["json"].encode(sample))
    assert np.array_equal(np.array(value["data"], value["dtype"]), sample.rows)
    assert (value["kind"], value["shape"], value["seed"], value["n"]) == (kind, list(sample.rows.shape), 0, 3)


@pytest.mark.parametrize("name", ["grey", "points2", "tokens"])
def test_json_is_encoded_row_by_row(models: dict[str, Model], name: str) -> None:
    """The text is that of one call of ``json.dumps``, and no call has more than a row: other threads wait for each."""
    sample = sample_of(models[name], 3, overrides={"y": 1}, way={"from": 1, "to": 2, "frames": 3})
    kind, rows = sample.output.kind, sample.rows
    content = {"kind": kind, "dtype": str(rows.dtype), "shape": list(rows.shape), "data": rows.tolist()}
    whole = json.dumps({**sample.origin(), **content}, separators=(",", ":"))
    assert FORMATS[kind]["json"].encode(sample) == f"{whole}\n".encode()
    pieces = [json.loads(piece) for piece in json_rows(rows) if piece not in (b"[", b",", b"]")]
    assert pieces == rows.tolist()


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 9, 10, 64])
@pytest.mark.parametrize("scale", [1, 3])
@pytest.mark.parametrize("columns", [None, 1, 2, 7, 64])
def test_a_contact_sheet_holds_each_image_in_order(n: int, scale: int, columns: int | None) -> None:
    """Image i stands in line i // columns at place i % columns, each pixel a square of the scale; the rest is black."""
    columns = columns and min(columns, n)
    rows = np.random.default_rng(n).integers(1, 255, (n, 3, 2, 3), np.uint8)
    sheet = contact_sheet(rows, scale, columns)
    assert sheet.shape[:2] == picture_sides(Image(3, 2, 3), n, scale, columns)
    assert sheet.shape[0] * sheet.shape[1] == picture_pixels(Image(3, 2, 3), n, scale, columns)
    side_by_side = columns or int(np.ceil(np.sqrt(n)))
    assert sheet.shape[1] == 2 * side_by_side * scale
    for i in range(n):
        top, left = i // side_by_side * 3 * scale, i % side_by_side * 2 * scale
        tile = sheet[top : top + 3 * scale, left : left + 2 * scale]
        assert np.array_equal(tile, np.kron(rows[i], np.ones((scale, scale, 1), np.uint8)))
    assert sheet.astype(int).sum() == rows.astype(int).sum() * scale**2


@pytest.mark.parametrize("name", ["png", "webp", "jpeg", "avif"])
def test_every_picture_has_its_columns(models: dict[str, Model], name: str) -> None:
    """Five images of 28x28 in two columns are a picture of 56x84 in every format that is a sheet, and no other has columns."""
    picture = opened(FORMATS["image"][name].encode(sample_of(models["grey"], 5, columns=2)))
    assert picture.size == (56, 84)
    assert [n for n, form in FORMATS["image"].items() if form.is_sheet] == ["png", "webp", "jpeg", "avif"]


def test_a_png_says_its_columns_and_its_way(models: dict[str, Model]) -> None:
    """Columns that were asked for stand in the text, and the place between two seeds instead of a seed."""
    sample = sample_of(models["grey"], 3, columns=3, way={"a": 1, "b": 2, "t": 0.25})
    assert list(json.loads(opened(FORMATS["image"]["png"].encode(sample)).info[PNG_KEYWORD]).items())[3:] == [
        ("a", 1),
        ("b", 2),
        ("t", 0.25),
        ("scale", 1),
        ("cols", 3),
        ("parameters", {}),
    ]


@pytest.mark.parametrize("name", ["webp", "jpeg", "avif"])
def test_the_longest_side_of_a_format_is_written(name: str) -> None:
    """A picture as high as the format's table allows is written and read."""
    form = FORMATS["image"][name]
    rows = np.zeros((1, form.max_side, 1, 1), np.uint8)
    sample = Sample(output=Image(form.max_side, 1, 1), rows=rows, model="m", digest="", runtime="", seed=0)
    assert opened(form.encode(sample)).size == (1, form.max_side)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["points1", "points2", "points9"])
@pytest.mark.parametrize("scale", [1, 2])
def test_points_are_plotted(models: dict[str, Model], name: str, scale: int) -> None:
    """Points come as a square picture with something drawn in it, larger with the scale."""
    sample = sample_of(models[name], 50, scale=scale)
    picture = opened(FORMATS["points"]["png"].encode(sample))
    assert picture.size == (400 * scale, 400 * scale)
    assert picture.size[0] * picture.size[1] == picture_pixels(sample.output, 50, scale)
    assert len(np.unique(np.asarray(picture).reshape(-1, 3), axis=0)) > 10


def test_fingerprints_name_every_format() -> None:
    """Each kind and format has a fingerprint, the same each time, and no two formats of a kind share one."""
    found = fingerprints()
    assert found == fingerprints()
    assert set(found) == {(kind, name) for kind, formats in FORMATS.items() for name in formats}
    assert len(set(found.values())) == len(found)


def test_every_output_has_its_formats() -> None:
    """The three kinds of output are written; pictures come first for images, numbers first for the others."""
    kinds = (Image.kind, Points.kind, Tokens.kind)
    assert [list(FORMATS[kind]) for kind in kinds] == [
        ["png", "webp", "jpeg", "avif", "npy", "json", "tar"],
        ["json", "npy", "png"],
        ["json", "npy"],
    ]
