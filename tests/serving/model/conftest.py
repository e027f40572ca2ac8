"""A signed model file and the keys that vouch for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.serving.model.signing import KEY, pem, put_release


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    """The file of public keys."""
    path = tmp_path / "keys.pem"
    path.write_bytes(pem(KEY))
    return path


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """The file of the model that is served, signed with serial 5."""
    path = tmp_path / "m.onnx"
    put_release(path, 5)
    return path
