"""WebDataset shards: tar files whose members with one key are one sample, a picture and its class."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path, PurePosixPath

from training.data.errors import DataError
from training.data.pictures import SUFFIXES, BadFile, PictureFile
from training.errors import first_line

CLASS = ".cls"
LONGEST_CLASS = 1000
"""Bytes of a class's name at most."""


def read_shards(name: str, root: Path, shards: list[str], bad: list[BadFile]) -> tuple[list[PictureFile], list[str]]:
    """The pictures of uncompressed tar files, sorted by shard and member, and their classes; none without .cls members.

    Nothing is unpacked: a picture is read from its place in the shard.

    Raises:
        DataError: some pictures have a class and one has none.
    """
    pictures: list[PictureFile] = []
    classes: dict[tuple[str, str], str] = {}
    for shard in sorted(shards):
        try:
            if not is_whole(root / shard):
                bad.append(BadFile(PurePosixPath(shard), "has no end of a tar file: it is cut, compressed, or no tar file"))
                continue
            with tarfile.open(root / shard, "r:") as archive:
                for member in archive:
                    path = PurePosixPath(shard, member.name)
                    if not member.isreg() or path.name.startswith("."):
                        continue
                    if path.suffix == CLASS:
                        file = archive.extractfile(member)
                        assert file is not None  # a regular member
                        classes[key_of(path)] = file.read(LONGEST_CLASS).decode(errors="replace").strip()
                    elif path.suffix.lower() in SUFFIXES:
                        pictures.append(PictureFile(path, root / shard, (member.offset_data, member.size)))
        except (tarfile.TarError, OSError) as error:
            reason = getattr(error, "strerror", None) or first_line(error)
            bad.append(BadFile(PurePosixPath(shard), f"cannot be read ({reason})"))
    pictures.sort(key=lambda picture: picture.path.parts)
    if not classes:
        return pictures, []
    bare = next((picture for picture in pictures if key_of(picture.path) not in classes), None)
    if bare is not None:
        raise DataError(f"{name}: all pictures of shards have a {CLASS} member or none has, but {str(bare.path)!r} has none")
    return pictures, [classes[key_of(picture.path)] for picture in pictures]


def is_whole(path: Path) -> bool:
    """Whether a file ends in zeros as a tar file does; ``tarfile`` takes one that is cut in a header for a shorter one."""
    with path.open("rb") as file:
        length = file.seek(0, os.SEEK_END)
        file.seek(max(0, length - tarfile.BLOCKSIZE))
        return length % tarfile.BLOCKSIZE == 0 and file.read() == bytes(tarfile.BLOCKSIZE)


def key_of(path: PurePosixPath) -> tuple[str, str]:
    """What the members of a sample have in common: the folder, and the name up to its first dot."""
    return str(path.parent), path.name.partition(".")[0]
