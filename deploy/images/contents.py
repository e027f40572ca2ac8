"""What is in an image's root, and what must not be: each finding is one line."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

FORBIDDEN_PACKAGES = {
    *("torch", "onnx", "onnxscript", "triton", "tensorboard", "matplotlib", "scipy", "scikit-learn", "mlxtend"),
    *("pytest", "hypothesis", "schemathesis", "mypy", "ruff"),
    *("pip", "setuptools", "wheel"),
}
"""Those of training, of the tests, and of installing."""
FORBIDDEN_PROGRAMS = {
    *("cc", "c++", "gcc", "g++", "clang", "tcc", "as", "ld", "make", "cmake", "rustc", "go"),
    *("pip", "pip3", "git"),
}
DOWNLOADS = ("var/lib/apt/lists", "var/cache/apt", "root/.cache", "tmp")
"""Folders that hold nothing in a finished image."""
SEARCHED = ("app", "etc", "root", "tmp", "usr/local", "var/lib/dpkg", "venv")
"""Where a build could leave a word of where its packages came from."""
LARGEST_SEARCHED = 2**22


def installed(root: Path) -> dict[str, str]:
    """Name to version of every Python package in the image, by ``pip freeze``; what comes from a folder is left out."""
    command = [sys.executable, "-m", "pip", "freeze", "--all", "--path", str(site_packages(root))]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    return {
        name.lower().replace("_", "-"): version for name, _, version in (line.partition("==") for line in lines if "==" in line)
    }


def site_packages(root: Path) -> Path:
    """The one folder of Python packages in the image's environment."""
    (found,) = (root / "venv/lib").glob("python*/site-packages")
    return found


def serving_faults(root: Path) -> list[str]:
    """What is in the serving image and must not be: training, compilers, installers, tests."""
    packages = sorted(set(installed(root)) & FORBIDDEN_PACKAGES)
    programs = sorted(str(path.relative_to(root)) for path in _programs(root) if path.name in FORBIDDEN_PROGRAMS)
    folders = [path for place in (site_packages(root), root / "app") for path in sorted(place.rglob("tests")) if path.is_dir()]
    tests = [str(path.relative_to(root)) for path in folders]
    ours = sorted(path.name for path in (root / "app").iterdir())
    faults = [f"{name} is installed" for name in packages] + [f"{name} is there" for name in [*programs, *tests]]
    return faults + ([] if ours == ["contract", "serving"] else [f"/app holds {', '.join(ours)}"])


def _programs(root: Path) -> Iterator[Path]:
    for folder in ("usr/bin", "usr/sbin", "usr/local/bin", "venv/bin"):
        yield from (root / folder).iterdir()


def faults(root: Path, history: str, words: Sequence[str]) -> list[str]:
    """What must be in no image: programs that lend rights, what was downloaded, a word of where packages came from.

    Args:
        root: the image's file system.
        history: the instructions that made it.
        words: hosts and folders of the caller's package index.
    """
    rights = stat.S_ISUID | stat.S_ISGID
    lending = [f"{p.relative_to(root)} has a setuid or setgid bit" for p in _files(root) if p.stat().st_mode & rights]
    left = [f"/{folder} is not empty" for folder in DOWNLOADS if list(_files(root / folder))]
    mounted = [f"/{name} is there" for name in ("packages", "etc/pip.conf") if (root / name).exists()]
    told = [f"the history says {word!r}" for word in words if word in history]
    return lending + left + mounted + told + [f"{path.relative_to(root)} says {word!r}" for path, word in _search(root, words)]


def _search(root: Path, words: Sequence[str]) -> Iterator[tuple[Path, str]]:
    for folder in SEARCHED:
        for path in _files(root / folder):
            if path.stat().st_size <= LARGEST_SEARCHED:
                data = path.read_bytes()
                yield from ((path, word) for word in words if word.encode() in data)


def _files(folder: Path) -> Iterator[Path]:
    """Regular files below a folder; links are not followed, as they lead out of the root."""
    for parent, _, names in os.walk(folder):
        yield from (path for name in names if (path := Path(parent, name)).is_file() and not path.is_symlink())
