"""What the command says when the machine fails: one sentence and an exit code, no traceback."""

from __future__ import annotations

import errno
import io
import signal
import sys
from pathlib import Path

import onnx
import pytest
import torch

from training import __main__ as command
from training.run.launch import _Stop

TOY = ["train", "toy1d", "--steps", "1"]


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "runs/toy"), "No space left on device: runs/toy"),
        (OSError(errno.EROFS, "Read-only file system"), "Read-only file system: while writing"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), "not enough memory (CUDA out of memory."),
        (MemoryError(), "not enough memory (MemoryError)"),
    ],
    ids=["full", "read-only", "CUDA", "Python"],
)
def test_a_failing_machine_is_one_sentence(
    error: Exception, sentence: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Exit code 2 and a line that names the file, or what to make smaller."""

    def fail(*_: object, **__: object) -> int:
        raise error

    monkeypatch.setattr(command, "launch", fail)
    assert command.main([*TOY, "--out", str(tmp_path)]) == 2
    assert f"error: {sentence}" in capsys.readouterr().err


def test_other_faults_keep_their_traceback(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A fault of the program is not passed off as one of the machine."""

    def fail(*_: object, **__: object) -> int:
        raise RuntimeError("shapes do not match")

    monkeypatch.setattr(command, "launch", fail)
    with pytest.raises(RuntimeError, match="shapes do not match"):
        command.main([*TOY, "--out", str(tmp_path)])


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file where the run directory should be."""
    (tmp_path / "file").touch()
    assert command.main([*TOY, "--out", str(tmp_path / "file" / "run")]) == 2
    assert "Not a directory" in capsys.readouterr().err


def test_a_file_as_run_directory_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The sentence says what --out must be."""
    (tmp_path / "file").touch()
    assert command.main([*TOY, "--out", str(tmp_path / "file")]) == 2
    assert "error: --out must name a folder, and" in capsys.readouterr().err


def test_data_of_another_kind_are_named_beside_the_mistake(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A recipe for points that gets images says what it is made for, not only which shapes do not fit."""
    assert command.main([*TOY, "--data", "digits", "--out", str(tmp_path)]) == 2
    assert capsys.readouterr().err.strip().endswith("the recipe is made for gaussian1d, and digits may not suit it")


def test_a_signal_before_the_first_step_ends_the_job_at_once() -> None:
    """While one process loads its data there is nothing to save; from the first step on, and of several ranks, signals wait."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)}
    try:
        _Stop(is_alone=True)
        with pytest.raises(SystemExit) as end:
            signal.raise_signal(signal.SIGINT)
        assert end.value.code == 130
        for is_alone in (True, False):
            stop = _Stop(is_alone=is_alone)
            assert not (is_alone and stop.is_requested())
            signal.raise_signal(signal.SIGTERM)
            assert stop.is_requested()
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


@pytest.mark.parametrize("more", [[], ["--seeds", "0-1"]], ids=["one", "several"])
def test_a_folder_without_a_name_is_no_run_directory(more: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """The root folder: nothing can be added to its name."""
    assert command.main([*TOY, *more, "--out", "/"]) == 2
    assert "--out must name a folder of its own, not /, which has no name" in capsys.readouterr().err


@pytest.mark.parametrize(("recipe", "least"), [("pacgan4_ring8", 4), ("gman_small", 5)])
def test_a_batch_that_is_too_small_for_a_recipe_is_one_sentence(
    recipe: str, least: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A pack, or a sample for each discriminator; it is refused before the first step."""
    data = ["--data", "mnist5k"] if recipe.startswith("gman") else []
    words = ["train", recipe, *data, "--batch", "3", "--steps", "1", "--device", "cpu", "--out", str(tmp_path / "run")]
    assert command.main(words) == 2
    assert f"error: a batch of 3 is too small for this recipe: use --batch {least} or more\n" == capsys.readouterr().err


@pytest.mark.parametrize("out", ["", "."])
def test_the_current_folder_is_no_run_directory(out: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is written among the user's own files."""
    assert command.main([*TOY, "--out", out]) == 2
    assert "--out must name a folder of its own" in capsys.readouterr().err


@pytest.mark.slow
def test_a_run_finds_its_folder_from_another_directory(
    picture_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A relative path in --data is kept as an absolute one, so that `score RUN` works from anywhere."""
    monkeypatch.chdir(picture_folder.parent)
    data = ["--data", f"folder:{picture_folder.name}", "--size", "16", "--batch", "4", "--precision", "float32"]
    assert command.main(["train", "vanilla", *data, "--steps", "1", "--out", str(tmp_path / "run")]) == 0
    monkeypatch.chdir(tmp_path)
    assert command.main(["score", "run", "--samples", "4"]) == 0
    assert f"folder:{picture_folder.name}" in capsys.readouterr().out


@pytest.mark.parametrize("path", ["loop", "~nouser/pictures", "a\0b"])
def test_a_path_that_leads_nowhere_is_one_sentence(
    path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A loop of links, an unknown user and a character of value 0 in --data."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "loop").symlink_to("loop")
    assert command.main(["train", "dcgan64_small", "--data", f"folder:{path}", "--out", "run"]) == 2
    assert f"error: {f'folder:{path}'!r} is no folder: " in capsys.readouterr().err


@pytest.mark.parametrize(("name", "value", "least"), [("images", 1, 2), ("steps", -1, 0), ("restarts", 0, 1)])
def test_a_search_of_nothing_is_one_sentence(name: str, value: int, least: int, capsys: pytest.CaptureFixture[str]) -> None:
    """A mean over no image, no start or no step has no value, and one image no error."""
    assert command.main(["reconstruct", "runs/none", f"--{name}", str(value)]) == 2
    assert f"--{name} must be at least {least}, got {value}" in capsys.readouterr().err


def test_a_model_without_a_card_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """``complete`` of an ONNX file that is not of this project names it."""
    onnx.save(onnx.helper.make_model(onnx.helper.make_graph([], "g", [], [])), tmp_path / "other.onnx")
    (tmp_path / "a.png").touch()
    assert command.main(["complete", str(tmp_path / "other.onnx"), str(tmp_path / "a.png"), "--mask", "left"]) == 2
    assert f"error: {tmp_path / 'other.onnx'}: the model has no card" in capsys.readouterr().err


@pytest.mark.parametrize("samples", ["0", "1", "-5"])
def test_a_score_of_no_samples_is_one_sentence(samples: str, capsys: pytest.CaptureFixture[str]) -> None:
    """It is refused before anything is loaded; 0 is not taken for the default."""
    assert command.main(["score", "nowhere.onnx", "--samples", samples]) == 2
    assert f"error: samples must be at least 2, got {samples}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["score", "x.onnx", "--nearest", "-3"], "nearest must be at least 1, got -3"),
        (["gmam", "one", "two", "--samples", "0"], "--samples must be at least 1, got 0"),
        (["gmam", "one", "two", "--first-lambda", "nan"], "--first-lambda must be 0 or more, got nan"),
        (["card", "x.onnx"], "there is no model x.onnx"),
        (["complete", "x.onnx", "picture", "--mask", "left"], "there is no model x.onnx"),
        ([*TOY, "--out", "run", "--metrics-port", "-1"], "--metrics-port must be 0..65535, got -1"),
        ([*TOY, "--out", "run", "--metrics-port", "65536"], "--metrics-port must be 0..65535, got 65536"),
        (["list", "--markdown", "picture"], "--markdown must name a page of text, got picture"),
    ],
    ids=["nearest", "samples", "lambda", "card", "complete", "low port", "high port", "page"],
)
def test_a_wrong_value_is_one_sentence(
    words: list[str], sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before anything is loaded or written."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "picture").write_bytes(b"\x89PNG")
    assert command.main(words) == 2
    assert capsys.readouterr().err == f"error: {sentence}\n"
    assert [path.name for path in tmp_path.iterdir()] == ["picture"]


def test_a_closed_output_is_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    """``>&-`` leaves Python without stdout; the command does its work and prints nothing."""
    monkeypatch.setattr(sys, "stdout", None)
    assert command.main(["list"]) == 0


def test_a_full_disk_of_the_log_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The line says that it is no file of the run; where stderr is on that disk, too, the exit code remains."""

    class Full(io.StringIO):
        name = "<stdout>"

        def write(self, text: str) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(sys, "stdout", Full())
    assert command.main(["list"]) == 2
    assert capsys.readouterr().err == "error: No space left on device: <stdout>\n"
    monkeypatch.setattr(sys, "stderr", Full())
    assert command.main(["list"]) == 2


def test_a_size_that_no_nets_have_is_one_sentence(
    picture_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An odd one cannot be halved; nothing is left of the run."""
    data = ["--data", f"folder:{picture_folder}", "--size", "63", "--batch", "4", "--device", "cpu"]
    assert command.main(["train", "dcgan64_small", *data, "--out", str(tmp_path / "run")]) == 2
    sentence = (
        "error: recipe dcgan64_small: no nets for samples of [3, 63, 63]: images must have an even side of at least 8, got 63"
    )
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
