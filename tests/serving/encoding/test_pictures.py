"""Pictures that clients send: every right PNG gives pixels at the model's size, every other body a sentence."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zlib
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from contract import Picture
from serving.encoding.pictures import ADAM7, MAX_BODY_BYTES, MAX_ENLARGEMENT, body_limit, read_picture
from serving.encoding.png import END, SIGNATURE, write_apng, write_chunk, write_png
from serving.errors import BadPicture

GREY, COLOUR = Picture(8, 8, 1), Picture(8, 8, 3)
PIXELS = (np.arange(64, dtype=np.uint8) * 4).reshape(8, 8)


def png(pixels: Any, mode: str | None = None, **options: Any) -> bytes:
    """A PNG by Pillow."""
    image = Image.fromarray(pixels)
    file = io.BytesIO()
    (image.convert(mode) if mode else image).save(file, "PNG", **options)
    return file.getvalue()


PLAIN = png(PIXELS)
HEADER = (8, 8, 8, 0, 0, 0, 0)


def with_header(*fields: int) -> bytes:
    """The plain PNG with another header, its CRC right."""
    return SIGNATURE + write_chunk(b"IHDR", struct.pack(">IIBBBBB", *fields)) + PLAIN[33:]


@pytest.mark.parametrize("mode", [None, "RGB", "RGBA", "LA", "P"])
def test_every_kind_of_png_of_the_same_grey_gives_the_same_pixels(mode: str | None) -> None:
    """Grey, colour, opaque alpha and palette are ways to write the same picture."""
    assert np.array_equal(read_picture(png(PIXELS, mode), GREY)[..., 0], PIXELS)


def test_an_interlaced_png_is_read() -> None:
    """Its seven passes, one pixel here and nothing there, are the same picture."""
    levels = PIXELS.ravel().tolist()
    lines = b"".join(
        b"\0" + bytes(levels[8 * line + column] for column in range(x, 8, across))
        for x, y, across, down in ADAM7
        for line in range(y, 8, down)
    )
    header = write_chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 8, 8, 0, 0, 0, 1))
    body = SIGNATURE + header + write_chunk(b"IDAT", zlib.compress(lines)) + END
    assert np.array_equal(read_picture(body, GREY)[..., 0], PIXELS)
    with pytest.raises(BadPicture, match="must inflate to 79 bytes"):
        read_picture(SIGNATURE + header + write_chunk(b"IDAT", zlib.compress(lines[:-1])) + END, GREY)


@pytest.mark.parametrize(("width", "height"), [(1, 1), (1, 8), (3, 5), (5, 2), (8, 1), (16, 9)])
def test_an_interlaced_png_may_lack_passes(width: int, height: int) -> None:
    """A narrow or low picture has no bytes of a pass that holds none of its pixels, and is read as without passes."""
    pixels = np.arange(width * height, dtype=np.uint8).reshape(height, width)
    lines = b"".join(
        b"\0" + pixels[line, x::across].tobytes()
        for x, y, across, down in ADAM7
        for line in range(y, height, down)
        if x < width
    )
    header = write_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 1))
    body = SIGNATURE + header + write_chunk(b"IDAT", zlib.compress(lines)) + END
    assert np.array_equal(read_picture(body, GREY), read_picture(png(pixels), GREY))


def test_sixteen_bits_are_cut_to_eight() -> None:
    """16-bit grey keeps its upper byte; Pillow alone would clip it."""
    assert np.array_equal(read_picture(png(PIXELS.astype(np.uint16) << 8 | 7), GREY)[..., 0], PIXELS)


def test_one_bit_is_black_and_white() -> None:
    """A drawing of one bit a pixel has the levels 0 and 255."""
    assert np.array_equal(read_picture(png(PIXELS > 100), GREY)[..., 0], np.where(PIXELS > 100, 255, 0))


def test_grey_becomes_colour() -> None:
    """A model of colours gets three equal channels."""
    found = read_picture(PLAIN, COLOUR)
    assert found.shape == (8, 8, 3)
    assert all(np.array_equal(found[..., channel], PIXELS) for channel in range(3))


def test_transparency_is_black() -> None:
    """A transparent pixel counts as black, a half transparent one as half as bright."""
    pixels = np.full((8, 8, 4), 200, np.uint8)
    pixels[..., 3] = 0
    pixels[0, 0, 3] = 128
    found = read_picture(png(pixels), COLOUR)
    assert abs(int(found[0, 0, 0]) - 100) <= 1
    assert not found[1:].any()


@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
def test_a_transparent_grey_is_black(depth: int) -> None:
    """At each depth the pixels of the grey that the chunk tRNS names become black, and no others."""
    most = 2**depth - 1
    levels = [most, 0, most, most - 1, most, most, most // 2, most]
    line = b"\0" + sum(level << depth * place for place, level in enumerate(reversed(levels))).to_bytes(depth)
    header = write_chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 8, depth, 0, 0, 0, 0))
    for chunk, transparent in ((b"", -1), (write_chunk(b"tRNS", struct.pack(">H", most)), most)):
        body = SIGNATURE + header + chunk + write_chunk(b"IDAT", zlib.compress(8 * line)) + END
        shown = [level >> 8 if depth == 16 else level * 255 // most for level in levels]
        expected = [0 if level == transparent else value for level, value in zip(levels, shown, strict=True)]
        assert read_picture(body, GREY)[0, :, 0].tolist() == expected


def test_a_transparent_colour_of_sixteen_bits_is_black() -> None:
    """By its upper bytes, to which the pixels are cut."""
    line = b"\0" + 4 * struct.pack(">6H", 0x8000, 0x4000, 0xFFFF, 0x1000, 0x2000, 0x3000)
    header = write_chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 8, 16, 2, 0, 0, 0))
    transparent = write_chunk(b"tRNS", struct.pack(">3H", 0x8000, 0x4000, 0xFFFF))
    body = SIGNATURE + header + transparent + write_chunk(b"IDAT", zlib.compress(8 * line)) + END
    assert read_picture(body, COLOUR)[0, :2].tolist() == [[0, 0, 0], [0x10, 0x20, 0x30]]


def test_an_enlarged_picture_is_the_picture() -> None:
    """16 times as wide and high, each pixel is the mean of a square of equal ones."""
    large = PIXELS.repeat(MAX_ENLARGEMENT, 0).repeat(MAX_ENLARGEMENT, 1)
    assert np.array_equal(read_picture(png(large), GREY)[..., 0], PIXELS)


def test_width_and_height_have_limits_of_their_own() -> None:
    """A model that is wider than high takes a picture 16 times as wide and high, not one pixel more, and does not turn it."""
    wide = Picture(4, 8, 1)
    large = PIXELS[:4].repeat(MAX_ENLARGEMENT, 0).repeat(MAX_ENLARGEMENT, 1)
    assert np.array_equal(read_picture(png(large), wide)[..., 0], PIXELS[:4])
    for height, width in ((65, 8), (4, 129)):
        with pytest.raises(BadPicture, match=f"1..128 pixels wide and 1..64 high, is {width} x {height}"):
            read_picture(png(np.zeros((height, width), np.uint8)), wide)


def test_the_largest_picture_is_within_the_limit_of_bodies() -> None:
    """Uncompressed 16-bit RGBA of the greatest size is no larger than a body may be; no model raises the limit without end."""
    lines = bytes(128 * (1 + 8 * 128))
    header = write_chunk(b"IHDR", struct.pack(">IIBBBBB", 128, 128, 16, 6, 0, 0, 0))
    body = SIGNATURE + header + write_chunk(b"IDAT", zlib.compress(lines, 0)) + END
    assert not read_picture(body, GREY).any()
    assert len(lines) < len(body) <= body_limit(GREY) < 2 * len(body)
    assert body_limit(Picture(4096, 4096, 3)) == MAX_BODY_BYTES


def test_a_small_picture_is_enlarged() -> None:
    """A picture of half the size has each pixel four times."""
    assert np.array_equal(read_picture(png(PIXELS[::2, ::2].copy()), GREY)[..., 0], PIXELS[::2, ::2].repeat(2, 0).repeat(2, 1))


@pytest.mark.slow
def test_texts_and_profiles_change_nothing() -> None:
    """Gamma, colour profile and compressed text, even of the size of a bomb, are dropped unread."""
    texts = PngInfo()
    texts.add_text("bomb", "0" * 100_000_000, zip=True)
    assert np.array_equal(read_picture(png(PIXELS, pnginfo=texts, icc_profile=b"x" * 100), GREY)[..., 0], PIXELS)


DEFLATED = zlib.compress(b"".join(b"\0" + line.tobytes() for line in PIXELS))


def with_pixels(*parts: bytes) -> bytes:
    """The plain PNG with other IDAT chunks, their CRCs right."""
    return PLAIN[:33] + b"".join(write_chunk(b"IDAT", part) for part in parts) + END


def test_pixels_may_be_in_any_number_of_chunks() -> None:
    """Also the last byte of the checksum alone, and none."""
    for parts in (
        [DEFLATED],
        [DEFLATED[:-1], DEFLATED[-1:]],
        [DEFLATED, b""],
        [DEFLATED[i : i + 1] for i in range(len(DEFLATED))],
    ):
        assert np.array_equal(read_picture(with_pixels(*parts), GREY)[..., 0], PIXELS)


REFUSED: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "the body must be a PNG, which begins with 89504e470d0a1a0a, begins with none"),
    "text": (b"seed=42", "the body must be a PNG"),
    "jpeg": (b"\xff\xd8\xff\xe0" + b"0" * 100, "begins with ffd8ffe030303030"),
    "signature alone": (SIGNATURE, "the PNG is damaged: truncated: it ends at byte 8 without an IEND chunk"),
    "half": (PLAIN[: len(PLAIN) // 2], "the PNG is damaged: truncated"),
    "wrong CRC": (PLAIN[:40] + bytes([PLAIN[40] ^ 1]) + PLAIN[41:], "must have CRC"),
    "more": (PLAIN + b"PK", "2 bytes follow its end"),
    "animated": (write_apng(np.zeros((2, 8, 8, 1), np.uint8), {}, 5, 0), "must hold one picture, is animated (chunk acTL)"),
    "no pixels": (PLAIN[:33] + END, "pixels in IDAT chunks"),
    "two headers": (PLAIN[:33] + PLAIN[8:], "one IHDR chunk, the first one"),
    "no header": (SIGNATURE + PLAIN[33:], "one IHDR chunk, the first one"),
    "short header": (SIGNATURE + write_chunk(b"IHDR", b"12") + PLAIN[33:], "IHDR chunk must have 13 bytes, has 2"),
    "wide": (png(np.zeros((8, 129), np.uint8)), "must be 1..128 pixels wide and 1..128 high, is 129 x 8"),
    "a billion pixels": (with_header(2**31 - 1, 2**31 - 1, *HEADER[2:]), "is 2147483647 x 2147483647"),
    "nothing wide": (with_header(0, 8, *HEADER[2:]), "is 0 x 8"),
    "three bits": (with_header(8, 8, 3, 0, 0, 0, 0), "has bit depth 3, colour type 0"),
    "colour type 5": (with_header(8, 8, 8, 5, 0, 0, 0), "colour type 5"),
    "interlacing 2": (with_header(8, 8, 8, 0, 0, 0, 2), "interlacing 2, which no PNG has"),
    "too few lines": (with_header(8, 100, *HEADER[2:]), "its pixels must inflate to 900 bytes, as its header says, got 72"),
    "too many lines": (with_header(8, 4, *HEADER[2:]), "must inflate to 36 bytes, as its header says, got more"),
    "no checksum": (with_pixels(DEFLATED[:-4]), "its pixels must end with their checksum, end before it"),
    "half a checksum": (with_pixels(DEFLATED[:-2]), "its pixels must end with their checksum, end before it"),
    "wrong checksum": (with_pixels(DEFLATED[:-1] + bytes([DEFLATED[-1] ^ 1])), "its pixels cannot be inflated"),
    "more behind the pixels": (with_pixels(DEFLATED + b"x" * 70), "70 bytes follow its pixels in the IDAT chunks"),
    "more in another chunk": (with_pixels(DEFLATED, b"x"), "1 bytes follow its pixels in the IDAT chunks"),
    "no deflate": (PLAIN[:33] + write_chunk(b"IDAT", b"0" * 50) + END, "its pixels cannot be inflated"),
    "palette missing": (with_header(8, 8, 8, 3, 0, 0, 0), "its colours are those of a palette, and it has none"),
    "palette behind the pixels": (
        with_header(8, 8, 8, 3, 0, 0, 0).removesuffix(END) + write_chunk(b"PLTE", bytes(768)) + END,
        "it has none before its pixels",
    ),
}


@pytest.mark.parametrize(("body", "message"), REFUSED.values(), ids=list(REFUSED))
def test_a_wrong_body_is_refused(body: bytes, message: str) -> None:
    """The message has what is wrong and what would be right."""
    with pytest.raises(BadPicture) as caught:
        read_picture(body, GREY)
    assert message in caught.value.detail


def test_pixels_are_not_inflated_beyond_the_header() -> None:
    """Of a body whose pixels inflate to 64 MiB, no more than the header says is inflated before it is refused."""
    body = with_pixels(zlib.compress(bytes(2**26)))
    tracemalloc.start()
    try:
        with pytest.raises(BadPicture, match="must inflate to 72 bytes, as its header says, got more"):
            read_picture(body, GREY)
        assert tracemalloc.get_traced_memory()[1] < 2**22
    finally:
        tracemalloc.stop()


@settings(max_examples=300)
@given(st.integers(8, len(PLAIN) - 1), st.integers(0, 255), st.booleans())
def test_a_damaged_file_is_refused_or_read(position: int, byte: int, is_cut: bool) -> None:
    """No body raises anything but ``BadPicture``."""
    body = PLAIN[:position] if is_cut else PLAIN[:position] + bytes([byte]) + PLAIN[position + 1 :]
    with suppress(BadPicture):
        assert read_picture(body, GREY).shape == (8, 8, 1)


@pytest.mark.slow
@settings(max_examples=200)
@given(st.lists(st.tuples(st.sampled_from([b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"iCCP", b"zTXt"]), st.binary(max_size=40))))
def test_chunks_of_any_content_are_refused_or_read(chunks: list[tuple[bytes, bytes]]) -> None:
    """Chunks with right CRCs and false contents raise nothing but ``BadPicture`` either."""
    body = PLAIN[:33] + b"".join(write_chunk(kind, content) for kind, content in chunks) + PLAIN[33:]
    with suppress(BadPicture):
        assert read_picture(body, GREY).shape == (8, 8, 1)


def test_the_services_own_png_is_right() -> None:
    """What ``/generate`` sends can be sent back."""
    assert np.array_equal(read_picture(write_png(PIXELS[..., None], {"gan": "{}"}), GREY)[..., 0], PIXELS)
