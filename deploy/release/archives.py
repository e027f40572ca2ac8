"""What is shipped as archives: the wheel, and for each image what its build needs; the same bytes for the same files.

Where the project has a history, git says which files belong to it; elsewhere all of them do.
"""

from __future__ import annotations

import gzip
import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from deploy.release.processes import run

SOURCES = ("LICENSE", "pyproject.toml", "contract", "gan_serve", "serving", "training")
"""What the wheel is built from."""
DOCKERFILES = ("Dockerfile.serve", "Dockerfile.train")
BUILD_ARGUMENTS: dict[str, dict[str, str]] = {"serve": {"BASE": "ubuntu:24.04", "RUNTIME": "serve"}, "serve-gpu": {}}
"""By runtime, the build arguments that differ from the defaults of the Dockerfiles."""
MAX_DATE = 2**32 - 1
"""Seconds since 1970, at most: a wheel has dates until 2107."""


class BuildError(Exception):
    """The archives cannot be made; the message is one line."""


def check_tree(project: Path) -> str:
    """Check that what would be shipped is what the last commit has; that commit, or nothing for a project without a history.

    Raises:
        BuildError: naming a file that has changed since, one whose changes git does not look for, or one below the shipped
            folders that no commit has.
    """
    if not (project / ".git").exists():
        return ""
    shipped = {*SOURCES, *(name for dockerfile in DOCKERFILES for name in copied_by(project, dockerfile))}
    entries = _git(project, "status", "--porcelain", "-z", "--no-renames", "--untracked-files=all")
    wrong = [entry[3:] for entry in entries if not entry.startswith("??") or _is_below(entry[3:], shipped)]
    if wrong:
        others = f" and {len(wrong) - 1} others" if len(wrong) > 1 else ""
        raise BuildError(
            f"the tree differs from the last commit, which dates a release, in {wrong[0]}{others}: commit or stash it"
        )
    for entry in _git(project, "ls-files", "-v", "-z"):
        if entry[0] in "Ss" or entry[0].islower():
            flag = "skip-worktree" if entry[0] in "Ss" else "assume-unchanged"
            raise BuildError(f"git does not look for changes of {entry[2:]}: git update-index --no-{flag} {entry[2:]}")
    return _git(project, "rev-parse", "HEAD")[0].strip()


def _is_below(name: str, shipped: set[str]) -> bool:
    """Whether a file is one of the shipped ones, or in a folder of them."""
    return any(name == path or name.startswith(f"{path}/") for path in shipped)


def _git(project: Path, *arguments: str) -> list[str]:
    """What a git command lists, one item for each NUL.

    Raises:
        BuildError: git is missing, or fails; the message is its last line.
    """
    if shutil.which("git") is None:
        raise BuildError("git is not installed, and says which files belong to a release")
    options = ["--no-optional-locks", "--literal-pathspecs", "-c", f"safe.directory={os.fspath(project)}"]
    done = subprocess.run(["git", *options, *arguments], cwd=project, capture_output=True, text=True)
    if done.returncode:
        raise BuildError((done.stderr.strip() or "git failed").splitlines()[-1])
    return [item for item in done.stdout.split("\0") if item]


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
    # What the build leaves there if it is killed goes with the scratch folder.
    temporary = scratch.with_name(f"{scratch.name}-tmp")
    temporary.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(scratch)]
    done = run(command, cwd=scratch, env={**environ, "TMPDIR": os.fspath(temporary)}, umask=0o022)
    if done.returncode:
        raise BuildError((done.stderr.strip() or done.stdout.strip() or "build failed").splitlines()[-1])
    (wheel,) = out.glob("*.whl")
    return wheel


def copied_by(project: Path, dockerfile: str) -> list[str]:
    """The files and folders of the project that a Dockerfile copies, in order."""
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", (project / dockerfile).read_text(), re.MULTILINE)
    return sorted({name for line in copied for name in line.split()})


def context(project: Path, dockerfile: str, runtime: str, epoch: int) -> bytes:
    """A ``.tar.gz`` of a Dockerfile and all that it copies.

    Args:
        project: folder of the project.
        dockerfile: name of the Dockerfile, which is ``Dockerfile`` in the archive.
        runtime: ``serve`` or ``serve-gpu``, which the archive's Dockerfile installs by default.
        epoch: date of every file, in seconds since 1970.
    """
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        _add(archive, "Dockerfile", _with_defaults((project / dockerfile).read_text(), runtime).encode(), epoch)
        for path in _files(project, copied_by(project, dockerfile)):
            _add(archive, str(path.relative_to(project)), path.read_bytes(), epoch)
    return gzip.compress(plain.getvalue(), 9, mtime=0)


def _with_defaults(dockerfile: str, runtime: str) -> str:
    """A Dockerfile's text with the build arguments of a runtime as defaults.

    Raises:
        BuildError: it has no such argument, or several.
    """
    for name, value in BUILD_ARGUMENTS[runtime].items():
        dockerfile, count = re.subn(rf"^ARG {name}=.*$", f"ARG {name}={value}", dockerfile, flags=re.MULTILINE)
        if count != 1:
            raise BuildError(f"a Dockerfile must have one line ARG {name}=, has {count}")
    return dockerfile


def _add(archive: tarfile.TarFile, name: str, data: bytes, epoch: int) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mtime, info.mode = len(data), epoch, 0o644
    archive.addfile(info, io.BytesIO(data))


def _files(project: Path, names: Sequence[str]) -> Iterator[Path]:
    """The files of the project at these paths and below them, in order, without those that git ignores."""
    if (project / ".git").exists():
        listed = _git(project, "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *names)
        yield from (path for path in sorted({project / name for name in listed}) if path.is_file())
        return
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
