"""What the service says of itself: one JSON object a line, on standard output."""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress
from typing import Protocol


class Log(Protocol):
    """Where events go."""

    def __call__(self, event: str, **facts: object) -> None: ...


def print_event(event: str, **facts: object) -> None:
    """Write one event as one line; a reader that has gone away does not stop the service."""
    try:
        sys.stdout.write(json.dumps({"event": event, **facts}, default=str) + "\n")
        sys.stdout.flush()
    except OSError:
        with suppress(OSError, ValueError):  # what is left in the buffer must go somewhere, or the next flush fails elsewhere
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, sys.stdout.fileno())
            os.close(nowhere)
