"""The service as it runs on this machine, outside of any image, to compare with."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path

PATIENCE_S = 60.0


def answers_outside(project: Path, model: Path, paths: Sequence[str], log: Path) -> dict[str, bytes]:
    """The bodies that a service of this model gives for paths.

    Raises:
        OSError: it does not start, or an answer is no 200.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GAN_")}
    given = clean | {"GAN_MODELS": str(model), "GAN_PORT": str(port), "GAN_PROVIDER": "cpu"}
    with log.open("a") as file:
        process = subprocess.Popen([sys.executable, "-m", "serving"], cwd=project, env=given, stdout=file, stderr=file)
        try:
            address = f"http://127.0.0.1:{port}"
            _wait(process, f"{address}/readyz")
            return {path: _get(address + path) for path in paths}
        finally:
            process.terminate()
            process.wait(PATIENCE_S)


def _wait(process: subprocess.Popen[bytes], address: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            _get(address)
            return
        except urllib.error.URLError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def _get(address: str) -> bytes:
    with urllib.request.urlopen(address, timeout=PATIENCE_S) as reply:
        body: bytes = reply.read()
        return body
