"""What every test may use. It must import without torch: the tests of contract and serving run without it, too."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
if "PYTEST_XDIST_WORKER" in os.environ:  # a process a core; OpenMP's own threads would only wait for each other
    os.environ.setdefault("OMP_NUM_THREADS", "1")
settings.register_profile("project", deadline=None, print_blob=True, derandomize=bool(os.environ.get("CI")))
settings.load_profile("project")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests marked gpu are skipped where there is none."""
    if shutil.which("nvidia-smi") is None:
        for item in items:
            if item.get_closest_marker("gpu"):
                item.add_marker(pytest.mark.skip(reason="no NVIDIA GPU here"))


@pytest.fixture(scope="session")
def root() -> Path:
    """The top of the repository."""
    return Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session", autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """``TEST_CACHE``: one cache folder for all tests of a session, so that a classifier is trained once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TEST_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield
