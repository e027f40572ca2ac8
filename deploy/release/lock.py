"""What an image installs, to the last package: names, versions and digests as pip resolves them here and now."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from packaging.utils import canonicalize_name

from deploy.release.processes import run

PROJECT = "gan-serve"


@dataclass(frozen=True, order=True)
class Pin:
    """One package."""

    name: str
    """As PyPI writes it, in its canonical form."""
    version: str
    digest: str
    """SHA-256 of the archive that pip chose for this machine."""


class LockError(Exception):
    """pip cannot resolve what is asked for; the message is its last line."""


def resolve(project: Path, extras: Sequence[str]) -> list[Pin]:
    """What ``pip install -c constraints.txt 'gan-serve[extras]'`` takes in an empty environment of this Python, by name.

    Raises:
        LockError: pip says why.
    """
    with tempfile.TemporaryDirectory(prefix="gan-lock-") as folder:
        for name in ("pyproject.toml", "constraints.txt"):
            shutil.copy(project / name, folder)
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed", "--no-build-isolation"]
        how = ["--only-binary", ":all:", "-c", "constraints.txt", "--report", "report.json", f".[{','.join(extras)}]"]
        # pip's own temporary files lie there, too: it removes none of them if it is killed
        done = run([*pip, *how], cwd=Path(folder), env={**os.environ, "TMPDIR": folder})
        if done.returncode:
            raise LockError((done.stderr.strip() or "pip failed").splitlines()[-1])
        report = json.loads((Path(folder) / "report.json").read_text())
    return pins_of(report)


def pins_of(report: dict[str, list[dict[str, dict[str, dict[str, dict[str, str]]]]]]) -> list[Pin]:
    """The packages in pip's installation report, the project itself left out."""
    found = []
    for item in report["install"]:
        name, version = str(item["metadata"]["name"]), str(item["metadata"]["version"])
        if canonicalize_name(name) != PROJECT:
            found.append(Pin(canonicalize_name(name), version, item["download_info"]["archive_info"]["hashes"]["sha256"]))
    return sorted(found)


def requirements(pins: Sequence[Pin]) -> str:
    """The pins as a file for ``pip install --require-hashes -r``."""
    return "".join(f"{pin.name}=={pin.version} --hash=sha256:{pin.digest}\n" for pin in pins)
