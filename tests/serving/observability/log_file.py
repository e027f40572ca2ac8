"""The log of an application in a file, and the trace that a client's headers name."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from serving.observability.log_writer import LogWriter

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PARENT = f"00-{TRACE}-{SPAN}-01"
"""The header ``traceparent`` of a sampled trace."""


class LogFile:
    """A file and the writer of an application's log in it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT)
        self.writer = LogWriter(self._file)

    def lines(self) -> list[dict[str, Any]]:
        """Close the log and return all lines."""
        self.writer.close(30)
        os.close(self._file)
        return [json.loads(line) for line in self.path.read_text().splitlines()]
