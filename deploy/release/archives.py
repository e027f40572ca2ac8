"""What is shipped as archives: the wheel, and for each image what its build needs; the same bytes for the same files."""

from __future__ import annotations

import gzip
import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path

SOURCES = ("LICENSE", "pyproject.toml", "contract", "gan_serve", "serving", "training")
"""What the wheel is built from."""
MAX_DATE = 2**32 - 1
"""Seconds since 1970, at most: a wheel has dates until 2107."""


class BuildError(Exception):
    """The wheel cannot be built; the message is one line."""


def build_wheel(project: Path, out: Path, scratch: Path, environ: Mapping[str, str]) -> Path:
    """Build the project's wheel in ``out`` from a copy, so that nothing is left in the tree and no permission of it matters.

    Raises:
        BuildError: the last line says why.
    """
    for path in _files(project, SOURCES):
        copy = scratch / path.relative_to(project)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
        copy.chmod(0o644)
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(scratch)]
    done = subprocess.run(command, cwd=scratch, env=dict(environ), capture_output=True, text=True, umask=0o022)
    if done.returncode:
        raise BuildError((done.stderr.strip() or done.stdout.strip() or "build failed").splitlines()[-1])
    (wheel,) = out.glob("*.whl")
    return wheel


def context(project: Path, dockerfile: str, epoch: int) -> bytes:
    """A ``.tar.gz`` of a Dockerfile as ``Dockerfile`` and all that it copies, every file as old as ``epoch`` says."""
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", (project / dockerfile).read_text(), re.MULTILINE)
    names = sorted({name for line in copied for name in line.split()})
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        _add(archive, "Dockerfile", (project / dockerfile).read_bytes(), epoch)
        for path in _files(project, names):
            _add(archive, str(path.relative_to(project)), path.read_bytes(), epoch)
    return gzip.compress(plain.getvalue(), 9, mtime=0)


def _add(archive: tarfile.TarFile, name: str, data: bytes, epoch: int) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mtime, info.mode = len(data), epoch, 0o644
    archive.addfile(info, io.BytesIO(data))


def _files(project: Path, names: tuple[str, ...] | list[str]) -> Iterator[Path]:
    for name in names:
        found = sorted((project / name).rglob("*")) if (project / name).is_dir() else [project / name]
        yield from (path for path in found if path.is_file() and "__pycache__" not in path.parts)


def source_date(project: Path, environ: Mapping[str, str]) -> int:
    """Seconds since 1970 that everything made is dated to: SOURCE_DATE_EPOCH, else the last commit's, else 1980's first.

    Raises:
        BuildError: SOURCE_DATE_EPOCH is no number of seconds that archives can hold.
    """
    if (text := environ.get("SOURCE_DATE_EPOCH")) is not None:
        if not re.fullmatch("[0-9]{1,10}", text, re.ASCII) or int(text) > MAX_DATE:
            raise BuildError(f"SOURCE_DATE_EPOCH must be 0..{MAX_DATE}, got {text!r}")
        return int(text)
    if (project / ".git").exists() and shutil.which("git"):
        command = ["git", "-c", f"safe.directory={os.fspath(project)}", "log", "-1", "--format=%ct"]
        done = subprocess.run(command, cwd=project, capture_output=True, text=True)
        if done.returncode == 0 and done.stdout.strip():
            return int(done.stdout)
    return 315532800
