"""The PNG reader's laws: it reads what is written, and anything else is one kind of error."""

from __future__ import annotations

import io
import json
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image as Pictures
from PIL.PngImagePlugin import PngInfo

from serving.encoding.png import END, SIGNATURE, write_chunk, write_png
from serving.encoding.png_reader import MAX_CHUNKS, MAX_TEXT, read_chunks, read_png
from serving.errors import VerifyError
from serving.settings import Settings
from serving.verify import read_origin
from tests.serving.verify.pngs import joined

PICTURES = arrays.arrays(np.uint8, st.tuples(st.integers(1, 20), st.integers(1, 20), st.sampled_from([1, 3])))
WHOLE = write_png(np.arange(300, dtype=np.uint8).reshape(10, 10, 3), {"gan": "{}"})


@given(pixels=PICTURES)
def test_what_is_written_is_read(pixels: Any) -> None:
    """Any grey or RGB picture comes back pixel for pixel, and so does its text."""
    png = read_png(write_png(pixels, {"gan": "text"}))
    assert (png.text("gan"), png.pixels().tolist()) == ("text", pixels.tolist())


@pytest.mark.slow
@settings(max_examples=30)
@given(pixels=PICTURES)
def test_what_another_program_writes_is_read(pixels: Any) -> None:
    """Filtered lines, as Pillow writes them, give the same pixels."""
    buffer, texts = io.BytesIO(), PngInfo()
    texts.add_text("gan", "text")
    Pictures.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels).save(buffer, "PNG", pnginfo=texts)
    assert read_png(buffer.getvalue()).pixels().tolist() == pixels.tolist()


def read_whole(data: bytes) -> None:
    """Everything of a file, as long as it is small."""
    png = read_png(data)
    png.text("gan")
    if png.width * png.height < 10**6:
        png.pixels()


@settings(max_examples=300)
@given(data=st.binary(max_size=200), has_signature=st.booleans())
def test_noise_is_one_kind_of_error(data: bytes, has_signature: bool) -> None:
    """Random bytes, behind a right signature too, are refused and nothing else happens."""
    with pytest.raises(VerifyError):
        read_whole(SIGNATURE * has_signature + data)


CHUNKS = st.lists(
    st.tuples(st.sampled_from([b"IHDR", b"IDAT", b"IEND", b"tEXt", b"zTXt", b"PLTE", b"abcd"]), st.binary(max_size=30)),
    max_size=6,
)


@pytest.mark.slow
@settings(max_examples=300)
@given(chunks=CHUNKS)
@example(chunks=[(b"IHDR", bytes.fromhex("00000001000000010800000000")), (b"IDAT", b""), (b"tEXt", b"gan\0{}"), (b"IEND", b"")])
def test_whole_chunks_of_noise_are_one_kind_of_error(chunks: list[tuple[bytes, bytes]]) -> None:
    """Chunks whose checksums are right and whose order and contents are not are refused and nothing else happens."""
    with pytest.raises(VerifyError):
        read_whole(joined(chunks))


def is_read(data: bytes) -> bool:
    try:
        read_whole(data)
    except VerifyError:
        return False
    return True


def test_every_byte_counts() -> None:
    """A file with any one of its bytes changed is refused: nothing in it is without a checksum."""
    changed = [WHOLE[:i] + bytes([WHOLE[i] ^ 1]) + WHOLE[i + 1 :] for i in range(len(WHOLE))]
    assert [i for i, data in enumerate(changed) if is_read(data)] == []


def test_a_beginning_is_no_file() -> None:
    """A file cut at any place is refused, and whole it is read."""
    assert [size for size in range(len(WHOLE) + 1) if is_read(WHOLE[:size])] == [len(WHOLE)]


def test_the_number_of_chunks_is_limited() -> None:
    """A file of the greatest number of chunks is read, one of one more is refused, though they hold nothing."""
    empty = write_chunk(b"IDAT", b"")
    assert len(read_chunks(SIGNATURE + (MAX_CHUNKS - 1) * empty + END)) == MAX_CHUNKS
    with pytest.raises(VerifyError, match=f"at most {MAX_CHUNKS} chunks, has more"):
        read_chunks(SIGNATURE + MAX_CHUNKS * empty + END)


@pytest.mark.parametrize("behind", [b"x", bytes(100)])
def test_nothing_follows_the_pixels(behind: bytes) -> None:
    """Bytes in the IDAT chunk behind the pixels' checksum, which Pillow ignores, are refused."""
    header, deflated = struct.pack(">IIBBBBB", 2, 1, 8, 0, 0, 0, 0), zlib.compress(bytes(3))
    for rest, is_right in ((b"", True), (behind, False)):
        chunks = [(b"IHDR", header), (b"tEXt", b"gan\0{}"), (b"IDAT", deflated + rest), (b"IEND", b"")]
        assert is_read(joined(chunks)) == is_right


def test_the_text_is_limited() -> None:
    """A text of the greatest length is read, one of one byte more is refused."""
    pixels = np.zeros((1, 1, 1), np.uint8)
    assert len(read_png(write_png(pixels, {"gan": MAX_TEXT * "x"})).text("gan")) == MAX_TEXT
    with pytest.raises(VerifyError, match=f"must have at most {MAX_TEXT} bytes, has {MAX_TEXT + 1}"):
        read_png(write_png(pixels, {"gan": (MAX_TEXT + 1) * "x"})).text("gan")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
NAMES = ("model", "digest", "runtime", "seed", "n", "scale", "parameters")


@pytest.mark.slow
@settings(max_examples=300)
@given(value=st.fixed_dictionaries(dict.fromkeys(NAMES, JSON)) | JSON, escaped=st.booleans())
def test_any_json_is_read_or_refused(value: Any, escaped: bool) -> None:
    """Any JSON where the origin should stand is refused in one line of ASCII, as its digest is none."""
    with pytest.raises(VerifyError) as refusal:
        read_origin(json.dumps(value, ensure_ascii=escaped), Settings())
    assert str(refusal.value).isascii()
    assert "\n" not in str(refusal.value)
