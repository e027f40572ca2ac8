"""OpenTelemetry traces: a server span per request, with its queue, inference and encoding as child spans.

The child spans are created after the response from its recorded timings.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from importlib.metadata import version

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    TraceState,
    set_span_in_context,
)

from serving.observability.metrics import METHODS
from serving.observability.request_context import RequestContext, TraceParent, shown_target
from serving.observability.timings import Timings

NAME = "gan-serve"
FLUSH_SECONDS = 3.0
"""Maximum seconds to send the last spans at shutdown."""


class Tracing:
    """Creates the spans of requests.

    Args:
        provider: exports the spans.
    """

    def __init__(self, provider: TracerProvider) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer(NAME, version(NAME))

    def begin(self, context: RequestContext) -> None:
        """Start a request's span, as a child of the client's span if the request names one."""
        path, _, query = shown_target(context.target).partition("?")
        method = context.method if context.method in METHODS else "_OTHER"
        attributes = {"http.request.method": method, "url.path": path, "url.query": query, "gan.request_id": context.id}
        parent = _parent_context(context.trace_parent) if context.trace_parent else Context()
        arrived = time.time_ns() - int(1e9 * (time.perf_counter() - context.start))
        context.span = self._tracer.start_span(method, parent, SpanKind.SERVER, attributes, start_time=arrived)

    def end(self, context: RequestContext, route: str, status: int, seconds: float, cache: str | None) -> None:
        """End the span and create its children."""
        span = context.span
        if span.is_recording():
            span.update_name(f"{span.attributes['http.request.method']} {route}")
            own = {name: value for name, value in (("gan.model", context.model), ("gan.cache", cache)) if value}
            span.set_attributes({"http.route": route, "http.response.status_code": status, **own})
            if status >= 500:
                span.set_status(Status(StatusCode.ERROR))
            offset = span.start_time - int(1e9 * context.start)
            if context.timings:
                self._add_steps(context, context.timings, offset)
            span.end(offset + int(1e9 * (context.start + seconds)))

    def close(self) -> None:
        """Send the remaining spans; an unresponsive collector delays the shutdown by ``FLUSH_SECONDS`` at most."""
        shutdown = threading.Thread(target=self._provider.shutdown, daemon=True)
        shutdown.start()
        shutdown.join(FLUSH_SECONDS)

    def _add_steps(self, context: RequestContext, timings: Timings, offset: int) -> None:
        """Add the steps of the computation as child spans, or a link to the request that owns the computation.

        Args:
            context: context of the request, its span not yet ended.
            timings: timings of the computation.
            offset: nanoseconds to add to ``perf_counter`` for Unix time.
        """
        if timings.span is not context.span:
            context.span.add_link(timings.span.get_span_context())
            return
        parent = set_span_in_context(context.span, Context())
        for name, begun, ended, attributes in _steps(timings, context.model):
            span = self._tracer.start_span(name, parent, attributes=attributes, start_time=offset + int(1e9 * begun))
            span.end(offset + int(1e9 * ended))


def open_tracing() -> Tracing:
    """Export spans as OpenTelemetry's own variables say: ``OTEL_EXPORTER_OTLP_ENDPOINT`` and others."""
    resource = Resource.create()
    if str(resource.attributes[SERVICE_NAME]).startswith("unknown_service"):
        resource = resource.merge(Resource({SERVICE_NAME: NAME}))
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return Tracing(provider)


def _parent_context(parent: TraceParent) -> Context:
    """An OpenTelemetry context with the client's span as the current one."""
    state = TraceState.from_header([parent.state]) if parent.state else None
    span = SpanContext(
        int(parent.trace_id, 16),
        int(parent.span_id, 16),
        is_remote=True,
        trace_flags=TraceFlags(int(parent.flags, 16)),
        trace_state=state,
    )
    return set_span_in_context(NonRecordingSpan(span), Context())


def _steps(timings: Timings, model: str) -> Iterator[tuple[str, float, float, dict[str, str | int]]]:
    """The steps of a computation: name, start, end and attributes."""
    for submitted, batch in timings.runs:
        yield "queue", submitted, batch.begun, {}
        yield "inference", batch.begun, batch.ended, {"gan.batch.rows": batch.rows, "gan.model": model}
    if timings.encoding:
        yield "encode", *timings.encoding, {}
