"""Where each request begins and ends: it is counted, written to the log and, where that is wanted, traced.

The lane and Flask's views alike begin a visit here when a request arrives, and end it when its answer is known.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from json.encoder import encode_basestring_ascii
from typing import TYPE_CHECKING, NamedTuple

from prometheus_client import Counter, Histogram

from serving.errors import TracingError
from serving.observability.log_writer import LogWriter
from serving.observability.logs import Clock
from serving.observability.metrics import METHODS, Metrics
from serving.observability.request_context import RequestContext
from serving.settings import Settings

if TYPE_CHECKING:
    from serving.observability.tracing import Tracing  # OpenTelemetry is not imported unless it is wanted

SHOWN_LETTERS = 512
"""Of a target, in the log."""
SHOWN_METHOD = 32
"""Letters of a method, in the log."""

quoted: Callable[[str], str] = encode_basestring_ascii
"""Text as JSON in ASCII; the standard library's own, since ``json.dumps`` of a whole line takes three times as long."""


class Kind(NamedTuple):
    """What all answers have in common that are counted alike; made once, since that costs as much as counting one."""

    counter: Counter
    duration: Histogram
    told: str
    """The middle of a line of the log."""


class RequestObserver:
    """What is done about every request, whoever answers it.

    Args:
        metrics: where it is counted.
        write: takes the log's lines; None where requests are not logged.
        tracing: None where they are not traced.
    """

    def __init__(self, metrics: Metrics, write: Callable[[str], None] | None = None, tracing: Tracing | None = None) -> None:
        self._metrics = metrics
        self._write = write
        self._tracing = tracing
        self._clock = Clock()
        self._kinds: dict[tuple[str, str, int, str | None, str, str], Kind] = {}

    def begin(self, context: RequestContext) -> RequestContext:
        """A request has arrived."""
        if self._tracing:
            self._tracing.begin(context)
        return context

    def end(
        self, context: RequestContext, route: str, status: int, size: int, *, cache: str | None = None, model: str = ""
    ) -> None:
        """Its answer is known.

        Args:
            visit: what ``begin`` gave.
            route: as the table of contents has it, or ``none``.
            status: of the answer.
            size: bytes of its body.
            cache: where it came from, of samples.
            model: name of the served model that it is from, or empty.
        """
        seconds = time.perf_counter() - context.start
        kind = self._kind(context, route, status, cache, model)
        kind.counter.inc()
        kind.duration.observe(seconds)
        if self._tracing:
            self._tracing.end(context, route, status, seconds, cache)
        if self._write:
            self._write(self._line(context, kind.told, f"{1e3 * seconds:.3f}", size))

    def refuse(self, context: RequestContext, status: int, size: int) -> None:
        """Log a request whose head was refused: it never arrived, so it is not counted, and took no time."""
        if self._write:
            self._write(self._line(context, _told(context, "none", status, None), "null", size))

    def close(self) -> None:
        """Send what is still to be sent of traces."""
        if self._tracing:
            self._tracing.close()

    def _kind(self, context: RequestContext, route: str, status: int, cache: str | None, model: str) -> Kind:
        key = (route, context.method, status, cache, model, context.model)
        kind = self._kinds.get(key)
        if kind is None:
            meters = self._metrics.answered(route, context.method, status, cache or "miss", model)
            kind = Kind(*meters, _told(context, route, status, cache))
            if context.method in METHODS:  # clients must not fill the table
                self._kinds[key] = kind
        return kind

    def _line(self, context: RequestContext, told: str, milliseconds: str, size: int) -> str:
        target = context.target
        cut = f',"target_length":{len(target)}' if len(target) > SHOWN_LETTERS else ""
        trace = _trace(context) if context.caller or context.span else ""
        return (
            f'{{"event":"request","time":"{self._clock.now()}","id":"{context.id}",{told},'
            f'"target":{quoted(target[:SHOWN_LETTERS])}{cut},"ms":{milliseconds},"bytes":{size}{trace}}}'
        )


def make_observer(
    settings: Settings, metrics: Metrics, log_writer: LogWriter | None, tracing: Tracing | None
) -> RequestObserver:
    """What the settings want done about requests.

    Args:
        settings: whether they are logged and traced.
        metrics: where they are counted.
        journal: where their lines go; None means nowhere.
        tracing: where their spans go; None means where OpenTelemetry's variables say, if the settings want any.

    Raises:
        TracingError: they are to be traced, and what that needs is not installed, or OpenTelemetry refuses its settings.
    """
    if log_writer:
        log_writer.count_dropped(metrics.log_dropped.inc)
    if settings.tracing and tracing is None:
        try:
            from serving.observability.tracing import (
                open_tracing,  # not above: where nothing is traced, nothing of it is loaded
            )
        except ImportError as error:
            raise TracingError(f"GAN_TRACING is on, but {error.name} is missing; pip install 'gan-serve[tracing]'") from None
        try:
            tracing = open_tracing()
        except ValueError as error:
            raise TracingError(f"OpenTelemetry refuses a setting of OTEL_*: {error}") from None
    return RequestObserver(metrics, log_writer.write if log_writer and settings.request_log else None, tracing)


def _told(context: RequestContext, route: str, status: int, cache: str | None) -> str:
    model = quoted(context.model) if context.model else "null"
    came_from = quoted(cache) if cache else "null"
    method = quoted(context.method[:SHOWN_METHOD])
    return f'"method":{method},"route":"{route}","status":{status},"cache":{came_from},"model":{model}'


def _trace(context: RequestContext) -> str:
    """Which trace it belongs to, which span it is, and which span it was made for."""
    facts = {}
    if context.caller:
        facts = {"trace_id": context.caller.trace_id, "parent_id": context.caller.span_id}
    if context.span:
        span = context.span.get_span_context()  # nothing but zeros where OTEL_SDK_DISABLED is true
        if span.is_valid:
            facts |= {"trace_id": f"{span.trace_id:032x}", "span_id": f"{span.span_id:016x}"}
    return "".join(f',"{name}":"{value}"' for name, value in facts.items())
