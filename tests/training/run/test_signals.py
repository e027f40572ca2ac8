"""What signals and closed terminals do to a training job."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.training.run.conftest import step_of
from training.interrupts import quiet_interrupts
from training.run.job import MODEL


@pytest.mark.process
def test_a_signal_saves_at_the_next_step_and_tells_by_its_exit_code(tmp_path: Path) -> None:
    """SIGTERM ends with 143; the checkpoint is there, a model is not, and it can be resumed. For SIGINT see ``test_kills``."""
    command = [
        sys.executable,
        "-m",
        "training",
        "train",
        "toy1d",
        "--steps",
        "1000000",
        "--out",
        str(tmp_path),
        "--device",
        "cpu",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        said = process.communicate(timeout=120)[0]
    assert process.returncode == 128 + signal.SIGTERM, said
    assert step_of(tmp_path) > 0
    assert not (tmp_path / MODEL).exists()


@pytest.mark.process
def test_a_closed_terminal_saves_and_ends(tmp_path: Path) -> None:
    """SIGHUP and an output without a reader, as when a window or a connection is closed, end with 129 and a checkpoint."""
    master, terminal = os.openpty()
    words = ["toy1d", "--steps", "1000000", "--out", str(tmp_path), "--device", "cpu"]
    command = [sys.executable, "-m", "training", "train", *words]
    environ = {**os.environ, "PYTHONIOENCODING": "ascii"}
    with subprocess.Popen(command, stdout=terminal, stderr=terminal, env=environ) as process:
        os.close(terminal)
        said = b""
        while b"steps/s" not in said or b"loss" not in said:  # shown from the first record on
            said += os.read(master, 4096)
        os.close(master)
        time.sleep(0.5)
        process.send_signal(signal.SIGHUP)
        assert process.wait(timeout=120) == 128 + signal.SIGHUP
    assert step_of(tmp_path) > 0


def test_a_request_to_save_before_the_start_ends_nothing() -> None:
    """SIGUSR1 while the program is imported is ignored; a handler that was there stays."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGUSR1)}
    try:
        signal.signal(signal.SIGUSR1, signal.SIG_DFL)
        quiet_interrupts()
        signal.raise_signal(signal.SIGUSR1)
        signal.signal(signal.SIGUSR1, handled := lambda number, frame: None)
        quiet_interrupts()
        assert signal.getsignal(signal.SIGUSR1) == handled
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
