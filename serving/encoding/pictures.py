"""Read a picture that a client sends: a PNG of unknown origin, to the pixels that a model takes.

Everything that the header can tell is checked before a pixel is decoded. Pillow then decodes only the chunks that pixels need;
text, colour profiles and gamma are dropped, so that no compressed text is inflated and no profile changes a colour.
"""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngImageFile

from contract import Picture
from serving.encoding.png import SIGNATURE, write_chunk
from serving.encoding.png_reader import read_chunks
from serving.errors import BadPicture, VerifyError

MAX_ENLARGEMENT = 16
"""Width and height of a picture are at most this many times the model's."""
PIXEL_CHUNKS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
"""Colour type of a PNG to its bit depths (PNG 3rd edition, table 12)."""
SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""Colour type to numbers of a pixel."""
GREY, RGB, PALETTE = 0, 2, 3
"""Colour types."""
ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""First column and line, and distance of columns and lines, of each pass of an interlaced picture."""
MAX_BODY_BYTES = 2**23


def body_limit(picture: Picture | None) -> int:
    """Bytes of a PNG for this input, at most: 16-bit RGBA of the greatest size, uncompressed, and 64 KiB of other chunks."""
    pixels = 0 if picture is None else picture.height * picture.width * MAX_ENLARGEMENT**2
    return min(2**16 + 8 * pixels, MAX_BODY_BYTES)


def read_picture(body: bytes, picture: Picture) -> NDArray[np.uint8]:
    """The pixels of a PNG at the model's size and in its colours, uint8 [height, width, channels].

    Another size is scaled to it without keeping proportions: each pixel is the mean of the area that it covers. A transparent
    pixel counts as black as far as it is transparent; 16 bits are cut to 8; colours become grey by ITU-R 601-2.

    Raises:
        BadPicture: the body is no such PNG; the message has what is wrong and what would be right.
    """
    if not body.startswith(SIGNATURE):
        raise BadPicture(f"the body must be a PNG, which begins with {SIGNATURE.hex()}, begins with {body[:8].hex() or 'none'}")
    try:
        chunks = read_chunks(body)
    except VerifyError as error:
        raise BadPicture(f"the PNG is damaged: {error}") from None
    kinds = [kind for kind, _ in chunks]
    if b"acTL" in kinds:
        raise BadPicture("the PNG must hold one picture, is animated (chunk acTL)")
    if kinds[0] != b"IHDR" or kinds.count(b"IHDR") != 1 or b"IDAT" not in kinds:
        raise BadPicture("the PNG is damaged: it must have one IHDR chunk, the first one, and pixels in IDAT chunks")
    size = _check_header(chunks[0][1], picture)
    if chunks[0][1][9] == PALETTE and b"PLTE" not in kinds[: kinds.index(b"IDAT")]:
        raise BadPicture("the PNG is damaged: its colours are those of a palette, and it has none before its pixels")
    _check_lines(b"".join(content for kind, content in chunks if kind == b"IDAT"), size)
    kept = b"".join(write_chunk(kind, content) for kind, content in chunks if kind in PIXEL_CHUNKS)
    try:
        with PngImageFile(io.BytesIO(SIGNATURE + kept)) as file:
            file.load()
            _correct_transparency(file, *chunks[0][1][8:10])
            pixels = _in_colours(file, picture.channels)
    except (OSError, SyntaxError, ValueError, zlib.error, struct.error, IndexError) as error:
        raise BadPicture(f"the PNG is damaged: its pixels cannot be decoded: {error}") from None
    if pixels.size != (picture.width, picture.height):
        pixels = pixels.resize((picture.width, picture.height), Image.Resampling.BOX)
    return np.asarray(pixels, np.uint8).reshape(picture.shape)


def _check_header(content: bytes, picture: Picture) -> int:
    """Check the header, and return the bytes to which the pixels inflate."""
    if len(content) != 13:
        raise BadPicture(f"the PNG is damaged: its IHDR chunk must have 13 bytes, has {len(content)}")
    width, height, depth, colour, compression, filtering, interlacing = struct.unpack(">IIBBBBB", content)
    widest, highest = MAX_ENLARGEMENT * picture.width, MAX_ENLARGEMENT * picture.height
    if not (1 <= width <= widest and 1 <= height <= highest):
        raise BadPicture(f"the picture must be 1..{widest} pixels wide and 1..{highest} high, is {width} x {height}")
    if depth not in DEPTHS.get(colour, ()) or compression or filtering or interlacing > 1:
        raise BadPicture(
            f"the PNG is damaged: its header has bit depth {depth}, colour type {colour}, compression {compression}, "
            f"filter {filtering}, interlacing {interlacing}, which no PNG has"
        )
    passes = ADAM7 if interlacing else ((0, 0, 1, 1),)
    sides = [(-(-(width - x) // across), -(-(height - y) // down)) for x, y, across, down in passes]
    bits = depth * SAMPLES[colour]
    return sum(high * (1 + -(-wide * bits // 8)) for wide, high in sides if wide > 0 and high > 0)


def _check_lines(deflated: bytes, size: int) -> None:
    """Check that the pixels are whole, with their checksum: Pillow shows missing lines as black, and ignores the rest."""
    inflater = zlib.decompressobj()
    try:
        lines = inflater.decompress(deflated, size + 1)
    except zlib.error as error:
        raise BadPicture(f"the PNG is damaged: its pixels cannot be inflated: {error}") from None
    if len(lines) != size:
        found = "more" if len(lines) > size else len(lines)
        raise BadPicture(f"the PNG is damaged: its pixels must inflate to {size} bytes, as its header says, got {found}")
    if not inflater.eof:
        raise BadPicture("the PNG is damaged: its pixels must end with their checksum, end before it")
    if inflater.unused_data:
        raise BadPicture(f"the PNG is damaged: {len(inflater.unused_data)} bytes follow its pixels in the IDAT chunks")


def _correct_transparency(file: Image.Image, depth: int, colour: int) -> None:
    """Write the transparent grey or colour as Pillow's pixels of 8 bits are; Pillow leaves it in the file's depth."""
    level = file.info.get("transparency")
    if colour == GREY and depth <= 8 and isinstance(level, int):
        most = 2**depth - 1
        file.info["transparency"] = (level & most) * 255 // most
    elif colour == RGB and depth == 16 and isinstance(level, tuple):
        file.info["transparency"] = tuple(value >> 8 for value in level)


def _in_colours(file: Image.Image, channels: int) -> Image.Image:
    """Grey or RGB, of 8 bits, on black."""
    image = file
    if file.mode.startswith("I"):  # 16-bit grey, which Pillow would clip at 255
        levels = np.asarray(file).astype(np.uint32)
        levels[levels == file.info.get("transparency", -1)] = 0
        image = Image.fromarray((levels >> 8).astype(np.uint8))
    elif file.has_transparency_data:
        with_alpha = file.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", file.size, (0, 0, 0, 255)), with_alpha)
    return image.convert("L" if channels == 1 else "RGB")
