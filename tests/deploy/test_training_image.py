"""The training image's program as the first process of a container: signals reach it, and it saves."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.harness.processes import wait_until
from tests.repository.files import ROOT, last_stage

pytestmark = [pytest.mark.process, pytest.mark.slow]

CONTAINED = ("unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child", "--mount-proc")
"""A new PID namespace, in which the program is process 1, as in a container without --init."""


def program() -> list[str]:
    """The image's command, up to the arguments of ``train``, run by this Python."""
    (command,) = [json.loads(rest) for keyword, rest in last_stage("Dockerfile.train") if keyword == "CMD"]
    return [sys.executable if word == "/app/.venv/bin/python" else word for word in command[: command.index("train") + 1]]


def first_process(unshare: int) -> int:
    """The process that is number 1 in the namespace."""
    return int(Path(f"/proc/{unshare}/task/{unshare}/children").read_text())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_the_container_saves_and_ends(tmp_path: Path, number: signal.Signals) -> None:
    """Ctrl-C of `docker run` and `docker stop` reach training: it saves a checkpoint and ends with 130 or 143."""
    try:
        subprocess.run([*CONTAINED, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("needs unshare and the right to make namespaces")
    run = tmp_path / "run"
    options = ["toy1d", "--device", "cpu", "--steps", "1000000", "--checkpoint-seconds", "1000000", "--out", str(run)]
    command = [*CONTAINED, *program(), *options]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        journal = run / "stats.jsonl"
        wait_until(lambda: journal.exists() and journal.stat().st_size > 0, "it trains", 120)
        os.kill(first_process(process.pid), number)
        assert process.wait(120) == 128 + number
    finally:
        process.kill()  # and with it all of the namespace
        process.wait(60)
    assert list(run.glob("checkpoint-*"))
