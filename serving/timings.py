"""Where the time of an answer went: kept once by whoever makes it, read by everything that tells of it.

All moments are seconds of ``time.perf_counter``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

UNTIMED: Mapping[str, str] = {cache: f"cache;desc={cache}" for cache in ("hit", "coalesced", "not_modified")}
"""By where an answer came from, the ``Server-Timing`` of those that nothing was computed for."""


class Batch:
    """One inference, of which an answer's rows may be a part."""

    __slots__ = ("rows", "begun", "ended")

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self.begun = self.ended = 0.0


class Run(NamedTuple):
    """One of an answer's ways through the queue."""

    submitted: float
    batch: Batch


class Timings:
    """What the making of one answer took. Whoever makes it adds to it; it is read when the answer is there."""

    __slots__ = ("runs", "encoding", "span")

    def __init__(self) -> None:
        self.runs: list[Run] = []
        """In order; several where an answer has more rows than a batch."""
        self.encoding: tuple[float, float] | None = None
        """From when to when its rows became bytes."""
        self.span: Any = None
        """OpenTelemetry's of the request that it is made for, where requests are traced."""

    def server_timing(self) -> str:
        """The header's value: rows of the largest inference, and milliseconds, those of several inferences together."""
        rows = max((run.batch.rows for run in self.runs), default=0)
        queue = sum(run.batch.begun - run.submitted for run in self.runs)
        inference = sum(run.batch.ended - run.batch.begun for run in self.runs)
        begun, ended = self.encoding or (0.0, 0.0)
        return (
            f"cache;desc=miss, batch;desc={rows}, queue;dur={1e3 * queue:.2f}, inference;dur={1e3 * inference:.2f}, "
            f"encode;dur={1e3 * (ended - begun):.2f}"
        )
