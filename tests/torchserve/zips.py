"""Zip files as an attacker would write them: entries, headers and lengths as they are told, right or wrong."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

REGULAR, LINK = 0o100644 << 16, 0o120777 << 16
STORED, DEFLATED = 0, 8


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One entry; what is None is what the content really has."""

    name: bytes
    content: bytes
    method: int = DEFLATED
    flags: int = 0
    size: int | None = None
    """Declared."""
    crc: int | None = None
    attributes: int = REGULAR
    local_name: bytes | None = None
    """In the header in front of the content, where it is another than the directory's."""
    raw: bytes | None = None
    """What lies in the file, where it is not the content as the method packs it."""
    extra: bytes = b""
    is_listed: bool = True
    """Whether the directory knows it."""

    def packed(self) -> bytes:
        """The content as it lies in the file."""
        if self.raw is not None or self.method != DEFLATED:
            return self.content if self.raw is None else self.raw
        deflate = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
        return deflate.compress(self.content) + deflate.flush()

    def fields(self, packed: bytes, name: bytes) -> tuple[int, ...]:
        """Flags to lengths, which both headers have."""
        crc = zlib.crc32(self.content) if self.crc is None else self.crc
        size = len(self.content) if self.size is None else self.size
        return self.flags, self.method, 0, 0x21, crc, len(packed), size, len(name), len(self.extra)


def entries_of(data: bytes) -> dict[str, Entry]:
    """The entries of an honest zip file, by name."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: Entry(name=name.encode(), content=archive.read(name)) for name in archive.namelist()}


def write(entries: Sequence[Entry], *, gap: bytes = b"", comment: bytes = b"", count: int | None = None) -> bytes:
    """A zip file of entries; ``gap`` lies between the last one and the directory."""
    body, directory = bytearray(), bytearray()
    for entry in entries:
        packed, place = entry.packed(), len(body)
        local_name = entry.name if entry.local_name is None else entry.local_name
        body += (
            struct.pack("<4sHHHHHIIIHH", b"PK\3\4", 20, *entry.fields(packed, local_name)) + local_name + entry.extra + packed
        )
        if entry.is_listed:
            directory += struct.pack(
                "<4sHHHHHHIIIHHHHHII", b"PK\1\2", 0x314, 20, *entry.fields(packed, entry.name), 0, 0, 0, entry.attributes, place
            )
            directory += entry.name + entry.extra
    body += gap
    listed = sum(entry.is_listed for entry in entries) if count is None else count
    end = struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, listed, listed, len(directory), len(body), len(comment))
    return bytes(body + directory + end + comment)


def with_entry(entries: Mapping[str, Entry], **fields: object) -> list[Entry]:
    """The entries and one more."""
    return [*entries.values(), Entry(**{"content": b"x", **fields})]  # type: ignore[arg-type]


def changed(entries: Mapping[str, Entry], name: str, **fields: object) -> list[Entry]:
    """The entries, one of them with other fields."""
    return [replace(entry, **fields) if key == name else entry for key, entry in entries.items()]  # type: ignore[arg-type]
