"""PNG files of unknown origin: read only if they hold the chunks that ``write_png`` writes, in its order, and no other.

Pillow decodes the pixels. It skips unknown chunks, lists none, and accepts bytes after the end and too many pixels;
so the chunks are walked and the inflated size is checked here (docs/decisions/0015-one-runtime-one-png-reader.md).
"""

from __future__ import annotations

import io
import struct
import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL.PngImagePlugin import PngImageFile

from serving.encoding.png import COLOUR_TYPES, SIGNATURE
from serving.errors import VerifyError, shown

MAX_CHUNKS = 2**16
MAX_TEXT = 2**16
"""Bytes of the text chunk, at most."""
MAX_SIDE = 2**31 - 1
KINDS = ["IHDR", "tEXt", "IDAT", "IEND"]
"""The chunks of a file; neighbouring IDAT chunks count as one."""

Chunk = tuple[bytes, bytes]


@dataclass(frozen=True, kw_only=True)
class Png:
    """A file with the right chunks, whose CRCs are right; its pixels are not decoded yet."""

    data: bytes
    """The file."""
    chunks: tuple[Chunk, ...]
    """Kind and content of every chunk."""
    width: int
    height: int
    channels: int
    """1 is grey, 3 are RGB."""

    @property
    def deflated(self) -> bytes:
        """The compressed pixels."""
        return b"".join(content for kind, content in self.chunks if kind == b"IDAT")

    def text(self, keyword: str) -> str:
        """The text, which must have this keyword.

        Raises:
            VerifyError: it has another keyword, or is too long.
        """
        found, _, text = self.chunks[1][1].partition(b"\0")
        if found != keyword.encode():
            raise VerifyError(
                f"the text chunk must be {keyword!r}, which says how it was made, is {shown(found.decode('latin-1'))}"
            )
        if len(text) > MAX_TEXT:
            raise VerifyError(f"the text chunk {keyword!r} must have at most {MAX_TEXT} bytes, has {len(text)}")
        return text.decode("latin-1")

    def pixels(self) -> NDArray[np.uint8]:
        """Pixels, [height, width, channels]. The caller must have checked that they fit into memory.

        Raises:
            VerifyError: they are fewer or more than the header says, or damaged.
        """
        size = self.height * (1 + self.width * self.channels)
        inflater = zlib.decompressobj()
        try:
            lines = inflater.decompress(self.deflated, size + 1)
            if len(lines) != size or not inflater.eof or inflater.unused_data:
                raise VerifyError(f"corrupt: its pixels must inflate to {size} bytes, as its header says, and do not")
            with PngImageFile(io.BytesIO(self.data)) as picture:  # not Image.open, whose limit of pixels is not ours
                return np.asarray(picture).reshape(self.height, self.width, self.channels)
        except (OSError, zlib.error) as error:
            raise VerifyError(f"corrupt: the pixels cannot be decoded: {error}") from None


def read_png(data: bytes) -> Png:
    """The chunks of a PNG file.

    Raises:
        VerifyError: it is no PNG, is damaged, or is not as the service writes it.
    """
    if not data.startswith(SIGNATURE):
        raise VerifyError(f"not a PNG: it must begin with the bytes {SIGNATURE.hex()}, begins with {data[:8].hex() or 'none'}")
    chunks = read_chunks(data)
    kinds = [kind.decode() for kind, _ in chunks]
    found = [kind for kind, before in zip(kinds, ["", *kinds], strict=False) if (before, kind) != ("IDAT", "IDAT")]
    if found != KINDS:
        listed = ", ".join(found[:12]) + (", ..." if len(found) > 12 else "")
        raise VerifyError(
            f"a PNG of the service has the chunks IHDR, tEXt (how it was made), IDAT and IEND and no others, this has {listed}"
        )
    width, height, channels = _header(chunks[0][1])
    return Png(data=data, chunks=tuple(chunks), width=width, height=height, channels=channels)


def read_chunks(data: bytes) -> list[Chunk]:
    """Kind and content of every chunk behind the signature; their lengths and CRCs are right.

    Raises:
        VerifyError: the file is truncated, corrupt, or has bytes after its end.
    """
    chunks: list[Chunk] = []
    offset = len(SIGNATURE)
    while not chunks or chunks[-1][0] != b"IEND":
        left = len(data) - offset - 12
        if left < 0:
            raise VerifyError(f"truncated: it ends at byte {len(data)} without an IEND chunk")
        if len(chunks) == MAX_CHUNKS:
            raise VerifyError(f"it must have at most {MAX_CHUNKS} chunks, has more")
        size, kind = struct.unpack_from(">I4s", data, offset)
        if not kind.isalpha():
            raise VerifyError(f"corrupt: at byte {offset} there must be a chunk's type, four letters, got {kind!r}")
        if size > left:
            raise VerifyError(f"truncated: the {kind.decode()} chunk at byte {offset} says {size} bytes, {left} are left")
        tagged = data[offset + 4 : offset + 8 + size]
        (stated,) = struct.unpack_from(">I", data, offset + 8 + size)
        right = zlib.crc32(tagged)
        if stated != right:
            raise VerifyError(
                f"corrupt: the {kind.decode()} chunk at byte {offset} must have CRC {right:08x}, has {stated:08x}"
            )
        chunks.append((kind, tagged[4:]))
        offset += 12 + size
    if offset != len(data):
        raise VerifyError(f"corrupt: {len(data) - offset} bytes follow its end")
    return chunks


def _header(content: bytes) -> tuple[int, int, int]:
    if len(content) != 13:
        raise VerifyError(f"corrupt: the IHDR chunk must have 13 bytes, has {len(content)}")
    width, height, depth, colour, *others = struct.unpack(">IIBBBBB", content)
    if not (1 <= width <= MAX_SIDE and 1 <= height <= MAX_SIDE):
        raise VerifyError(f"corrupt: width and height must be 1..{MAX_SIDE}, got {width} and {height}")
    channels = {colour: channels for channels, colour in COLOUR_TYPES.items()}.get(colour)
    if channels is None or depth != 8 or others != [0, 0, 0]:
        raise VerifyError(
            "the picture must be 8-bit grey or RGB without interlacing, as the service writes it, got bit depth "
            f"{depth}, colour type {colour}, compression {others[0]}, filter {others[1]}, interlacing {others[2]}"
        )
    return width, height, channels
