"""``python -m serving verify``: a picture is made again from what is written inside it, and compared."""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pictures
from PIL.PngImagePlugin import PngInfo

from serving.encoding.formats import PNG_KEYWORD
from serving.encoding.png_reader import read_png
from serving.generation.generate import RequestHeaders, Service
from serving.generation.interpolate import arithmetic, mix
from serving.model.load import Model
from tests.serving.verify.conftest import Check, Fetch
from tests.serving.verify.pngs import with_lines, with_origin, with_pixels

QUERIES = [
    "seed=42",
    "seed=4294967295&y=3",
    "seed=7&n=70&scale=2&y=3&c0=-.25",
    "model=grey&seed=1&n=3",
    "model=colour&seed=5&scale=3",
    "seed=7&n=5&cols=5",
    "model=points2&seed=42&n=100",
    "model=points1&seed=1&n=9",
    "model=points9&seed=3&scale=2",
]


@pytest.mark.parametrize("query", QUERIES)
def test_a_picture_of_the_service_matches(fetch: Fetch, check: Check, query: str) -> None:
    """What the service answered is made again byte for byte: images and plots, sheets, enlarged, with given values."""
    code, line = check(fetch(query))
    assert (code, line[:19]) == (0, "match, bytes equal:")


@pytest.mark.parametrize(("query", "t"), [("a=1&b=2&y=3&scale=2", "0.5"), ("a=5&b=6&t=.3&model=points2&format=png", "0.3")])
def test_a_place_between_two_seeds_matches(make_service: Callable[..., Service], check: Check, query: str, t: str) -> None:
    """What ``/mix`` answered is made again byte for byte, too."""
    service = make_service()
    line = check(service.portal.run(mix(service, query, RequestHeaders())).body)[1]
    assert line.startswith(f"match, bytes equal: {t} of the way from seed ")


def test_a_sum_of_seeds_matches(make_service: Callable[..., Service], check: Check) -> None:
    """What ``/arithmetic`` answered is made again byte for byte, and a wrong seed in it is named."""
    service = make_service()
    summed = service.portal.run(arithmetic(service, "a=1&b=2&c=3&y=3&scale=2", RequestHeaders())).body
    assert check(summed)[1].startswith("match, bytes equal: seed 1 - 2 + 3 of conditional ")
    assert check(with_origin(summed, c=-1)) == (2, "the text chunk's c must be 0..4294967295, got -1")


def test_the_verdict_says_of_what(fetch: Fetch, check: Check, models: dict[str, Model]) -> None:
    """The line names the seeds, the model and its digest's beginning."""
    line = check(fetch("model=grey&seed=10&n=3"))[1]
    assert line == f"match, bytes equal: seeds 10..12 of grey {models['grey'].digest[:12]}"


def test_deflated_anew_the_pixels_match(fetch: Fetch, check: Check) -> None:
    """The same pixels in another deflate stream are reported as equal pixels in other bytes."""
    data = fetch("model=grey&seed=42")
    inflated = zlib.decompress(read_png(data).deflated)
    code, line = check(with_lines(data, zlib.compress(inflated, 9)))
    assert (code, line[:32]) == (0, "match, pixels equal, bytes not: ")
    assert line.endswith("another zlib or another program wrote the file")


@pytest.mark.parametrize("query", ["seed=42&n=5", "model=colour&seed=42", "model=points2&seed=1&n=20"])
def test_written_anew_by_another_program_the_pixels_match(fetch: Fetch, check: Check, query: str) -> None:
    """A file that Pillow wrote anew, with filtered lines, holds the same pixels."""
    data = fetch(query)
    buffer, texts = io.BytesIO(), PngInfo()
    with Pictures.open(io.BytesIO(data)) as picture:
        texts.add_text(PNG_KEYWORD, picture.info[PNG_KEYWORD])
        picture.save(buffer, "PNG", pnginfo=texts, optimize=True)
    assert check(buffer.getvalue())[1].startswith("match, pixels equal, bytes not: ")


def test_another_runtime_is_named(fetch: Fetch, check: Check, models: dict[str, Model]) -> None:
    """Where the file was written by another runtime class, the line names both."""
    code, line = check(with_origin(fetch("seed=42"), runtime="onnxruntime-9.9-cuda-riscv"))
    assert code == 0
    assert line.endswith(f"written by onnxruntime-9.9-cuda-riscv, compared on {models['conditional'].runtime}")


def test_pixels_that_differ_are_counted(fetch: Fetch, check: Check) -> None:
    """Three pixels of an RGB picture, one of them by seven levels in one channel: exit code 1, the count and the seven."""
    data = fetch("model=colour&seed=42")
    pixels = read_png(data).pixels().astype(int)
    for place, levels in (((0, 0, 0), 1), ((3, 4, 1), 7), ((15, 19, 2), 2)):
        pixels[place] += levels if pixels[place] < 128 else -levels
    code, line = check(with_pixels(data, pixels.astype(np.uint8)))
    assert (code, line[:62]) == (1, "pixel difference: 3 of 320 pixels by at most 7 grey levels: se")


def test_another_seeds_picture_is_a_pixel_difference(fetch: Fetch, check: Check) -> None:
    """A file that names another seed than its own differs in pixels."""
    assert check(with_origin(fetch("seed=42"), seed=43))[0] == 1


def test_another_model_is_named_with_what_is_there(fetch: Fetch, check: Check, folder: Path, models: dict[str, Model]) -> None:
    """A digest that no model file has ends with exit code 2; the line says which it is and which there are."""
    code, line = check(fetch("model=grey&seed=42"), models=f"{folder}/2-colour.onnx,{folder}/3-points.onnx")
    assert code == 2
    assert line == (
        f"model not found: made by grey {models['grey'].digest[:12]}, found are "
        f"{folder}/2-colour.onnx {models['colour'].digest[:12]}, {folder}/3-points.onnx {models['points2'].digest[:12]}"
    )


def test_two_versions_of_a_model_may_stand_side_by_side(fetch: Fetch, check: Check, folder: Path, tmp_path: Path) -> None:
    """A broken neighbour, or one of the same name, does not matter: only the file with the digest is loaded."""
    (tmp_path / "broken.onnx").write_bytes(b"broken")
    assert check(fetch("seed=42"), models=f"{tmp_path}/broken.onnx,{folder}")[0] == 0


def test_limits_are_the_services(fetch: Fetch, check: Check) -> None:
    """What a service with higher limits wrote is compared once the same variables are set here."""
    data = fetch("model=grey&seed=1&n=5&scale=2")
    assert check(data, GAN_MAX_IMAGES="4") == (2, "the text chunk's n must be 1..4 by GAN_MAX_IMAGES, got 5")
    assert check(data, GAN_MAX_SCALE="1") == (2, "the text chunk's scale must be 1..1 by GAN_MAX_SCALE, got 2")
    assert "at most 18815 pixels by GAN_MAX_PIXELS, seeds 1..5" in check(data, GAN_MAX_PIXELS="18815")[1]
    assert check(data, GAN_MAX_IMAGES="5", GAN_MAX_PIXELS="18816")[0] == 0
