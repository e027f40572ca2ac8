"""Queue, inference and encoding time of a response, recorded once for Server-Timing, logs and traces.

All times are seconds of ``time.perf_counter``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

UNTIMED: Mapping[str, str] = {cache: f"cache;desc={cache}" for cache in ("hit", "coalesced", "not_modified")}
"""Cache result to ``Server-Timing``, for responses without a computation of their own."""

TIMED = "cache;desc=miss, batch;desc=%d, queue;dur=%.2f, inference;dur=%.2f, encode;dur=%.2f"
"""``Server-Timing`` of a computed response; milliseconds."""


class BatchTimes:
    """One inference, which may include rows of several responses."""

    __slots__ = ("rows", "begun", "ended")

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self.begun = self.ended = 0.0


class Run(NamedTuple):
    """A response's share of one inference: when its rows were queued, and the batch that they were part of."""

    submitted: float
    batch: BatchTimes


class Timings:
    """Timings of one response, filled while it is computed and read when it is complete."""

    __slots__ = ("runs", "encoding", "span", "is_queued")

    def __init__(self) -> None:
        self.runs: list[Run] = []
        """Inferences in order; several if the response has more rows than a batch."""
        self.is_queued = False
        """Whether rows of the response wait in a model's queue."""
        self.encoding: tuple[float, float] | None = None
        """Start and end of encoding."""
        self.span: Any = None
        """The OpenTelemetry span of the request that started the computation; None if requests are not traced."""

    def server_timing(self) -> str:
        """The value of ``Server-Timing``: rows of the largest inference, and milliseconds summed over all inferences."""
        rows, queue, inference = 0, 0.0, 0.0
        # Generators and f-strings would take twice as long, noticeable in a request of 100 us.
        for submitted, batch in self.runs:
            rows = max(rows, batch.rows)
            queue += batch.begun - submitted
            inference += batch.ended - batch.begun
        begun, ended = self.encoding or (0.0, 0.0)
        return TIMED % (rows, 1e3 * queue, 1e3 * inference, 1e3 * (ended - begun))
