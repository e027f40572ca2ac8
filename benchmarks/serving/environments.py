"""The virtual environment of each contender, made on demand from the exact versions in its requirements.txt."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

from benchmarks.serving.contender import FOLDER, ROOT, Contender

VENVS = ROOT / ".build" / "bench-serve" / "venvs"


class InstallError(Exception):
    """A contender cannot be installed here; the message says why."""


def python_for(contender: Contender) -> Path:
    """The interpreter that a contender runs in, its packages installed.

    Raises:
        InstallError: they cannot be.
    """
    requirements = FOLDER / contender.venv / "requirements.txt"
    if not requirements.exists():
        return Path(sys.executable)
    venv = VENVS / contender.venv
    python = venv / "bin" / "python"
    stamp = venv / f".installed-{hashlib.sha256(requirements.read_bytes()).hexdigest()[:16]}"
    if not stamp.exists():
        print(f"installing {contender.venv} in {venv.relative_to(ROOT)}", flush=True)
        _run([sys.executable, "-m", "venv", "--clear", str(venv)])
        _run([str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", str(requirements)])
        stamp.touch()
    return python


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        lines = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        raise InstallError(f"cannot be installed: {' '.join(lines[-1:])[:300]}")
