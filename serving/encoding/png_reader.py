"""PNG files as ``write_png`` makes them, read from strangers: every length is bounded, every checksum is compared."""

from __future__ import annotations

import io
import struct
import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pictures

from serving.encoding.png import COLOUR_TYPES, SIGNATURE, write_chunk
from serving.errors import VerifyError

MAX_CHUNKS = 2**16
MAX_TEXT = 2**16
"""Bytes of a text chunk, at most."""
MAX_SIDE = 2**31 - 1
TEXT_KINDS = (b"tEXt", b"zTXt", b"iTXt")

Chunk = tuple[bytes, bytes]


@dataclass(frozen=True, kw_only=True)
class Png:
    """A file whose chunks are whole and in order; its pixels are still deflated."""

    header: bytes
    width: int
    height: int
    channels: int
    """1 is grey, 3 are RGB."""
    deflated: bytes
    chunks: tuple[Chunk, ...]
    """Kind and content of every chunk."""

    def text(self, keyword: str) -> str:
        """The text under a keyword; a compressed one is refused unread, so none can grow.

        Raises:
            VerifyError: there is not exactly one, or it is not plain.
        """
        found = [chunk for chunk in self.chunks if chunk[0] in TEXT_KINDS and chunk[1].startswith(keyword.encode() + b"\0")]
        if len(found) != 1:
            raise VerifyError(
                f"it must have one text chunk {keyword!r}, which says how it was made, has {len(found) or 'none'}"
            )
        kind, content = found[0]
        if kind != b"tEXt":
            raise VerifyError(f"the text chunk {keyword!r} must be tEXt, as the service writes it, is {kind.decode()}")
        if len(content) > MAX_TEXT:
            raise VerifyError(f"the text chunk {keyword!r} must have at most {MAX_TEXT} bytes, has {len(content)}")
        return content[len(keyword) + 1 :].decode("latin-1")

    def pixels(self) -> NDArray[np.uint8]:
        """Pixels, [height, width, channels]; the caller has seen that width and height are what it can hold.

        Raises:
            VerifyError: they are fewer or more than the header says, or damaged.
        """
        size = self.height * (1 + self.width * self.channels)
        inflater = zlib.decompressobj()
        try:
            lines = inflater.decompress(self.deflated, size + 1)
        except zlib.error as error:
            raise VerifyError(f"corrupt: the pixels cannot be inflated: {error}") from None
        if len(lines) != size or not inflater.eof or inflater.unused_data:
            raise VerifyError(f"corrupt: its pixels must inflate to {size} bytes, as its header says, and do not")
        filtered = np.frombuffer(lines, np.uint8).reshape(self.height, -1)
        if filtered[:, 0].max() > 4:
            raise VerifyError(f"corrupt: a line's filter must be 0..4, got {filtered[:, 0].max()}")
        if filtered[:, 0].any():
            return self._unfiltered()
        return filtered[:, 1:].reshape(self.height, self.width, self.channels)

    def _unfiltered(self) -> NDArray[np.uint8]:
        """By Pillow, which is shown nothing but header and pixels; only what another program wrote has filters."""
        parts = [(b"IHDR", self.header), (b"IDAT", self.deflated), (b"IEND", b"")]
        file = io.BytesIO(SIGNATURE + b"".join(write_chunk(*part) for part in parts))
        with Pictures.open(file, formats=["PNG"]) as picture:
            return np.asarray(picture).reshape(self.height, self.width, self.channels)


def read_png(data: bytes) -> Png:
    """A PNG's chunks, all of them looked at before any of them is believed.

    Raises:
        VerifyError: it is no PNG, not whole, damaged, or of a kind that the service does not write.
    """
    if not data.startswith(SIGNATURE):
        raise VerifyError(f"not a PNG: it must begin with the bytes {SIGNATURE.hex()}, begins with {data[:8].hex() or 'none'}")
    chunks = _chunks(data)
    kinds = [kind for kind, _ in chunks]
    _check_order(kinds)
    width, height, channels = _header(chunks[0][1])
    pixels = b"".join(content for kind, content in chunks if kind == b"IDAT")
    return Png(header=chunks[0][1], width=width, height=height, channels=channels, deflated=pixels, chunks=tuple(chunks))


def _chunks(data: bytes) -> list[Chunk]:
    chunks: list[Chunk] = []
    place = len(SIGNATURE)
    while not chunks or chunks[-1][0] != b"IEND":
        left = len(data) - place - 12
        if left < 0:
            raise VerifyError(f"truncated: it ends at byte {len(data)} without an IEND chunk")
        if len(chunks) == MAX_CHUNKS:
            raise VerifyError(f"it must have at most {MAX_CHUNKS} chunks, has more")
        size, kind = struct.unpack_from(">I4s", data, place)
        if not kind.isalpha():
            raise VerifyError(f"corrupt: at byte {place} there must be a chunk's type, four letters, got {kind!r}")
        if size > left:
            raise VerifyError(f"truncated: the {kind.decode()} chunk at byte {place} says {size} bytes, {left} are left")
        tagged = data[place + 4 : place + 8 + size]
        (stated,) = struct.unpack_from(">I", data, place + 8 + size)
        right = zlib.crc32(tagged)
        if stated != right:
            raise VerifyError(f"corrupt: the {kind.decode()} chunk at byte {place} must have CRC {right:08x}, has {stated:08x}")
        chunks.append((kind, tagged[4:]))
        place += 12 + size
    if place != len(data):
        raise VerifyError(f"corrupt: {len(data) - place} bytes follow its end")
    return chunks


def _check_order(kinds: list[bytes]) -> None:
    """The chunks that a reader must understand (first letter a capital): IHDR, then IDATs side by side, then IEND."""
    strange = [kind for kind in kinds if kind[:1].isupper() and kind not in (b"IHDR", b"IDAT", b"IEND")]
    if strange:
        raise VerifyError(f"a grey or RGB picture must have no {strange[0].decode()} chunk, as the service writes none")
    if kinds[0] != b"IHDR" or kinds.count(b"IHDR") != 1:
        raise VerifyError(
            f"corrupt: it must begin with its only IHDR chunk, has {kinds.count(b'IHDR')} and begins with {kinds[0].decode()}"
        )
    if b"IDAT" not in kinds:
        raise VerifyError("corrupt: it must have an IDAT chunk, has none")
    first = kinds.index(b"IDAT")
    if kinds[first : first + kinds.count(b"IDAT")] != [b"IDAT"] * kinds.count(b"IDAT"):
        raise VerifyError("corrupt: its IDAT chunks must stand side by side")


def _header(content: bytes) -> tuple[int, int, int]:
    if len(content) != 13:
        raise VerifyError(f"corrupt: the IHDR chunk must have 13 bytes, has {len(content)}")
    width, height, depth, colour, compression, filters, interlace = struct.unpack(">IIBBBBB", content)
    if not (1 <= width <= MAX_SIDE and 1 <= height <= MAX_SIDE):
        raise VerifyError(f"corrupt: width and height must be 1..{MAX_SIDE}, got {width} and {height}")
    channels = {colour: channels for channels, colour in COLOUR_TYPES.items()}.get(colour)
    if channels is None or depth != 8 or (compression, filters, interlace) != (0, 0, 0):
        raise VerifyError(
            "the picture must be 8-bit grey or RGB without interlacing, as the service writes it, got "
            f"bit depth {depth}, colour type {colour}, compression {compression}, filter {filters}, interlacing {interlace}"
        )
    return width, height, channels
