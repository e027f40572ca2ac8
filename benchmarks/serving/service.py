"""The service as the overload and soak benchmarks start it, and what its processes hold."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from benchmarks.serving.contender import ROOT
from tests.harness.service import Server, running

MODELS_FOLDER = ROOT / ".build" / "bench-serve" / "models"


@contextmanager
def service(models: Path, *, entry: str = "serving", **settings: object) -> Iterator[Server]:
    """Start the service with all its workers ready; GAN_* variables of this process apply where ``settings`` say nothing.

    Args:
        models: a model file or a folder of them.
        entry: module to run.
        settings: of the service, in lower case without GAN_.

    Raises:
        StartError: it did not start.
    """
    # Without a request log unless the environment asks for one: half an hour of requests is a gigabyte of lines.
    base = {"GAN_REQUEST_LOG": "off", **os.environ, "PYTHONPATH": str(ROOT)}
    given = {"models": models.resolve(), **settings}
    with running(ROOT, entry=entry, base=base, stdout=subprocess.DEVNULL, prefix=(), **given) as server:
        yield server


def find_model(name: str) -> Path:
    """The file of a fixed model, made if missing, or the file at the path ``name``."""
    from benchmarks.serving.fixed_models import MODELS, build  # not above: a load's process needs no torch

    return build(name, MODELS_FOLDER / f"{name}.onnx") if name in MODELS else Path(name).resolve()


def processes_of(server: Server) -> list[psutil.Process]:
    """The launcher and its descendants."""
    launcher = psutil.Process(server.process.pid)
    return [launcher, *launcher.children(recursive=True)]


def resident(processes: list[psutil.Process]) -> int:
    """Sum of the processes' resident bytes; a page that they share is counted in each."""
    total = 0
    for one in processes:
        with suppress(psutil.Error):
            total += one.memory_info().rss
    return total


def threads(processes: list[psutil.Process]) -> int:
    """Sum of the processes' threads."""
    total = 0
    for one in processes:
        with suppress(psutil.Error):
            total += one.num_threads()
    return total


def descriptors(processes: list[psutil.Process]) -> tuple[int, int]:
    """Number of open descriptors that are no sockets, and of sockets, clients' connections among them."""
    files = sockets = 0
    for one in processes:
        with suppress(OSError):
            for link in Path(f"/proc/{one.pid}/fd").iterdir():
                with suppress(OSError):
                    is_socket = os.readlink(link).startswith("socket:")
                    sockets += is_socket
                    files += not is_socket
    return files, sockets
