"""A rate limit for each client address: a token bucket that refills at a steady rate."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from functools import lru_cache
from ipaddress import AddressValueError, IPv6Address, IPv6Network

from serving.errors import RateLimited

MAX_CLIENTS = 10_000
"""Addresses that are remembered; the one unused for longest is forgotten, and has a full bucket again."""


class TokenBucket:
    """Admits rows while their client has a token left; a large request may leave a debt, which the refill pays off.

    Args:
        rate: rows a second for one client; None admits everything.
        burst: rows that a client with a full bucket may request at once.
        clock: seconds, monotonic.
    """

    def __init__(self, rate: float | None, burst: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._burst = burst
        self._clock = clock
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def acquire(self, client: str | None, rows: int, charged: int = 0) -> None:
        """Charge tokens to the client's bucket; a request without a client address is not limited.

        Args:
            client: its address.
            rows: tokens that the request costs.
            charged: those of them that it was charged before; it is admitted then, also if the bucket is empty now.

        Raises:
            RateLimited: the bucket is empty.
        """
        if self._rate is None or client is None:
            return
        if ":" in client:
            client = network_of(client)
        now = self._clock()
        left, then = self._left.get(client, (self._burst, now))
        left = min(self._burst, left + (now - then) * self._rate)
        if left <= 0 and not charged:
            raise RateLimited(self._rate, -left / self._rate)
        self._left[client] = (left - rows + charged, now)
        self._left.move_to_end(client)
        if len(self._left) > MAX_CLIENTS:
            self._left.popitem(last=False)

    def __len__(self) -> int:
        """How many clients are remembered."""
        return len(self._left)


@lru_cache(MAX_CLIENTS)
def network_of(address: str) -> str:
    """The client of an IPv6 address: its network of 64 bits, which one host may own, or the IPv4 address inside it."""
    try:
        ip = IPv6Address(address)
    except AddressValueError:
        return address
    return str(ip.ipv4_mapped or IPv6Network((ip.packed[:8] + bytes(8), 64)))
