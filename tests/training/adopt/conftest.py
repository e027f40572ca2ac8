"""The command ``adopt`` in this process, in a folder that holds ``generators.py``."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from training.__main__ import main

FOLDER = Path(__file__).parent
Adopt = Callable[..., tuple[int, str]]


@pytest.fixture
def adopt(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Adopt:
    """Run ``adopt SOURCE OPTIONS`` into ``tmp_path/model.onnx``; returns the exit code and what was printed."""
    monkeypatch.chdir(FOLDER)
    monkeypatch.setattr(sys, "path", list(sys.path))

    def run(source: str, *options: str) -> tuple[int, str]:
        words = ["adopt", source, *options]
        for name, value in (
            ("--output", "tanh"),
            ("--name", "mine"),
            ("--licence", "CC0"),
            ("--out", str(tmp_path / "model.onnx")),
        ):
            words += [] if name in options else [name, value]
        code = main(words)
        captured = capsys.readouterr()
        return code, captured.out + captured.err

    return run
