"""The folder that a release is written to, and what may be deleted there: an older release, each file with its digest."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from deploy.release.processes import unstoppable

SUMS = "SHA256SUMS"
SIGNATURE = "SHA256SUMS.sig"
"""The ed25519 signature of a release's sums, 64 bytes."""
MODELS = "model"
"""The one folder inside a release."""

_VERSION = r"[0-9][0-9A-Za-z.+!_]*"
_NAMES = re.compile(
    rf"gan_serve-{_VERSION}-py3-none-any\.whl"
    rf"|gan-serve-{_VERSION}-(?:(?:serve|train)-image\.tar\.gz|serve(?:-gpu)?\.(?:requirements\.txt|cdx\.json))"
    rf"|{MODELS}/(?:{SUMS}|card\.json|model\.onnx|model\.onnx\.sig)"
)
_LINE = re.compile(r"([0-9a-f]{64})  ([^\n]+)\n")
_MAX_SUMS = 2**16
"""Bytes; the sums of a release have about a thousand."""


class ReleaseError(Exception):
    """There is no release; the message is one line."""


class LeftoverError(Exception):
    """The release is there, and something else is left to be deleted; the message is one line."""


def check_place(out: Path) -> None:
    """Check that a release may be put at a path.

    Raises:
        ReleaseError: what is there must not be deleted, or cannot be renamed.
        OSError: it cannot be read, or its parent is a file.
    """
    if out == out.parent or out.is_mount():
        raise ReleaseError(f"{out} is a root or a mount point, which cannot be replaced; name a folder in it")
    with suppress(FileNotFoundError):
        if not stat.S_ISDIR(out.lstat().st_mode):
            raise ReleaseError(f"{out} is a file; a release is a folder")
    if other := next(others_in(out), None):
        raise ReleaseError(f"{out} holds something that is no release, {other}; it is not replaced")


def replace(out: Path, made: Path, aside: Path) -> None:
    """Put the folder ``made`` at ``out``; an older release there is renamed to ``aside``, then deleted.

    At ``out`` is then either folder, whole.

    Raises:
        ReleaseError: ``out`` has something else by now.
        OSError: it is as before.
        LeftoverError: the new one is there, and the older one cannot be deleted.
    """
    check_place(out)
    with unstoppable():
        with suppress(FileNotFoundError):
            out.rename(aside)
        try:
            made.rename(out)
        except OSError:
            with suppress(FileNotFoundError):
                aside.rename(out)
            raise
        try:
            if aside.exists():
                shutil.rmtree(aside)
        except OSError as error:
            raise LeftoverError(f"{out} is the new release; the older one is left at {aside}: {error.strerror}") from None


def others_in(folder: Path) -> Iterator[str]:
    """What of a folder is not an older release's, by its path there; nothing is read further than is asked for.

    A file is an older release's if a release writes one of its name, and if the digest in ``SHA256SUMS`` is its own. Anything
    else counts, also an empty folder, a link, a pipe. A file of the release that is missing does not.

    Raises:
        OSError: something cannot be read.
    """
    names = sorted(os.listdir(folder)) if folder.is_dir() else []
    digests = _digests_in(folder / SUMS) if SUMS in names else {}
    for name in names:
        mode = (folder / name).lstat().st_mode
        if name == MODELS and stat.S_ISDIR(mode) and digests:
            inside = sorted(os.listdir(folder / name))
            yield from (path for path in (f"{name}/{one}" for one in inside) if not _is_listed(folder, path, digests))
        elif not _is_listed(folder, name, digests):
            yield name


def _is_listed(folder: Path, name: str, digests: dict[str, str]) -> bool:
    """Whether a path is a regular file with the digest that the sums of a release have of it, or is these sums."""
    path = folder / name
    if not stat.S_ISREG(path.lstat().st_mode):
        return False
    if name in (SUMS, SIGNATURE):
        return bool(digests)
    return name in digests and _digest(path) == digests[name]


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _digests_in(path: Path) -> dict[str, str]:
    """By name, the digests in a release's sums; none if it is no such file."""
    status = path.lstat()
    if not stat.S_ISREG(status.st_mode) or status.st_size > _MAX_SUMS:
        return {}
    lines = [_LINE.fullmatch(line) for line in path.read_text(errors="replace").splitlines(keepends=True)]
    found = {line[2]: line[1] for line in lines if line}
    return found if len(found) == len(lines) and all(map(_NAMES.fullmatch, found)) else {}
