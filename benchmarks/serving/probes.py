"""What a load balancer and Prometheus would meet meanwhile: two routes asked every second, each on a new connection."""

from __future__ import annotations

import http.client
import threading
import time
from dataclasses import dataclass

from benchmarks.serving.service import ask

PATHS = ("/healthz", "/metrics")
PERIOD_SECONDS = 1.0
GOOD_SECONDS = 1.0
"""Both have to answer within so long."""
TIMEOUT_SECONDS = 10.0


@dataclass(frozen=True)
class Probe:
    """One look at one route."""

    path: str
    at: float
    """When it began, by ``time.monotonic``."""
    status: int
    """0 if there was no answer."""
    seconds: float

    @property
    def is_good(self) -> bool:
        """Whether it was answered in time."""
        return self.status == 200 and self.seconds < GOOD_SECONDS


def probe_until(is_over: threading.Event, port: int, found: list[Probe]) -> None:
    """Add what is found to the list, until the event."""
    at = time.monotonic()
    while not is_over.wait(max(0.0, at - time.monotonic())):
        found.extend(_look(port, path) for path in PATHS)
        at += PERIOD_SECONDS


def _look(port: int, path: str) -> Probe:
    at = time.monotonic()
    try:
        answer = ask(port, path, timeout=TIMEOUT_SECONDS)
    except (OSError, http.client.HTTPException):
        return Probe(path, at, 0, time.monotonic() - at)
    return Probe(path, at, answer.status, answer.seconds)
