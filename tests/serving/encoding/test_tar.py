"""Tar archives: read by others, and the same bytes for the same members."""

from __future__ import annotations

import io
import tarfile
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.encoding.tar import tar_blocks

MEMBERS = st.lists(st.tuples(st.from_regex(r"[0-9]{1,10}\.png", fullmatch=True), st.binary(max_size=1100)), max_size=5)


@pytest.mark.slow
@given(members=MEMBERS)
def test_a_tar_brings_back_its_members(members: list[tuple[str, bytes]]) -> None:
    """Names and contents come back in order from the standard library's reader, as files without an owner and of time 0."""
    with tarfile.open(fileobj=io.BytesIO(b"".join(tar_blocks(members)))) as archive:
        found = archive.getmembers()
        assert [(m.name, archive.extractfile(m).read()) for m in found] == members
    assert {(m.mtime, m.uid, m.gid, m.uname, m.gname, m.mode, m.type) for m in found} <= {
        (0, 0, 0, "", "", 0o644, tarfile.REGTYPE)
    }


@pytest.mark.slow
@given(members=MEMBERS)
def test_a_tar_is_whole_blocks(members: list[tuple[str, bytes]]) -> None:
    """Its size is a multiple of 512 bytes, and it ends with two empty blocks."""
    data = b"".join(tar_blocks(members))
    assert len(data) % 512 == 0
    assert data.endswith(bytes(1024))


def test_a_tar_comes_piece_by_piece() -> None:
    """A member's bytes are there before the next member is made."""
    made: list[int] = []

    def members() -> Any:
        for i in range(3):
            made.append(i)
            yield f"{i}.png", bytes([i])

    blocks = tar_blocks(members())
    assert [next(blocks)[:5], next(blocks), made] == [b"0.png", b"\0", [0]]
