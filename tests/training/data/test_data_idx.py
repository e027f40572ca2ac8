"""The IDX parser."""

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray

from training.data import DataError, idx


def encode(values: NDArray[np.uint8]) -> bytes:
    """The array as an IDX file."""
    return bytes((0, 0, 8, values.ndim)) + struct.pack(f">{values.ndim}I", *values.shape) + values.tobytes()


@given(arrays(np.uint8, array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=6)))
def test_what_is_written_is_read(values: NDArray[np.uint8]) -> None:
    """Any array of bytes comes back from IDX as it was."""
    assert np.array_equal(idx.parse(encode(values), values.ndim, "x"), values)


@given(st.binary(max_size=40).filter(lambda content: not content.startswith(bytes((0, 0, 8, 3)))))
def test_other_bytes_are_refused_by_name(content: bytes) -> None:
    """Bytes that do not begin as an IDX file of images raise DataError, naming the file, and nothing else."""
    with pytest.raises(DataError, match=r"^some-file "):
        idx.parse(content, 3, "some-file")


RIGHT = encode(np.zeros((2, 3, 4), np.uint8))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "got an empty file"),
        (b"\x89PNG" + RIGHT, "must begin with the bytes 00 00 08 03, got 89 50 4e 47"),
        (encode(np.zeros(3, np.uint8)), "must begin with the bytes 00 00 08 03, got 00 00 08 01"),
        (RIGHT[:9], "header of 16 bytes, got 9 bytes"),
        (RIGHT[:-1], "promises 2 x 3 x 4 values and must be 40 bytes unpacked, got 39"),
        (RIGHT + b"\0", "must be 40 bytes unpacked, got 41"),
        (bytes((0, 0, 8, 3)) + b"\xff" * 12, "promises 4294967295 x 4294967295 x 4294967295"),
    ],
    ids=["empty", "png", "labels", "half a header", "truncated", "trailing", "huge"],
)
def test_a_wrong_file_says_what_is_wrong(content: bytes, message: str) -> None:
    """A wrong magic, a truncated file and trailing bytes are each reported with the wrong value and the right one."""
    with pytest.raises(DataError, match=message):
        idx.parse(content, 3, "file")


@pytest.mark.parametrize(
    "content",
    [b"", b"no gzip", gzip.compress(RIGHT, mtime=0)[:-12], gzip.compress(RIGHT, mtime=0)[:12] + b"\xff" * 20],
    ids=["empty", "no gzip", "cut short", "garbled"],
)
def test_a_damaged_gzip_file_is_named(tmp_path: Path, content: bytes) -> None:
    """A .gz file that is empty, no gzip, cut short or garbled raises DataError naming it, or gives no values."""
    path = tmp_path / "a.gz"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"a\.gz"):
        idx.parse(idx.read_bytes(path), 3, str(path))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """A file that is not there raises DataError naming it."""
    with pytest.raises(DataError, match="nothing.*No such file"):
        idx.read_bytes(tmp_path / "nothing")
