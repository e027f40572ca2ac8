"""Requests as OpenTelemetry's spans: a server span each, with its queue, inference and encoding as children.

Nothing is measured here: the children are drawn afterwards, from what the flight kept of its making.
"""

from __future__ import annotations

import threading
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
from serving.observability.request_context import RequestContext, TraceParent
from serving.observability.timings import Timings

NAME = "gan-serve"
LAST_SECONDS = 3.0
"""How long the last spans may take to be sent."""


class Tracing:
    """Spans of requests.

    Args:
        provider: where they go.
    """

    def __init__(self, provider: TracerProvider) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer(NAME, version(NAME))

    def begin(self, context: RequestContext) -> None:
        """Open a request's span, in the trace of whoever asks."""
        path, _, query = context.target.partition("?")
        method = context.method if context.method in METHODS else "_OTHER"
        attributes = {"http.request.method": method, "url.path": path, "url.query": query, "gan.request_id": context.id}
        parent = _parent(context.caller) if context.caller else Context()
        context.span = self._tracer.start_span(method, parent, SpanKind.SERVER, attributes)

    def end(self, context: RequestContext, route: str, status: int, seconds: float, cache: str | None) -> None:
        """Close it, with its children."""
        span = context.span
        if span.is_recording():
            span.update_name(f"{span.attributes['http.request.method']} {route}")
            span.set_attributes({"http.route": route, "http.response.status_code": status, **_attributes(context, cache)})
            if status >= 500:
                span.set_status(Status(StatusCode.ERROR))
            offset = span.start_time - int(1e9 * context.start)
            if context.timings:
                self._draw(context, context.timings, offset)
            span.end(offset + int(1e9 * (context.start + seconds)))

    def close(self) -> None:
        """Send what waits to be sent; a collector that does not answer is not waited for."""
        sending = threading.Thread(target=self._provider.shutdown, daemon=True)
        sending.start()
        sending.join(LAST_SECONDS)

    def _draw(self, context: RequestContext, timings: Timings, offset: int) -> None:
        """What its flight did as children, or a link to the request for which it was done.

        Args:
            context: its span open.
            timings: of the flight.
            offset: nanoseconds from ``perf_counter``'s beginning to 1970's.
        """
        if timings.span is not context.span:
            context.span.add_link(timings.span.get_span_context())
            return
        parent = set_span_in_context(context.span, Context())
        for name, begun, ended, about in _steps(timings, context.model):
            span = self._tracer.start_span(name, parent, attributes=about, start_time=offset + int(1e9 * begun))
            span.end(offset + int(1e9 * ended))


def open_tracing() -> Tracing:
    """Spans to where the environment says, by OpenTelemetry's own variables: ``OTEL_EXPORTER_OTLP_ENDPOINT`` and others."""
    resource = Resource.create()
    if str(resource.attributes[SERVICE_NAME]).startswith("unknown_service"):
        resource = resource.merge(Resource({SERVICE_NAME: NAME}))
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return Tracing(provider)


def _parent(caller: TraceParent) -> Context:
    """The context in which a caller's request is answered."""
    state = TraceState.from_header([caller.state]) if caller.state else None
    parent = SpanContext(
        int(caller.trace_id, 16),
        int(caller.span_id, 16),
        is_remote=True,
        trace_flags=TraceFlags(int(caller.flags, 16)),
        trace_state=state,
    )
    return set_span_in_context(NonRecordingSpan(parent), Context())


def _attributes(context: RequestContext, cache: str | None) -> dict[str, str]:
    return {name: value for name, value in (("gan.model", context.model), ("gan.cache", cache)) if value}


def _steps(timings: Timings, model: str) -> Iterator[tuple[str, float, float, dict[str, str | int]]]:
    """What a flight did: name, from when to when, and what there is to say of it."""
    for submitted, batch in timings.runs:
        yield "queue", submitted, batch.begun, {}
        yield "inference", batch.begun, batch.ended, {"gan.batch.rows": batch.rows, "gan.model": model}
    if timings.encoding:
        yield "encode", *timings.encoding, {}
