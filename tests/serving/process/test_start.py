"""A service that cannot start ends with one line that says why."""

from __future__ import annotations

import json
import shutil
import socket
from pathlib import Path
from typing import Any

import pytest

from tests.harness.service import run_to_end
from tests.serving import tiny_onnx

pytestmark = pytest.mark.process


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"port": "http"}, "serving: GAN_PORT must be an integer 1..65535, got 'http'\n"),
        ({"models": "/nowhere/x.onnx"}, "serving: GAN_MODELS must name .onnx files or folders of them, got '/nowhere/x.onnx'"),
    ],
)
def test_a_wrong_setting_is_one_line_and_exit_code_2(root: Path, settings: dict[str, Any], line: str) -> None:
    """The line names the variable, its value and the allowed values."""
    ended = run_to_end(root, workers=2, **settings)
    assert ended.returncode == 2
    assert ended.stderr.startswith(line)
    assert ended.stderr.count("\n") == 1


def test_a_refused_model_is_one_line_and_exit_code_1(root: Path, tmp_path: Path) -> None:
    """A broken model file stops the service at start with the file's name and the reason, and the log's last line says why."""
    (tmp_path / "m.onnx").write_bytes(tiny_onnx.grey()[:-1])
    ended = run_to_end(root, models=tmp_path / "m.onnx")
    assert ended.returncode == 1
    assert ended.stderr == f"serving: {tmp_path}/m.onnx: the file is truncated or not an ONNX model\n"
    last = json.loads(ended.stdout.splitlines()[-1])
    assert (last["event"], last["exit_code"], last["reason"]) == ("stop", 1, "no worker could start")


def test_missing_cuda_is_one_line_and_exit_code_1(root: Path, folder: Path) -> None:
    """F-22: ``GAN_PROVIDER=cuda`` without CUDA does not start."""
    if shutil.which("nvidia-smi"):
        pytest.skip("CUDA may be available")
    ended = run_to_end(root, workers=2, models=folder, provider="cuda")
    assert ended.returncode == 1
    assert ended.stderr.startswith("serving: GAN_PROVIDER=cuda, but ")
    assert ended.stderr.count("\n") == 1


def test_a_port_in_use_is_an_error(root: Path, folder: Path) -> None:
    """F-27: a port on which another program listens is one line and exit code 1."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        ended = run_to_end(root, workers=2, models=folder, port=other.getsockname()[1])
    assert ended.returncode == 1
    assert ended.stderr.startswith("serving: cannot listen on 127.0.0.1:")
    assert ended.stderr.count("\n") == 1
