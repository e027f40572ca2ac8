"""Which clock the service reads where."""

from __future__ import annotations

import re

from tests.repository.files import ROOT, name_of, python_files

WALL_CLOCK = re.compile(r"\btime\.time\(|\btime_ns\(|datetime\.(?:now|utcnow|today)\(|\b(?:localtime|gmtime|strftime)\(")


def test_only_the_log_reads_the_wall_clock() -> None:
    """F-21: deadlines, rate limits, back-off and durations use clocks that do not jump; only logs and traces state the time."""
    reading = {name_of(path) for path in python_files("serving") if WALL_CLOCK.search(path.read_text())}
    assert all(name.startswith("serving/observability/") for name in reading), reading
    assert (ROOT / "serving/observability/logs.py").exists()
