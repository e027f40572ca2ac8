"""A picture of the service, and what ``verify`` says of a file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from serving.__main__ import main
from serving.generation.generate import Service
from tests.serving.client import fetch as ask_service

Fetch = Callable[[str], bytes]
Check = Callable[..., tuple[int, str]]


@pytest.fixture
def fetch(make_service: Callable[..., Service]) -> Fetch:
    """The PNG that the service answers to a query."""
    service = make_service()
    return lambda query: ask_service(service, f"{query}&format=png").body


@pytest.fixture
def check(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Check:
    """Exit code and the one line that is said of a file; the line is on stderr exactly when the code is 2."""

    def run(data: bytes, *, models: str = str(folder), **variables: str) -> tuple[int, str]:
        path = tmp_path / "x.png"
        path.write_bytes(data)
        capsys.readouterr()
        code = main(["verify", str(path), "--models", models], {"GAN_PROVIDER": "cpu", **variables})
        out, err = capsys.readouterr()
        assert (out if code == 2 else err) == ""
        line = err if code == 2 else out
        assert line.startswith(f"{path}: ")
        assert line.endswith("\n")
        assert line.count("\n") == 1
        assert line.isascii()
        assert len(line) < 1000
        return code, line.removeprefix(f"{path}: ")[:-1]

    return run
