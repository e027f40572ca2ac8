"""Bodies of finished responses, bounded in bytes; the least recently used is dropped first."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

OVERHEAD = 512
"""Bytes that an entry takes in addition to its body, roughly."""


class ResponseCache:
    """Bodies by entity tag, bounded in bytes; used on one thread.

    Args:
        limit: bytes of all entries; 0 keeps nothing.
        set_size: gets the bytes in use after each change.
    """

    def __init__(self, limit: int, set_size: Callable[[float], None]) -> None:
        self._limit = limit
        self._set_size = set_size
        self._bodies: OrderedDict[str, bytes] = OrderedDict()
        self._size = 0

    def find(self, key: str) -> bytes | None:
        """Return the body of that key, and make it the most recently used one."""
        body = self._bodies.get(key)
        if body is not None:
            self._bodies.move_to_end(key)
        return body

    def keep(self, key: str, body: bytes) -> None:
        """Keep a body, unless it takes more than a quarter of the limit: it would push out too many others."""
        cost = len(body) + OVERHEAD
        if cost > self._limit // 4:
            return
        old = self._bodies.pop(key, None)
        self._size += cost - (len(old) + OVERHEAD if old is not None else 0)
        self._bodies[key] = body
        while self._size > self._limit:
            _, dropped = self._bodies.popitem(last=False)
            self._size -= len(dropped) + OVERHEAD
        self._set_size(self._size)
