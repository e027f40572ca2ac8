"""Child processes: started with arguments of any size, also when they end before they have read any."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.harness.processes import TIMEOUT

pytestmark = pytest.mark.process

PROGRAM = """
import multiprocessing, os, socket, sys
from multiprocessing import resource_tracker
from serving.process.children import leave_group, start_child

def work(text, ours, names):
    leave_group()
    ours.sendall(f"{len(text)} {len(names)} {sys.argv}".encode())

if __name__ == "__main__":
    context = multiprocessing.get_context("spawn")
    sys.argv += ["model.onnx"] * 100_000
    ours, theirs = socket.socketpair()
    resource_tracker.ensure_running()
    before = len(os.listdir("/proc/self/fd"))
    context.set_executable("/bin/false")
    child = start_child(context, work, "x" * 1_000_000, theirs, [])
    child.join()
    print(child.exitcode, len(sys.argv))
    context.set_executable(sys.executable)
    child.close()
    child = start_child(context, work, "x" * 1_000_000, theirs, ["n"] * 1000)
    print(ours.recv(100).decode())
    child.join()
    code = child.exitcode
    child.close()
    print(code, len(os.listdir("/proc/self/fd")) - before)
"""


def test_a_child_that_ends_before_it_reads_its_arguments_is_waited_for(root: Path, tmp_path: Path) -> None:
    """With more arguments than a pipe holds the launcher goes on; the next child gets them all, and nothing stays open."""
    (tmp_path / "program.py").write_text(PROGRAM)
    command = [sys.executable, str(tmp_path / "program.py")]
    ended = subprocess.run(command, cwd=root, env={"PYTHONPATH": str(root)}, capture_output=True, text=True, timeout=TIMEOUT)
    assert ended.stdout.splitlines() == ["1 100001", f"1000000 1000 [{command[1]!r}]", "0 0"], ended.stderr
