"""The service's log: one JSON object per line on standard output."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Protocol


class Log(Protocol):
    """A function that writes an event."""

    def __call__(self, event: str, **facts: object) -> None: ...


def print_event(event: str, **facts: object) -> None:
    """Write an event as one line; a closed standard output is not an error."""
    try:
        sys.stdout.write(event_line(event, facts) + "\n")
        sys.stdout.flush()
    except OSError:
        with suppress(OSError, ValueError):  # send the rest of the buffer to /dev/null, or a later flush fails
            devnull = os.open(os.devnull, os.O_WRONLY)
            os.dup2(devnull, sys.stdout.fileno())
            os.close(devnull)


def event_line(event: str, facts: Mapping[str, object]) -> str:
    """An event as a JSON line without the line break."""
    return json.dumps({"event": event, "time": Clock().now(), **facts}, default=str)


class Clock:
    """The time as text: RFC 3339, UTC, milliseconds. The text of the latest millisecond is cached."""

    def __init__(self) -> None:
        self._latest = (0, "")

    def now(self) -> str:
        """The current time."""
        now = time.time_ns() // 1_000_000
        cached, text = self._latest  # one tuple: any thread may replace it
        if now != cached:
            second, rest = divmod(now, 1000)
            text = f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(second))}.{rest:03d}Z"
            self._latest = (now, text)
        return text
