"""What every test may use. It must import without torch: the tests of contract and serving run without it, too."""

from __future__ import annotations

import fcntl
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
os.environ.setdefault(
    "OMP_NUM_THREADS", "1"
)  # pytest-xdist starts more processes than there are cores; threads would only wait for each other
settings.register_profile("project", deadline=None, print_blob=True, derandomize=bool(os.environ.get("CI")))
settings.load_profile("project")


QUICK_PROGRAMS = {"git"}
"""What a test may start without being marked ``process``: it takes milliseconds."""
_may_start_programs = True


def _refuse_programs(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "subprocess.Popen" and not _may_start_programs and arguments[1][0] not in QUICK_PROGRAMS:
        raise AssertionError(f"a test that starts a program is marked process; this one started {arguments[1]}")


sys.addaudithook(_refuse_programs)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Only a test marked ``process`` may start programs, so that ``make test-quick`` leaves out all that do."""
    global _may_start_programs
    _may_start_programs = item.get_closest_marker("process") is not None
    try:
        return (yield)
    finally:
        _may_start_programs = True


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Two workers more than there are cores: tests with servers wait for half of their time.

    The quick tests start none, and each worker collects all tests for ten seconds and more: one more than there are cores.
    """
    return len(os.sched_getaffinity(0)) + (1 if "not process" in config.option.markexpr else 2)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip tests marked gpu where there is none; run the process tests of a module in one worker: its server starts once.

    Long tests come first, so that at the end no worker has a long one left while the others have nothing to do.
    """
    for item in items:
        if item.get_closest_marker("process") and not item.get_closest_marker("xdist_group"):
            item.add_marker(pytest.mark.xdist_group(item.path.name))
    slow_modules = {item.path for item in items if item.get_closest_marker("slow") and item.get_closest_marker("process")}

    def order(item: pytest.Item) -> int:
        if item.get_closest_marker("process"):
            return 0 if item.path in slow_modules else 1
        return 2 if item.get_closest_marker("slow") else 3

    items.sort(key=order)
    if shutil.which("nvidia-smi") is None:
        for item in items:
            if item.get_closest_marker("gpu"):
                item.add_marker(pytest.mark.skip(reason="no NVIDIA GPU here"))


@pytest.fixture(scope="session")
def root() -> Path:
    """The top of the repository."""
    return Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session", autouse=True)
def _cache(shared_folder: Path) -> Iterator[None]:
    """``TEST_CACHE``: one cache folder for all tests of a session, so that a classifier is trained once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TEST_CACHE", str(shared_folder / "cache"))
        yield


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of this test run, the same in all processes of pytest-xdist."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@pytest.fixture(scope="session")
def make_once(shared_folder: Path) -> Callable[[str, Callable[[Path], None]], Path]:
    """A function that returns a folder filled by ``make``, once a test run: the other processes wait, then find it there."""

    def once(name: str, make: Callable[[Path], None]) -> Path:
        folder = shared_folder / name
        with (shared_folder / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not folder.exists():
                started = folder.with_name(f"{name}.part")
                shutil.rmtree(started, ignore_errors=True)
                started.mkdir()
                make(started)
                started.rename(folder)
        return folder

    return once
