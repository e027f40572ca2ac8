"""Several files as one tar stream (POSIX.1-1988, ustar), whose headers follow from names and sizes alone."""

from __future__ import annotations

import tarfile
from collections.abc import Iterable, Iterator

BLOCK = tarfile.BLOCKSIZE


def tar_blocks(members: Iterable[tuple[str, bytes]]) -> Iterator[bytes]:
    """A tar archive in pieces, so that it can be sent while members are computed.

    Every member is a regular file with mode 0644, ids 0, no owner names and time 0: the same names and contents give the same
    bytes.

    Args:
        members: names of up to 100 ASCII characters, and contents of less than 8 GiB.
    """
    for name, content in members:
        header = tarfile.TarInfo(name)
        header.size = len(content)
        yield header.tobuf(tarfile.USTAR_FORMAT, "ascii", "strict")
        yield content
        yield bytes(-len(content) % BLOCK)
    yield bytes(2 * BLOCK)
