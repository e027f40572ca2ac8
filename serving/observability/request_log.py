"""The observer of all requests: counts, logs and, if enabled, traces each of them.

The fast path and Flask both call ``begin`` when a request arrives, and ``end`` when its response is known.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import count
from json.encoder import encode_basestring_ascii
from typing import TYPE_CHECKING, NamedTuple

from prometheus_client import Counter, Histogram

from serving.errors import TracingError
from serving.observability.log_writer import LogWriter
from serving.observability.logs import Clock
from serving.observability.metrics import METHODS, Metrics
from serving.observability.request_context import RequestContext, shown_target
from serving.settings import Settings

if TYPE_CHECKING:
    from serving.observability.tracing import Tracing  # OpenTelemetry is imported only if tracing is on

MAX_TARGET_LENGTH = 512
"""Maximum characters of a target in the log."""
MAX_METHOD_LENGTH = 32
"""Maximum characters of a method in the log."""

quoted: Callable[[str], str] = encode_basestring_ascii
"""Text to an ASCII JSON string; ``json.dumps`` of a whole line takes three times as long."""


class ResponseSeries(NamedTuple):
    """What responses with the same labels share; cached, since looking it up costs as much as counting a response."""

    counter: Counter
    duration: Histogram
    fields: str
    """The common fields of the log line, as JSON."""


class RequestObserver:
    """Counts, logs and traces requests.

    Args:
        metrics: counts and times requests.
        write: writes a line of the log; None to log no requests.
        tracing: traces requests; None for no traces.
        log_every: of the answers below 400, each how many is logged.
    """

    def __init__(
        self,
        metrics: Metrics,
        write: Callable[[str], None] | None = None,
        tracing: Tracing | None = None,
        log_every: int = 1,
    ) -> None:
        self._metrics = metrics
        self._write = write
        self._tracing = tracing
        self._log_every = log_every
        self._answers = count()
        self._clock = Clock()
        self._series: dict[tuple[str, str, int, str | None, str, str], ResponseSeries] = {}

    def begin(self, context: RequestContext) -> RequestContext:
        """Record that a request has arrived."""
        if self._tracing:
            self._tracing.begin(context)
        return context

    def end(
        self, context: RequestContext, route: str, status: int, size: int, *, cache: str | None = None, model: str = ""
    ) -> None:
        """Record that the response is known.

        Args:
            context: context of the request, from ``begin``.
            route: route of the table ``ROUTES``, or ``none``.
            status: HTTP status code.
            size: bytes of the body.
            cache: cache result of a sample.
            model: name of the served model that computed it, or empty.
        """
        seconds = time.perf_counter() - context.start
        series = self._series_of(context, route, status, cache, model)
        series.counter.inc()
        series.duration.observe(seconds)
        if self._tracing:
            self._tracing.end(context, route, status, seconds, cache)
        if self._write and (status >= 400 or next(self._answers) % self._log_every == 0):
            self._write(self._line(context, series.fields, f"{1e3 * seconds:.3f}", size))

    def refuse(self, context: RequestContext, status: int, size: int) -> None:
        """Log a request whose head was refused; it is not counted and has no duration."""
        if self._write:
            self._write(self._line(context, _response_fields(context, "none", status, None), "null", size))

    def close(self) -> None:
        """Send the remaining spans."""
        if self._tracing:
            self._tracing.close()

    def _series_of(self, context: RequestContext, route: str, status: int, cache: str | None, model: str) -> ResponseSeries:
        key = (route, context.method, status, cache, model, context.model)
        series = self._series.get(key)
        if series is None:
            counter, duration = self._metrics.response_series(route, context.method, status, cache or "miss", model)
            series = ResponseSeries(counter, duration, _response_fields(context, route, status, cache))
            if context.method in METHODS:  # clients must not fill the table
                self._series[key] = series
        return series

    def _line(self, context: RequestContext, fields: str, milliseconds: str, size: int) -> str:
        target = context.target
        length = f',"target_length":{len(target)}' if len(target) > MAX_TARGET_LENGTH else ""
        trace = _trace_fields(context) if context.trace_parent or context.span else ""
        return (
            f'{{"event":"request","time":"{self._clock.now()}","id":"{context.id}",{fields},'
            f'"target":{quoted(shown_target(target[:MAX_TARGET_LENGTH]))}{length},"ms":{milliseconds},"bytes":{size}{trace}}}'
        )


def make_observer(
    settings: Settings, metrics: Metrics, log_writer: LogWriter | None, tracing: Tracing | None
) -> RequestObserver:
    """Create the request observer that the settings ask for.

    Args:
        settings: whether requests are logged and traced.
        metrics: counts and times requests.
        log_writer: writes the lines; None for no request log.
        tracing: exports spans; None to follow ``settings.tracing`` and OpenTelemetry's environment variables.

    Raises:
        TracingError: tracing is on, and OpenTelemetry is not installed or refuses its settings.
    """
    if log_writer:
        log_writer.on_dropped(metrics.log_dropped.inc)
    if settings.tracing and tracing is None:
        try:
            from serving.observability.tracing import open_tracing  # imported here: loads OpenTelemetry
        except ImportError as error:
            raise TracingError(f"GAN_TRACING is on, but {error.name} is missing; pip install 'gan-serve[tracing]'") from None
        try:
            tracing = open_tracing()
        except ValueError as error:
            raise TracingError(f"OpenTelemetry refuses a setting of OTEL_*: {error}") from None
    write = log_writer.write if log_writer and settings.request_log else None
    return RequestObserver(metrics, write, tracing, settings.request_log_every)


def _response_fields(context: RequestContext, route: str, status: int, cache: str | None) -> str:
    model = quoted(context.model) if context.model else "null"
    cache_result = quoted(cache) if cache else "null"
    method = quoted(context.method[:MAX_METHOD_LENGTH])
    return f'"method":{method},"route":"{route}","status":{status},"cache":{cache_result},"model":{model}'


def _trace_fields(context: RequestContext) -> str:
    """Ids of the trace, of the request's own span, and of the client's span."""
    fields = {}
    if context.trace_parent:
        fields = {"trace_id": context.trace_parent.trace_id, "parent_id": context.trace_parent.span_id}
    if context.span:
        span = context.span.get_span_context()  # all zeros if OTEL_SDK_DISABLED is true
        if span.is_valid:
            fields |= {"trace_id": f"{span.trace_id:032x}", "span_id": f"{span.span_id:016x}"}
    return "".join(f',"{name}":"{value}"' for name, value in fields.items())
