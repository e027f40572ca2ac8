"""A zip file read strictly: what two readers could understand differently, or what costs more than it says, is refused.

Python reads a zip file by the directory at its end; TorchServe unpacks it from the front, entry by entry, and never looks at
the directory. So both must tell the same story: entries lie one behind the other from the first byte to the directory, each
local header says what the directory says, and each entry is inflated here to see that it is what it declares.
"""

from __future__ import annotations

import io
import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from deploy.torchserve.errors import ArchiveError

MAX_ENTRIES = 200
MAX_BYTES = 2**31 - 1
"""Of all entries together, unpacked: what one model file may have."""
MAX_RATIO = 100
"""How much larger than packed a large entry may be; deflate reaches 1,032."""
LARGE = 2**20
"""Bytes from which on an entry's ratio is looked at: text and tiny models pack well."""

LOCAL = struct.Struct("<4sHHHHHIIIHH")
END = struct.Struct("<4sHHHHIIH")
ENCRYPTED, UTF8 = 0x1, 0x800


def read_entries(data: bytes) -> dict[str, bytes]:
    """Every entry's content by name, in the archive's order.

    Raises:
        ArchiveError: the file is not what it seems, or too large; the message names the entry.
    """
    check_end(data)
    try:
        directory = zipfile.ZipFile(io.BytesIO(data)).infolist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError, struct.error) as error:
        raise ArchiveError(f"no zip file: {error}") from None
    if len(directory) != END.unpack(data[-END.size :])[3]:
        raise ArchiveError("the directory must have as many entries as it says")
    for entry in directory:
        check_entry(entry)
    check_names([entry.orig_filename for entry in directory])
    check_total(directory)
    return {entry.orig_filename: content for entry, content in _unpack_in_order(data, directory)}


def check_end(data: bytes) -> None:
    """See that the file ends with a directory's end of few entries and no comment: one disk, no ZIP64.

    Raises:
        ArchiveError: it does not.
    """
    if len(data) < END.size or not data.startswith(b"PK\3\4"):
        raise ArchiveError("no zip file: it must begin with an entry and end with a directory")
    mark, disk, start_disk, here, count, size, offset, comment = END.unpack(data[-END.size :])
    if mark != b"PK\5\6" or comment:
        raise ArchiveError("nothing may follow the directory, not even a comment")
    if count > MAX_ENTRIES:
        raise ArchiveError(f"{count} entries; at most {MAX_ENTRIES} are allowed")
    if disk or start_disk or here != count or offset + size + END.size != len(data):
        raise ArchiveError("the directory must be whole and lie at the end")


def check_entry(entry: zipfile.ZipInfo) -> None:
    """See that an entry is a plain file at a place inside the folder that it is unpacked into.

    Raises:
        ArchiveError: it is not.
    """
    name = entry.orig_filename
    if entry.flag_bits & ENCRYPTED:
        raise ArchiveError(f"{name!r} is encrypted")
    if entry.flag_bits & ~UTF8 or entry.extra or entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ArchiveError(f"{name!r} is packed in an unusual way: flags {entry.flag_bits:#x}, method {entry.compress_type}")
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if kind == stat.S_IFLNK:
        raise ArchiveError(f"{name!r} is a symbolic link")
    if entry.is_dir() or kind not in (0, stat.S_IFREG):
        raise ArchiveError(f"{name!r} is no plain file")
    check_place(name)


def check_place(name: str, folder: Path = Path("/archive")) -> None:
    """See that a name stays inside the folder that it is unpacked into, on any system.

    Raises:
        ArchiveError: it leads out of it, is absolute, or is written in another way than its place is.
    """
    if name.startswith("/") or name[1:2] == ":" or "\\" in name or not name.isprintable():
        raise ArchiveError(f"{name!r} is an absolute name, or none that every system reads in the same way")
    if not Path(os.path.normpath(folder / name)).is_relative_to(folder):
        raise ArchiveError(f"{name!r} leads out of the archive")
    if str(PurePosixPath(name)) != name or ".." in PurePosixPath(name).parts:
        raise ArchiveError(f"{name!r} is not the plain name of its place")


def check_names(names: Sequence[str]) -> None:
    """See that no name stands twice, not even where large and small letters are one.

    Raises:
        ArchiveError: one does.
    """
    seen: set[str] = set()
    for name in names:
        if name.casefold() in seen:
            raise ArchiveError(f"{name!r} is there twice")
        seen.add(name.casefold())


def check_total(directory: Sequence[zipfile.ZipInfo]) -> None:
    """See that the entries, as they declare themselves, are not too much.

    Raises:
        ArchiveError: they are.
    """
    for entry in directory:
        if entry.file_size > LARGE and entry.file_size > MAX_RATIO * entry.compress_size:
            raise ArchiveError(
                f"{entry.orig_filename!r} would grow from {entry.compress_size} to {entry.file_size} bytes; "
                f"at most {MAX_RATIO} times is allowed"
            )
    total = sum(entry.file_size for entry in directory)
    if total > MAX_BYTES:
        raise ArchiveError(f"it would grow to {total} bytes; at most {MAX_BYTES} are allowed")


def _unpack_in_order(data: bytes, directory: Sequence[zipfile.ZipInfo]) -> list[tuple[zipfile.ZipInfo, bytes]]:
    place = 0
    unpacked = []
    for entry in sorted(directory, key=lambda entry: entry.header_offset):
        if entry.header_offset != place:
            raise ArchiveError(f"bytes {place} to {entry.header_offset} are in no entry of the directory")
        start = _content_start(data, entry)
        place = start + entry.compress_size
        unpacked.append((entry, _unpack(data[start:place], entry)))
    if place != END.unpack(data[-END.size :])[6]:
        raise ArchiveError(f"bytes from {place} on are in no entry of the directory")
    return unpacked


def _content_start(data: bytes, entry: zipfile.ZipInfo) -> int:
    """Where an entry's content begins, its local header being what the directory says."""
    at = entry.header_offset
    header = data[at : at + LOCAL.size]
    if len(header) < LOCAL.size:
        raise ArchiveError(f"{entry.orig_filename!r} lies outside the file")
    mark, _, flags, method, _, _, crc, packed, size, name_length, extra_length = LOCAL.unpack(header)
    name = data[at + LOCAL.size : at + LOCAL.size + name_length]
    said = (b"PK\3\4", entry.flag_bits, entry.compress_type, entry.CRC, entry.compress_size, entry.file_size, 0)
    encoding = "utf-8" if entry.flag_bits & UTF8 else "cp437"
    if (mark, flags, method, crc, packed, size, extra_length) != said or name != entry.orig_filename.encode(encoding):
        raise ArchiveError(f"{entry.orig_filename!r} has another header than the directory says")
    return at + LOCAL.size + len(name)


def _unpack(packed: bytes, entry: zipfile.ZipInfo) -> bytes:
    """The content, never more of it than is declared."""
    content = packed
    if entry.compress_type == zipfile.ZIP_DEFLATED:
        inflate = zlib.decompressobj(-zlib.MAX_WBITS)
        try:
            content = inflate.decompress(packed, entry.file_size + 1)
        except zlib.error as error:
            raise ArchiveError(f"{entry.orig_filename!r} is damaged: {error}") from None
        if not inflate.eof or inflate.unused_data:
            raise ArchiveError(f"{entry.orig_filename!r} is not of the {entry.file_size} bytes that it declares")
    if len(content) != entry.file_size:
        raise ArchiveError(f"{entry.orig_filename!r} is not of the {entry.file_size} bytes that it declares")
    if zlib.crc32(content) != entry.CRC:
        raise ArchiveError(f"{entry.orig_filename!r} is damaged: its checksum is wrong")
    return content
