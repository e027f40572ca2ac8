"""The command line of ``python -m serving``, as a process of its own: exit codes and what is said."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from serving.__main__ import main
from serving.generation.generate import Service
from tests.serving.client import fetch
from tests.serving.service_process import TIMEOUT, environment


def run(root: Path, *arguments: str, **settings: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "serving", *arguments],
        cwd=root,
        env=environment(provider="cpu", **settings),
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )


@pytest.fixture
def picture(make_service: Callable[..., Service], tmp_path: Path) -> Path:
    """A file that the service answered."""
    path = tmp_path / "42.png"
    path.write_bytes(fetch(make_service(), "model=grey&seed=42").body)
    return path


def test_verify_takes_the_models_from_the_environment(root: Path, folder: Path, picture: Path) -> None:
    """Without ``--models`` they are those of GAN_MODELS; a match is exit code 0, one line, and nothing on stderr."""
    ended = run(root, "verify", str(picture), models=folder)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.startswith(f"{picture}: match, bytes equal: seed 42 of grey ")


def test_verify_takes_the_models_from_the_command_line(root: Path, folder: Path, picture: Path) -> None:
    """``--models`` wins over GAN_MODELS, and takes several files."""
    ended = run(root, "verify", str(picture), "--models", f"{folder}/2-colour.onnx,{folder}/1-grey.onnx", models="nowhere")
    assert ended.returncode == 0


def test_help_says_how_it_is_used(root: Path) -> None:
    """``--help`` starts no service: it names the command and ends with exit code 0."""
    ended = run(root, "--help")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.startswith("usage: python -m serving [-h] [COMMAND ...]\n")
    assert "verify" in ended.stdout


WRONG = [["foo"], ["--foo"], ["verify"], ["verify", "a.png", "b.png"], ["verify", "a.png", "--model", "m.onnx"], ["serve"]]


@pytest.mark.parametrize("arguments", WRONG, ids=" ".join)
def test_unknown_arguments_bring_the_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever the command line does not know is told with the usage, exit code 2, and nothing is started."""
    with pytest.raises(SystemExit) as end:
        main(arguments, {})
    assert end.value.code == 2
    assert capsys.readouterr().err.startswith("usage: python -m serving")


def said(capsys: pytest.CaptureFixture[str], *arguments: str, **environ: str) -> str:
    """What ``verify`` says when it cannot compare."""
    assert main(["verify", *arguments], {"GAN_PROVIDER": "cpu", **environ}) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    return err


@pytest.mark.parametrize(
    ("make", "reason"), [(os.mkfifo, "a regular file"), (os.mkdir, "cannot be read"), (None, "No such file")]
)
def test_what_is_no_file_is_refused_without_waiting(
    make: Callable[[Path], None] | None, reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A pipe, a folder or nothing in the picture's place: one line and exit code 2."""
    if make is not None:
        make(tmp_path / "x.png")
    assert reason in said(capsys, str(tmp_path / "x.png"))


def test_a_huge_file_is_not_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file of a terabyte of nothing is refused after as many bytes as a picture may have."""
    with (tmp_path / "x.png").open("wb") as file:
        file.truncate(2**40)
    assert "at most 1052576 bytes" in said(capsys, str(tmp_path / "x.png"), GAN_MAX_PIXELS="1000")


def test_a_name_of_any_letters_is_shown_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """A newline or a byte that is no UTF-8 in the file's name is shown escaped."""
    assert said(capsys, "a\n\udcff.png").startswith("a\\n\\udcff.png: cannot be read")


def test_models_that_are_not_there_are_told(picture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A path without models is a line as the service says it, and exit code 2."""
    assert "GAN_MODELS must name .onnx files" in said(capsys, str(picture), "--models", "nowhere")


def test_a_refused_model_is_told(
    picture: Path, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model that breaks its promise here makes no picture to compare: its file and the reason, exit code 2."""
    monkeypatch.setattr("serving.model.determinism._is_close", lambda *arguments: False)
    assert f"{folder}/1-grey.onnx: golden seed 0" in said(capsys, str(picture), "--models", str(folder))


def test_a_fault_is_a_line(
    picture: Path, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever else fails is told by its class, without a traceback."""

    def fail(*arguments: object, **options: object) -> None:
        raise MemoryError("secret\n" * 2)

    monkeypatch.setattr("serving.verify.model_from_bytes", fail)
    assert "cannot be compared: MemoryError: secret\\n" in said(capsys, str(picture), "--models", str(folder))
