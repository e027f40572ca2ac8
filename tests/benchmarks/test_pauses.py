"""What the collections of a service are reported as."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.serving.pauses import read, report


def test_a_collection_that_took_too_long_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each generation has its line; one long pause of one worker decides."""
    (tmp_path / "1").write_text("0 0.000020\n0 0.000040\n2 0.000900\n")
    (tmp_path / "2").write_text("2 0.001100\n")
    workers = [read(tmp_path / name) for name in ("1", "2")]
    assert report(10, workers, 0.001) == 1
    assert report(10, workers[:1], 0.001) == 0
    out = capsys.readouterr().out
    assert "10 requests, 2 workers, 4 collections" in out
    assert "generation 0: 2 collections, 0.030 ms on average, 0.040 ms at most" in out


def test_no_collection_is_no_pause() -> None:
    """A service whose objects all die by their count collects nothing."""
    assert report(10, [], 0.001) == 0
