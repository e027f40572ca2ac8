"""Where the time of an answer went: kept once by whoever makes it, read by everything that tells of it.

All moments are seconds of ``time.perf_counter``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

UNTIMED: Mapping[str, str] = {cache: f"cache;desc={cache}" for cache in ("hit", "coalesced", "not_modified")}
"""By where an answer came from, the ``Server-Timing`` of those that nothing was computed for."""

TIMED = "cache;desc=miss, batch;desc=%d, queue;dur=%.2f, inference;dur=%.2f, encode;dur=%.2f"
"""The same of those that were made; milliseconds."""


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
        rows, queue, inference = 0, 0.0, 0.0
        # Generators and f-strings take twice as long, which a request of a hundred microseconds feels.
        for submitted, batch in self.runs:
            rows = max(rows, batch.rows)
            queue += batch.begun - submitted
            inference += batch.ended - batch.begun
        begun, ended = self.encoding or (0.0, 0.0)
        return TIMED % (rows, 1e3 * queue, 1e3 * inference, 1e3 * (ended - begun))
