"""What a load balancer and Prometheus would see: two routes requested every second, each on a new connection."""

from __future__ import annotations

import http.client
import threading
import time
from dataclasses import dataclass

from tests.harness.service import ask

PATHS = ("/healthz", "/metrics")
PERIOD_SECONDS = 1.0
GOOD_SECONDS = 1.0
"""Longest time for a good answer."""
TIMEOUT_SECONDS = 10.0


@dataclass(frozen=True)
class Probe:
    """One request of one route."""

    path: str
    at: float
    """When it was sent, by ``time.monotonic``."""
    status: int
    """0 if there was no answer."""
    seconds: float

    @property
    def is_good(self) -> bool:
        """Whether it was answered in time."""
        return self.status == 200 and self.seconds < GOOD_SECONDS


def probe_until(is_over: threading.Event, port: int, found: list[Probe]) -> None:
    """Probe all paths once a second and append the results to ``found``, until the event is set."""
    at = time.monotonic()
    while not is_over.wait(max(0.0, at - time.monotonic())):
        found.extend(_probe(port, path) for path in PATHS)
        at += PERIOD_SECONDS


def _probe(port: int, path: str) -> Probe:
    at = time.monotonic()
    try:
        status = ask(port, path, timeout=TIMEOUT_SECONDS).status
    except (OSError, http.client.HTTPException):
        status = 0
    return Probe(path, at, status, time.monotonic() - at)
