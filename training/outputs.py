"""The outputs of a program that trains for hours: they may lose their reader, and may know no letters but ASCII's."""

from __future__ import annotations

import errno
import io
import os
from collections.abc import Callable
from typing import Any, TextIO, TypeVar, cast

LOST = (errno.EPIPE, errno.EIO)
"""What a write meets whose reader has ended: ``| head -1`` has read its line, the terminal is closed."""

T = TypeVar("T")


def lasting(stream: TextIO) -> TextIO:
    """A text output without whose reader the program goes on.

    After its reader has ended, what is written is lost, and a character that its encoding lacks is written as its number.
    """
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="backslashreplace")
    return cast(TextIO, _Lasting(stream))


class _Lasting:
    """Passes all to a stream, and leads its descriptor to /dev/null once the reader is lost."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        return self._unless_lost(lambda: self._stream.write(text), len(text))

    def flush(self) -> None:
        self._unless_lost(self._stream.flush, None)

    def _unless_lost(self, act: Callable[[], T], otherwise: T) -> T:
        try:
            return act()
        except OSError as error:
            if error.errno not in LOST:
                error.filename = getattr(self._stream, "name", None)  # <stdout>; the error of a write names no file
                raise
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._stream.fileno())  # also for what waits in the stream's buffer, which Python writes at its end
        os.close(nowhere)
        return otherwise
