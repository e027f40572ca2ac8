"""Outputs whose reader ends, and outputs of few letters."""

from __future__ import annotations

import errno
import io
import os
from pathlib import Path
from typing import TextIO

import pytest

from training.outputs import lasting


@pytest.mark.parametrize("make", [os.pipe, os.openpty], ids=["pipe", "terminal"])
def test_an_output_goes_on_without_its_reader(make: object) -> None:
    """A pipe whose reader has ended, or a terminal that was closed: what is written is lost, also what waits in a buffer."""
    reader, writer = os.pipe() if make is os.pipe else os.openpty()
    with os.fdopen(writer, "w") as stream:
        output = lasting(stream)
        print("step 1", file=output, flush=True)
        assert os.read(reader, 6) == b"step 1"
        os.close(reader)
        for _ in range(3):
            print("more than a buffer" * 10_000, file=output)
            print("step 2", file=output, flush=True)


def test_a_full_disk_is_an_error(tmp_path: Path) -> None:
    """Other faults than a lost reader are the caller's."""

    class Full(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        lasting(Full()).write("step 1")


def test_a_character_that_an_output_lacks_is_written_as_its_number() -> None:
    """As under PYTHONIOENCODING=ascii, and as a name of a file that is no UTF-8."""
    for encoding, text, expected in (("ascii", "Blätter", b"Bl\\xe4tter"), ("utf-8", "a\udcff", b"a\\udcff")):
        content = io.BytesIO()
        stream: TextIO = lasting(io.TextIOWrapper(content, encoding=encoding))
        print(text, end="", file=stream, flush=True)
        assert content.getvalue() == expected
        assert not stream.isatty()
