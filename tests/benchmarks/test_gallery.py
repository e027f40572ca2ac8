"""The gallery: pictures by the real service, small enough for one page, each with the URL that gives it."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import pytest
from PIL import Image

import contract
from benchmarks.gallery import QUICK, command_of, main, make_page
from benchmarks.sheets import MAX_BYTES
from tests.serving import tiny_onnx
from training.recipes import CATALOGUE

pytestmark = [pytest.mark.process, pytest.mark.slow]


def test_each_model_has_a_picture_and_its_url(tmp_path: Path) -> None:
    """One sheet, rows of classes or sums, a plot of points, or changed pictures below the given; tokens have no picture."""
    models = tmp_path / "models"
    models.mkdir()
    for name, data in (
        ("grey", tiny_onnx.grey()),
        ("conditional", tiny_onnx.conditional()),
        ("points", tiny_onnx.points()),
        ("tokens", tiny_onnx.tokens()),
        ("sums", tiny_onnx.build("sums", tiny_onnx.GREY, contract.Image(28, 28, 1), recipe="vaegan_small")),
        ("transforming", tiny_onnx.transforming(recipe="pix2pix_small", data="digits")),
    ):
        (models / f"{name}.onnx").write_bytes(data)
    assert main(["--models", str(models), "--docs", str(tmp_path)]) == 0
    page = (tmp_path / "GALLERY.md").read_text()
    pictures = {path.stem: path.read_bytes() for path in (tmp_path / "gallery").iterdir()}
    assert set(pictures) == set(re.findall(r'src="gallery/([^"]+)\.webp"', page))
    assert all(len(picture) <= MAX_BYTES for picture in pictures.values())
    assert len(pictures) == 5
    assert page.count("then rows of three seeds and /arithmetic?model=sums&a=") == 1
    assert page.count("a row each") == 1
    assert page.count("`POST /transform?model=transforming&seed=0&format=png, a picture each`") == 1
    line = page.splitlines()[-1]
    assert make_page([], "gallery", page).splitlines()[-1] == line, "a model that is not drawn anew keeps its line"
    sizes = sorted(Image.open(io.BytesIO(picture)).height for picture in pictures.values())
    assert sizes[-1] > sizes[0]


def test_the_quick_recipes_exist() -> None:
    """Those that two cores train in a few minutes each are in the catalogue."""
    assert set(QUICK) <= set(CATALOGUE)


def test_seeds_that_were_trained_together_are_named(tmp_path: Path) -> None:
    """The command has all of them, and says which run the picture is of."""
    config = {"config": {"seed": 2, "steps": 9}, "together": [0, 1, 2]}
    (tmp_path / "config.json").write_text(json.dumps(config))
    command = command_of(tmp_path / "model.onnx", {"recipe": "toy1d", "data": "gaussian1d", "steps": 9})
    assert command == "python -m training train toy1d --steps 9 --seeds 0-2 --out RUN; RUN-seed2"
