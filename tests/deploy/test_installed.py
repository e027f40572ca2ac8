"""The wheel, installed into a fresh environment: its commands work outside the checkout."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from deploy.release.archives import build_wheel
from tests.harness.processes import TIMEOUT, free_port
from tests.harness.service import ask, environment, wait_for_workers
from tests.serving import tiny_onnx

COMMANDS = ("gan-serve", "gan-verify", "gan-train")


@pytest.fixture(scope="module")
def installed(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the commands; the dependencies are those of this environment."""
    folder = tmp_path_factory.mktemp("installed")
    (folder / "dist").mkdir()
    wheel = build_wheel(root, folder / "dist", folder / "source", os.environ)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], check=True)
    bin_folder = folder / "venv/bin"
    pip = [sys.executable, "-m", "pip", "--python", str(bin_folder / "python"), "install"]
    subprocess.run([*pip, "--no-deps", "--no-index", "--quiet", str(wheel)], check=True)
    (site,) = (folder / "venv/lib").glob("python*/site-packages")
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return bin_folder


def outside(**settings: object) -> dict[str, str]:
    """An environment that does not lead to the checkout."""
    return {name: value for name, value in environment(**settings).items() if name != "PYTHONPATH"}


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.parametrize("command", COMMANDS)
def test_help_names_the_command_and_fits_a_screen(installed: Path, tmp_path: Path, command: str) -> None:
    """Exit code 0, the command's own name, at most 40 lines of 100 columns."""
    environ = {**outside(), "COLUMNS": "100"}
    done = subprocess.run([str(installed / command), "--help"], cwd=tmp_path, env=environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"usage: {command}")
    lines = done.stdout.splitlines()
    assert len(lines) <= 40
    assert max(map(len, lines)) <= 100


@pytest.mark.slow
@pytest.mark.process
def test_a_model_is_served_and_verified(installed: Path, tmp_path: Path) -> None:
    """`gan-serve model.onnx` answers, `gan-verify` makes the picture again, SIGTERM ends it with exit code 0."""
    (tmp_path / "model.onnx").write_bytes(tiny_onnx.grey())
    port = free_port()
    environ = outside(provider="cpu", port=port, workers=1, drain_seconds=0)
    with subprocess.Popen([str(installed / "gan-serve"), "model.onnx"], cwd=tmp_path, env=environ, text=True) as process:
        try:
            wait_for_workers(process, port, 1)
            answer = ask(port, "/generate?seed=42")
            assert answer.status == 200
            process.send_signal(signal.SIGTERM)
            assert process.wait(TIMEOUT) == 0
        finally:
            process.kill()
    (tmp_path / "42.png").write_bytes(answer.body)
    verify = [str(installed / "gan-verify"), "42.png", "--models", "model.onnx"]
    done = subprocess.run(verify, cwd=tmp_path, env=outside(), capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("42.png: match, bytes equal: seed 42 of grey")


@pytest.mark.slow
@pytest.mark.process
def test_bash_completes_as_the_page_says(installed: Path, root: Path, tmp_path: Path) -> None:
    """The lines of docs/SERVICE.md: files of the right kind for two commands, sub-commands for the third."""
    lines = re.findall(r"`(complete [^`]+|source [^`]+)`", (root / "docs/SERVICE.md").read_text())
    assert len(lines) == 3
    for name in ("model.onnx", "notes.txt", "42.png"):
        (tmp_path / name).touch()
    ask = [
        "COMP_WORDS=(gan-train re); COMP_CWORD=1; _tyro_gan_train gan-train re gan-train; echo ${COMPREPLY[@]}",
        *("complete -p " + name for name in ("gan-serve", "gan-verify")),
        "compgen -f -X '!*.onnx' -- ''",
    ]
    environ = outside() | {"PATH": f"{installed}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-c", "\n".join([*lines, *ask])], cwd=tmp_path, env=environ, capture_output=True, text=True, check=True
    )
    commands, serve, verify, files = done.stdout.splitlines()
    assert set(commands.split()) == {"resume", "reconstruct"}
    assert "*.onnx' gan-serve" in serve
    assert "*.png' gan-verify" in verify
    assert files == "model.onnx"


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.parametrize(
    ("entry", "package", "extra"),
    [
        ("serving.__main__:run_serve", "uvicorn", "serve"),
        ("serving.__main__:run_verify", "onnxruntime", "serve"),
        ("training.console:run", "torch", "train"),
    ],
)
def test_without_its_packages_a_command_names_the_extra(
    installed: Path, tmp_path: Path, entry: str, package: str, extra: str
) -> None:
    """One line and exit code 2 where a package of the extra is not installed."""
    module, _, function = entry.partition(":")
    code = f"import sys; sys.modules[{package!r}] = None; from {module} import {function}; sys.exit({function}())"
    words = [str(installed / "python"), "-c", code, "model.onnx"]
    done = subprocess.run(words, cwd=tmp_path, env=outside(), capture_output=True, text=True)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1), done.stderr
    assert f"needs {package}: pip install 'gan-serve[{extra}]'" in done.stderr
