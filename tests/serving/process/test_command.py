"""The command line of ``python -m serving``: exit codes, stdout and stderr."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from serving.__main__ import main, run_serve
from serving.generation.generate import Service
from tests.harness.service import run_to_end
from tests.serving.client import fetch


@pytest.fixture
def picture(make_service: Callable[..., Service], tmp_path: Path) -> Path:
    """A PNG written by the service."""
    path = tmp_path / "42.png"
    path.write_bytes(fetch(make_service(), "model=grey&seed=42").body)
    return path


@pytest.mark.process
def test_verify_takes_the_models_from_the_environment(root: Path, folder: Path, picture: Path) -> None:
    """Without ``--models`` the models of GAN_MODELS are used; a match is exit code 0, one line, and an empty stderr."""
    ended = run_to_end(root, "verify", str(picture), models=folder)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.startswith(f"{picture}: match, bytes equal: seed 42 of grey ")


@pytest.mark.process
def test_verify_takes_the_models_from_the_command_line(root: Path, folder: Path, picture: Path) -> None:
    """``--models`` overrides GAN_MODELS and accepts several files."""
    ended = run_to_end(
        root, "verify", str(picture), "--models", f"{folder}/2-colour.onnx,{folder}/1-grey.onnx", models="nowhere"
    )
    assert ended.returncode == 0


@pytest.mark.process
def test_help_shows_usage(root: Path) -> None:
    """``--help`` starts no service: it names the command and ends with exit code 0."""
    ended = run_to_end(root, "--help")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.startswith("usage: python -m serving [-h] [COMMAND ...]\n")
    assert "verify" in ended.stdout


WRONG = [["foo"], ["--foo"], ["verify"], ["verify", "a.png", "b.png"], ["verify", "a.png", "--model", "m.onnx"], ["serve"]]


@pytest.mark.parametrize("arguments", WRONG, ids=" ".join)
def test_unknown_arguments_print_the_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Unknown arguments print the usage, end with exit code 2, and start nothing."""
    with pytest.raises(SystemExit) as end:
        main(arguments, {})
    assert end.value.code == 2
    assert capsys.readouterr().err.startswith("usage: python -m serving")


@pytest.mark.parametrize("argument", ["model.onnx", "--port"])
def test_settings_are_no_arguments(argument: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Who names a model or a port as an argument reads which variables do."""
    with pytest.raises(SystemExit):
        main([argument, "8000"], {})
    assert f"no command or option {argument!r}: GAN_MODELS names models, GAN_PORT the port" in capsys.readouterr().err


def test_a_path_with_a_comma_is_refused_by_the_console_script(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A comma separates models: the sentence names the path, not a part of it."""
    (tmp_path / "a,b.onnx").touch()
    monkeypatch.setattr(sys, "argv", ["gan-serve", str(tmp_path / "a,b.onnx")])
    with pytest.raises(SystemExit) as end:
        run_serve()
    assert end.value.code == 2
    assert f"a path of one must have none, got {str(tmp_path / 'a,b.onnx')!r}" in capsys.readouterr().err


@pytest.mark.process
def test_a_missing_model_is_named_as_the_console_script_got_it(root: Path) -> None:
    """Who gave the model as an argument reads of the argument, not of a variable."""
    code = "import sys; sys.argv = ['gan-serve', 'none.onnx']; from serving.__main__ import run_serve; sys.exit(run_serve())"
    environ = {**os.environ, "GAN_PROVIDER": "cpu"}
    ended = subprocess.run([sys.executable, "-c", code], cwd=root, env=environ, capture_output=True, text=True)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == "serving: MODEL must name .onnx files or folders of them, got 'none.onnx' with none there\n"


@pytest.mark.process
def test_verify_ends_on_ctrl_c_without_a_traceback(root: Path) -> None:
    """The signal ends the program, as it ends others."""
    code = "import os; from serving.__main__ import main; main(['verify', 'none.png'], {}); os.kill(os.getpid(), 2)"
    ended = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert ended.returncode == -signal.SIGINT
    assert "Traceback" not in ended.stderr


def verify_error(capsys: pytest.CaptureFixture[str], *arguments: str, **environ: str) -> str:
    """The error line of ``verify`` when it cannot compare."""
    assert main(["verify", *arguments], {"GAN_PROVIDER": "cpu", **environ}) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    return err


@pytest.mark.parametrize(
    ("make", "reason"), [(os.mkfifo, "a regular file"), (os.mkdir, "cannot be read"), (None, "No such file")]
)
def test_a_path_that_is_not_a_file_is_refused_at_once(
    make: Callable[[Path], None] | None, reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A pipe, a folder or a missing file instead of the picture is one error line and exit code 2."""
    if make is not None:
        make(tmp_path / "x.png")
    assert reason in verify_error(capsys, str(tmp_path / "x.png"))


def test_a_huge_file_is_not_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A sparse file of a terabyte is refused after the maximum number of bytes of a picture."""
    with (tmp_path / "x.png").open("wb") as file:
        file.truncate(2**40)
    assert "1..1052576 bytes by GAN_MAX_PIXELS" in verify_error(capsys, str(tmp_path / "x.png"), GAN_MAX_PIXELS="1000")


def test_a_file_name_is_escaped_in_the_error_line(capsys: pytest.CaptureFixture[str]) -> None:
    """A newline or an invalid UTF-8 byte in the file name is escaped."""
    assert verify_error(capsys, "a\n\udcff.png").startswith("a\\n\\udcff.png: cannot be read")


def test_missing_models_are_reported(picture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A path without models is exit code 2 and a line that names the option or the variable which gave it."""
    assert ": --models must name .onnx files or folders of them, got 'none'" in verify_error(
        capsys, str(picture), "--models", "none"
    )
    assert ": --models must be model files or folders" in verify_error(capsys, str(picture), "--models", "")
    assert ": GAN_MODELS must name .onnx files" in verify_error(capsys, str(picture), GAN_MODELS="none")


def test_without_settings_the_models_of_the_checkout_are_searched(
    picture: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without GAN_MODELS and --models, ``models/*.onnx`` and ``runs/*/model.onnx`` are searched for the picture's model."""
    monkeypatch.chdir(tmp_path)
    assert "no model to compare with in models/ and runs/*/" in verify_error(capsys, str(picture))
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "empty.onnx").touch()
    assert "found are models/empty.onnx (the file must have 1.." in verify_error(capsys, str(picture))
    (tmp_path / "runs" / "grey").mkdir(parents=True)
    shutil.copy(folder / "1-grey.onnx", tmp_path / "runs" / "grey" / "model.onnx")
    assert main(["verify", str(picture)], {"GAN_PROVIDER": "cpu"}) == 0
    assert "match, bytes equal" in capsys.readouterr().out


def test_a_refused_model_is_reported(
    picture: Path, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model whose goldens do not match on this machine is an error with its file and the reason, and exit code 2."""
    monkeypatch.setattr("serving.model.determinism._is_close", lambda *arguments: False)
    assert f"{folder}/1-grey.onnx: golden seed 0" in verify_error(capsys, str(picture), "--models", str(folder))


def test_an_unexpected_error_is_one_line(
    picture: Path, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unexpected exception is reported by its class and message, without a traceback."""

    def fail(*arguments: object, **options: object) -> None:
        raise MemoryError("secret\n" * 2)

    monkeypatch.setattr("serving.verify.model_from_bytes", fail)
    assert "cannot be compared: MemoryError: secret\\n" in verify_error(capsys, str(picture), "--models", str(folder))
