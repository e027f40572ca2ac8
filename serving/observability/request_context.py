"""The context of a request for logs, metrics and traces: its id, its trace, its model and its timings."""

from __future__ import annotations

import re
import secrets
import time
from itertools import count
from typing import Any, NamedTuple
from urllib.parse import unquote

from serving.observability.timings import Timings

REQUEST_ID = re.compile(r"[A-Za-z0-9._:/+=@~-]{1,128}", re.ASCII)
"""Accepted values of ``X-Request-Id``: no character that JSON or a header must escape, and no list."""
TRACEPARENT = re.compile(
    r"(?P<version>(?!ff)[0-9a-f]{2})-(?P<trace>(?!0{32})[0-9a-f]{32})-(?P<span>(?!0{16})[0-9a-f]{16})-(?P<flags>[0-9a-f]{2})"
    r"(?P<more>-.*)?",
    re.ASCII,
)
"""W3C Trace Context, 3.2; of later versions the fields of version 00."""

ADMIN_PATH = re.compile(r"(?:https?://[^/]*)?/+admin(?:/|\Z)", re.IGNORECASE)
"""Begin of a decoded target of the admin routes, which may name a host."""

_PREFIX, _NUMBERS = secrets.token_hex(6), count()


class TraceParent(NamedTuple):
    """The client's span, from the header ``traceparent``; ids and flags in hexadecimal digits."""

    trace_id: str
    span_id: str
    flags: str
    state: str | None
    """The header ``tracestate``, unparsed."""


class RequestContext:
    """A request in progress.

    Args:
        method: HTTP method as sent.
        target: path and query as sent.
        request_id: header ``X-Request-Id``; a new id is made if it is missing or not accepted.
        traceparent: header ``traceparent``; an invalid one is ignored.
        tracestate: header ``tracestate``.
        start: when the request and its body had arrived (``time.perf_counter``); None for now.
    """

    __slots__ = ("id", "method", "target", "start", "trace_parent", "span", "model", "timings")

    def __init__(
        self,
        method: str,
        target: str,
        request_id: str | None = None,
        traceparent: str | None = None,
        tracestate: str | None = None,
        *,
        start: float | None = None,
    ) -> None:
        self.start = time.perf_counter() if start is None else start
        self.method = method
        self.target = target
        self.id = request_id if request_id and REQUEST_ID.fullmatch(request_id) else f"{_PREFIX}-{next(_NUMBERS):x}"
        self.trace_parent = parse_traceparent(traceparent, tracestate) if traceparent else None
        self.span: Any = None
        """The OpenTelemetry span; None if requests are not traced."""
        self.model = ""
        """Name of the served model; empty until it is known."""
        self.timings: Timings | None = None
        """Timings of the computation that the request waits for."""

    def join(self, timings: Timings) -> None:
        """Attach to an in-flight computation; the first request to attach owns its trace span."""
        self.timings = timings
        if timings.span is None:
            timings.span = self.span


def shown_target(target: str) -> str:
    """A target for logs and traces: without the query of an admin route, where a client may have put its token."""
    if "admin" in target or "%" in target:  # else the path is no admin route, however it is written
        path = target.partition("?")[0]
        if ADMIN_PATH.match(unquote(path)):
            return path
    return target


def parse_traceparent(traceparent: str, tracestate: str | None = None) -> TraceParent | None:
    """Parse the header; None if it violates the specification.

    Not by ``opentelemetry.propagate``: the log has trace ids also where tracing is off and OpenTelemetry is not imported.
    """
    found = TRACEPARENT.fullmatch(traceparent.strip(" \t"))
    if not found or (found["version"] == "00" and found["more"]):
        return None
    return TraceParent(found["trace"], found["span"], found["flags"], tracestate)
