"""What the service says of itself: one JSON object a line, on standard output."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Protocol


class Log(Protocol):
    """Where events go."""

    def __call__(self, event: str, **facts: object) -> None: ...


def print_event(event: str, **facts: object) -> None:
    """Write one event as one line; a reader that has gone away does not stop the service."""
    try:
        sys.stdout.write(event_line(event, facts) + "\n")
        sys.stdout.flush()
    except OSError:
        with suppress(OSError, ValueError):  # what is left in the buffer must go somewhere, or the next flush fails elsewhere
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, sys.stdout.fileno())
            os.close(nowhere)


def event_line(event: str, facts: Mapping[str, object]) -> str:
    """An event as a line, without its end."""
    return json.dumps({"event": event, "time": Clock().now(), **facts}, default=str)


class Clock:
    """The time as logs write it, RFC 3339 in UTC; a millisecond's text is made once."""

    def __init__(self) -> None:
        self._latest = (0, "")

    def now(self) -> str:
        """To the millisecond."""
        now = time.time_ns() // 1_000_000
        known, text = self._latest  # one value, since any thread may replace it
        if now != known:
            second, rest = divmod(now, 1000)
            text = f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(second))}.{rest:03d}Z"
            self._latest = (now, text)
        return text
