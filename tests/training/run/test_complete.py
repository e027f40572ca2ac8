"""The command that fills holes, on a run and on its model file."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.training.conftest import tiny_context, train_tiny
from training import __main__ as command
from training.data import load
from training.run.complete import RESULTS, SHEET
from training.run.config import RunConfig
from training.run.job import MODEL

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two steps of a small conditional game."""
    folder = tmp_path_factory.mktemp("run")
    train_tiny(RunConfig(recipe="cdcgan_r1", data="digits", steps=2, batch=8), folder)
    return folder


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    """Two digits as files, one of them in colours and larger."""
    items = load("digits", environ={}).items[:2, 0].numpy()
    paths = [tmp_path / "first.png", tmp_path / "second.webp"]
    Image.fromarray(items[0]).save(paths[0])
    Image.fromarray(items[1]).resize((16, 16)).convert("RGB").save(paths[1], lossless=True)
    return paths


def read(path: Path) -> np.ndarray:
    """Pixels of a file."""
    with Image.open(path) as image:
        return np.asarray(image)


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", os.environ["TEST_CACHE"])
    monkeypatch.delenv("DATA_ROOT", raising=False)


def test_damaged_results_are_written_anew(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A search whose file of results is cut or of another kind is made again; one whose file is whole is not."""
    path = run / "completed-random" / RESULTS
    path.parent.mkdir()
    for content in ("{", "[]", None):
        if content is not None:
            path.write_text(content)
        assert command.main(["complete", str(run), "--test", "2", "--steps", "2", "--mask", "random"]) == 0
        assert ("holds this search" in capsys.readouterr().out) == (content is None)
    assert json.loads(path.read_text())["samples"] == 2


def test_a_run_and_its_model_file_fill_the_same_hole(
    run: Path, pictures: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without D's opinion both find the same; known pixels are the picture's; the sheet shows four images of each."""
    first, second = tmp_path / "first", tmp_path / "second"
    for model, out in ((run, first), (run / MODEL, second)):
        words = ["--mask", "left", "--steps", "20", "--weight", "0", "--starts", "2", "--out", str(out)]
        assert command.main(["complete", str(model), *map(str, pictures), *words]) == 0
    said = capsys.readouterr().out
    assert "cdcgan_r1-digits, 32 of 64 pixels missing, without a discriminator, 2 starts a picture" in said
    assert f"{first / 'first.png'}: loss" in said
    for name in ("first.png", "second.png"):
        ours, theirs = (read(folder / name).astype(int) for folder in (first, second))
        assert np.abs(ours - theirs).max() <= 2
    whole, filled = read(pictures[0]), read(first / "first.png")
    assert np.array_equal(whole[:, 4:], filled[:, 4:])
    assert not np.array_equal(whole[:, :4], filled[:, :4])
    height, width = read(first / SHEET).shape
    assert width > 1.5 * height


def test_test_images_are_measured(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """completion.json holds what is printed: PSNR next to two fillings, accuracy of real, masked and completed images."""
    assert command.main(["complete", str(run), "--test", "3", "--steps", "4", "--out", str(tmp_path)]) == 0
    said = capsys.readouterr()
    values = json.loads((tmp_path / RESULTS).read_text())["values"]
    assert values["psnr-gain"] == pytest.approx(values["psnr"] - values["psnr-mean-filling"])
    assert values["accuracy-gain"] == pytest.approx(values["accuracy-completed"] - values["accuracy-masked"])
    assert "with a discriminator, 10 starts a picture" in said.out


def test_a_search_is_not_repeated_nor_taken_for_another(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The model file, which has no discriminator, is searched anew where the run was; the same search is not."""
    said = []
    for model in (run, run, run / MODEL):
        assert command.main(["complete", str(model), "--test", "1", "--steps", "1", "--mask", "grid"]) == 0
        said.append("holds this search" in capsys.readouterr().out)
    assert said == [False, True, False]


def test_a_search_by_another_classifier_is_measured_anew(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An accuracy by another classifier, or by one of which the file says nothing, is not taken for today's."""
    path, said = run / "completed-left" / RESULTS, []
    words = ["complete", str(run), "--test", "2", "--steps", "2", "--mask", "left"]
    assert command.main(words) == 0
    content = json.loads(path.read_text())
    assert content["classifier"].startswith("lenet@")
    without = {name: value for name, value in content.items() if name != "classifier"}
    for kept in (content, {**content, "classifier": "lenet@000000"}, without):
        path.write_text(json.dumps(kept))
        capsys.readouterr()
        assert command.main(words) == 0
        said.append("holds this search" in capsys.readouterr().out)
    assert said == [True, False, False]


@pytest.mark.parametrize("model", ["", MODEL], ids=["run", "file"])
def test_another_model_in_the_same_place_is_searched_anew(
    run: Path, tmp_path: Path, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Other weights of the same name and number of steps are not taken for those that were searched."""
    train_tiny(RunConfig(recipe="cdcgan_r1", data="digits", steps=2, batch=8, seed=1), tmp_path / "other")
    shutil.copytree(run, tmp_path / "run", ignore=shutil.ignore_patterns("completed-*"))
    for is_held in (False, True, False):
        assert command.main(["complete", str(tmp_path / "run" / model), "--test", "1", "--steps", "1"]) == 0
        assert ("holds this search" in capsys.readouterr().out) == is_held
        if is_held:
            for path in (*(tmp_path / "other").glob("checkpoint-*.pt"), tmp_path / "other" / MODEL):
                shutil.copy(path, tmp_path / "run")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "complete needs pictures, or --test"),
        (["x.png", "--test", "3"], "complete needs pictures, or --test"),
        (["--test", "3", "--steps", "0"], "--steps must be above 0 and finite, got 0"),
        (["x.png", "--starts", "65537"], "--starts must be at most 65,536, got 65,537"),
        (["--test", "3", "--rate", "nan"], "--rate must be above 0 and finite, got nan"),
        (["--test", "3", "--weight", "nan"], "--weight must be 0 or more and finite, got nan"),
        (["a/x.png", "--out", "a"], "--out a holds the pictures themselves"),
        (["--test", "3", "--mask", "random", "--seed", "-1"], "--seed must be 0..4294967295, got -1"),
        (["x.png", "--seed", "99999999999999999999"], "--seed must be 0..4294967295, got 99999999999999999999"),
        (["nothing.png"], "nothing.png cannot be read (No such file or directory)"),
    ],
)
def test_a_wrong_call_is_one_sentence(run: Path, words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    """It names the value and what would do."""
    assert command.main(["complete", str(run), *words]) == 2
    assert sentence in capsys.readouterr().err.replace("\n", " ")


def test_points_are_not_completed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A toy game has no pixels."""
    context = tiny_context(tmp_path)
    train_tiny(RunConfig(recipe="toy1d", steps=1), context.run, is_exported=False)
    assert command.main(["complete", str(tmp_path), "x.png"]) == 2
    assert "makes no images from latents alone" in capsys.readouterr().err


def test_a_picture_of_another_program_is_not_replaced(
    run: Path, pictures: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A photo next to the one that is completed has its name; the same call may be made again, and its own files replaced."""
    out = tmp_path / "photos"
    out.mkdir()
    words = ["complete", str(run / MODEL), str(pictures[0]), "--steps", "1", "--out", str(out)]
    for name in ("first.png", SHEET):
        Image.fromarray(read(pictures[0])).save(out / name)
        before = (out / name).read_bytes()
        assert command.main(words) == 2
        assert f"{out / name} is not from `complete` and would be replaced" in capsys.readouterr().err.replace("\n", "")
        assert (out / name).read_bytes() == before
        (out / name).unlink()
    assert [command.main(words) for _ in "ab"] == [0, 0]


def test_names_are_printed_as_they_are(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Brackets in the name of a picture or a folder are no markup; two models in one folder have folders of their own."""
    picture = tmp_path / "x[draft].png"
    Image.fromarray(load("digits", environ={}).items[0, 0].numpy()).save(picture)
    words = [str(picture), "--steps", "1"]
    for name in "ab":
        shutil.copy(run / MODEL, tmp_path / f"{name}.onnx")
        assert command.main(["complete", str(tmp_path / f"{name}.onnx"), *words]) == 0
        assert f"{tmp_path / f'{name}-completed-center' / picture.name}: loss" in capsys.readouterr().out
    assert command.main(["complete", str(run / MODEL), *words, "--out", str(tmp_path / "o[/]")]) == 0
    assert f"{tmp_path / 'o[/]' / picture.name}: loss" in capsys.readouterr().out


def test_a_file_without_a_card_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The sentence has the path of the model file."""
    (tmp_path / "bare.onnx").write_bytes(b"")
    assert command.main(["complete", str(tmp_path / "bare.onnx"), "x.png"]) == 2
    assert f"{tmp_path / 'bare.onnx'}: " in capsys.readouterr().err.replace("\n", "")
