"""One request as everything that tells of it knows it: its name, its place in a trace, and what has become of it."""

from __future__ import annotations

import re
import secrets
import time
from itertools import count
from typing import Any, NamedTuple

from serving.observability.timings import Timings

REQUEST_ID = re.compile(r"[A-Za-z0-9._:/+=@~-]{1,128}", re.ASCII)
"""What of ``X-Request-Id`` is taken: nothing that JSON or a header would have to escape, and no list of two."""
TRACEPARENT = re.compile(
    r"(?P<version>(?!ff)[0-9a-f]{2})-(?P<trace>(?!0{32})[0-9a-f]{32})-(?P<span>(?!0{16})[0-9a-f]{16})-(?P<flags>[0-9a-f]{2})"
    r"(?P<more>-.*)?",
    re.ASCII,
)
"""W3C Trace Context, 3.2; of later versions the part that version 00 has."""

_PREFIX, _NUMBERS = secrets.token_hex(6), count()


class TraceParent(NamedTuple):
    """The span on whose behalf a request is made, in hexadecimal digits as ``traceparent`` has them."""

    trace_id: str
    span_id: str
    flags: str
    state: str | None
    """``tracestate``, unread."""


class RequestContext:
    """A request on its way through the service.

    Args:
        method: as sent.
        target: path and query as sent.
        request_id: ``X-Request-Id``; another is made where there is none, or one that nobody would want in a log.
        traceparent: the header; one that is wrong is none.
        tracestate: the header.
    """

    __slots__ = ("id", "method", "target", "start", "caller", "span", "model", "timings")

    def __init__(
        self,
        method: str,
        target: str,
        request_id: str | None = None,
        traceparent: str | None = None,
        tracestate: str | None = None,
    ) -> None:
        self.start = time.perf_counter()
        self.method = method
        self.target = target
        self.id = request_id if request_id and REQUEST_ID.fullmatch(request_id) else f"{_PREFIX}-{next(_NUMBERS):x}"
        self.caller = read_traceparent(traceparent, tracestate) if traceparent else None
        self.span: Any = None
        """OpenTelemetry's, where requests are traced."""
        self.model = ""
        """Name of the served model that it asks for, once that is known."""
        self.timings: Timings | None = None
        """Of the flight that it waits for, once there is one."""

    def join(self, timings: Timings) -> None:
        """Wait for a flight, which is this request's own if it is nobody's yet."""
        self.timings = timings
        if timings.span is None:
            timings.span = self.span


def read_traceparent(traceparent: str, tracestate: str | None = None) -> TraceParent | None:
    """The caller that the header names; None where it is not what the specification allows."""
    found = TRACEPARENT.fullmatch(traceparent.strip(" \t"))
    if not found or (found["version"] == "00" and found["more"]):
        return None
    return TraceParent(found["trace"], found["span"], found["flags"], tracestate)
