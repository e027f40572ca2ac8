"""Clients of the service, each a process of its own: one connection, one request after the other. Imports no torch."""

from __future__ import annotations

import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor
from http.client import HTTPConnection

SEEDS_A_CLIENT = 10**7


def rate(port: int, clients: int, seconds: float) -> float:
    """Answers a second to that many clients; every seed is a new one."""
    with ProcessPoolExecutor(clients, multiprocessing.get_context("spawn")) as pool:
        list(pool.map(ask, *zip(*[(port, 0.0, client) for client in range(clients)], strict=True)))  # all have started
        counts = pool.map(ask, *zip(*[(port, seconds, client) for client in range(clients)], strict=True))
        return sum(counts) / seconds


def ask(port: int, seconds: float, client: int) -> int:
    """Ask for one sample after the other; how many were answered in time.

    Raises:
        RuntimeError: an answer was not 200.
    """
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    end, answered = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        connection.request("GET", f"/generate?seed={SEEDS_A_CLIENT * (client + 1) + answered}")
        response = connection.getresponse()
        body = response.read()
        if response.status != 200:
            raise RuntimeError(f"the service answered {response.status}: {body[:200]!r}")
        answered += 1
    connection.close()
    return answered
