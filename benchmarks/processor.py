"""The processor that figures belong to."""

from __future__ import annotations

import platform
import re
from pathlib import Path


def processor() -> str:
    """Its name, or its architecture where the system does not tell."""
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        found = None
    return found[1].strip() if found else platform.machine()
