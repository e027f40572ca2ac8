"""The commit and the files that a figure was made with."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Iterable
from pathlib import Path


def describe_commit(root: Path, *folders: str) -> str:
    """The commit's first twelve digits, with a plus sign where folders differ from it; ``unknown`` outside of git."""
    commit = _git(root, "rev-parse", "--short=12", "HEAD")
    if not commit:
        return "unknown"
    return commit + ("+" if _git(root, "status", "--porcelain", "--", *folders) else "")


def digest_files(root: Path, files: Iterable[Path]) -> str:
    """SHA-256 over the names below ``root`` and the bytes of files, in the order of their names."""
    digest = hashlib.sha256()
    for path in sorted(files):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(root).as_posix()} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def _git(root: Path, *words: str) -> str:
    try:
        command = ["git", "-C", str(root), *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
