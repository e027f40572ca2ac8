"""Tracing: the spans given to OpenTelemetry's SDK for what an application answers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from serving.app import create_app
from serving.observability.tracing import Tracing
from serving.settings import Settings
from tests.serving.client import Answer, ask, ask_on_the_loop, break_model, service_of
from tests.serving.observability.log_file import PARENT, SPAN, TRACE, LogFile


class Traced(LogFile):
    """An application with its spans in memory, and its log."""

    def __init__(self, settings: Settings, path: Path) -> None:
        super().__init__(path)
        self._exporter = InMemorySpanExporter()
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.app = create_app(settings, log=lambda event, **facts: None, log_writer=self.writer, tracing=Tracing(provider))

    def servers(self) -> list[ReadableSpan]:
        """The server spans in order of their start."""
        spans = [span for span in self._exporter.get_finished_spans() if span.kind is SpanKind.SERVER]
        return sorted(spans, key=lambda span: span.start_time or 0)

    def children(self, parent: ReadableSpan) -> list[ReadableSpan]:
        """The child spans of a request in order."""
        spans = [s for s in self._exporter.get_finished_spans() if s.parent and s.parent.span_id == parent.context.span_id]
        return sorted(spans, key=lambda span: span.start_time or 0)


@pytest.fixture
def make_traced(folder: Path, tmp_path: Path) -> Callable[..., Traced]:
    """Create a traced application; keyword arguments change settings."""
    settings = Settings(models=(str(folder / "1-grey.onnx"),), provider="cpu", tracing=True)
    return lambda **changes: Traced(replace(settings, **changes), tmp_path / "log")


def attributes(span: ReadableSpan, *names: str) -> list[Any]:
    return [(span.attributes or {}).get(name) for name in names]


def test_no_query_of_an_admin_route_is_traced(make_traced: Callable[..., Traced]) -> None:
    """A token that was put there by mistake leaves the service in no span."""
    traced = make_traced(admin_token="x" * 32)
    ask(traced.app, "token=SECRET", path="/admin/reload", method="POST")
    (server,) = traced.servers()
    assert attributes(server, "url.path", "url.query", "http.response.status_code") == ["/admin/reload", "", 401]


@pytest.mark.parametrize("fast_path", [True, False])
@pytest.mark.parametrize(("path", "query"), [("/generate", "seed=1&n=3"), ("/walk", "from=1&to=2&frames=3")])
def test_a_sample_is_a_span_with_its_steps(make_traced: Callable[..., Traced], fast_path: bool, path: str, query: str) -> None:
    """The server span has request and response attributes, and contains queue, inference and encoding in this order."""
    traced = make_traced(fast_path=fast_path)
    answer = ask(traced.app, query, path=path)
    (server,) = traced.servers()
    assert server.name == f"GET {path}"
    assert attributes(server, "http.request.method", "http.route", "http.response.status_code", "url.path", "url.query") == [
        "GET",
        path,
        200,
        path,
        query,
    ]
    assert attributes(server, "gan.model", "gan.cache", "gan.request_id") == ["grey", "miss", answer.request_id]
    queue, inference, encode = traced.children(server)
    assert [step.name for step in (queue, inference, encode)] == ["queue", "inference", "encode"]
    assert attributes(inference, "gan.batch.rows", "gan.model") == [3, "grey"]
    moments = [
        server.start_time,
        queue.start_time,
        queue.end_time,
        inference.start_time,
        inference.end_time,
        encode.start_time,
        encode.end_time,
        server.end_time,
    ]
    assert moments == sorted(moments, key=lambda moment: moment or 0)
    assert {step.context.trace_id for step in (queue, inference, encode)} == {server.context.trace_id}


def test_an_answer_of_several_batches_has_the_steps_of_each(make_traced: Callable[..., Traced]) -> None:
    """Five rows in batches of at most two have three queue and inference spans."""
    traced = make_traced(max_batch=2)
    ask(traced.app, "seed=1&n=5")
    (server,) = traced.servers()
    steps = traced.children(server)
    assert [step.name for step in steps] == ["queue", "inference"] * 3 + ["encode"]
    assert [attributes(step, "gan.batch.rows")[0] for step in steps if step.name == "inference"] == [2, 2, 1]


def test_a_cached_response_has_no_steps(make_traced: Callable[..., Traced]) -> None:
    """A cache hit and a 304 have a server span with the cache result, and no child spans."""
    traced = make_traced()
    tag = ask(traced.app, "seed=1").headers["ETag"]
    ask(traced.app, "seed=1")
    ask(traced.app, "seed=1", headers={"If-None-Match": tag})
    made, *kept = traced.servers()
    assert len(traced.children(made)) == 3
    assert [attributes(span, "gan.cache", "gan.model") for span in kept] == [["hit", "grey"], ["not_modified", "grey"]]
    assert [traced.children(span) for span in kept] == [[], []]


def test_a_coalesced_request_links_to_the_computing_one(make_traced: Callable[..., Traced]) -> None:
    """Of three equal concurrent requests one has the steps, and the other two link to it."""
    traced = make_traced()

    async def send() -> list[Answer]:
        return await asyncio.gather(*(ask_on_the_loop(traced.app, "seed=1", "GET", "/generate", {}, b"") for _ in range(3)))

    service_of(traced.app).portal.run(send())
    (made,) = [span for span in traced.servers() if attributes(span, "gan.cache") == ["miss"]]
    shared = [span for span in traced.servers() if attributes(span, "gan.cache") == ["coalesced"]]
    assert [span.name for span in traced.children(made)] == ["queue", "inference", "encode"]
    assert [[link.context.span_id for link in span.links] for span in shared] == [[made.context.span_id]] * 2
    assert [traced.children(span) for span in shared] == [[], []]


def test_requests_of_one_batch_have_its_size(make_traced: Callable[..., Traced]) -> None:
    """Two different concurrent requests share one inference, which is a step of both."""
    traced = make_traced()

    async def send() -> list[Answer]:
        asked = ("seed=1&n=3", "seed=9&n=5")
        return await asyncio.gather(*(ask_on_the_loop(traced.app, query, "GET", "/generate", {}, b"") for query in asked))

    service_of(traced.app).portal.run(send())
    inferences = [span for server in traced.servers() for span in traced.children(server) if span.name == "inference"]
    assert [attributes(span, "gan.batch.rows") for span in inferences] == [[8], [8]]


@pytest.mark.parametrize("path", ["/generate", "/healthz"])
def test_a_span_continues_the_clients_trace(make_traced: Callable[..., Traced], path: str) -> None:
    """``traceparent`` is the parent, ``tracestate`` is kept, and the log has the same trace and span."""
    traced = make_traced()
    ask(traced.app, path=path, headers={"traceparent": PARENT, "tracestate": "us=1,them=2"})
    (server,) = traced.servers()
    assert server.parent is not None
    assert (f"{server.parent.trace_id:032x}", f"{server.parent.span_id:016x}", server.parent.is_remote) == (TRACE, SPAN, True)
    assert dict(server.context.trace_state) == {"us": "1", "them": "2"}
    (line,) = traced.lines()
    fields = (line["trace_id"], line["parent_id"], line["span_id"])
    assert fields == (f"{server.context.trace_id:032x}", SPAN, f"{server.context.span_id:016x}")


def test_an_invalid_traceparent_starts_a_new_trace(make_traced: Callable[..., Traced]) -> None:
    """An invalid ``traceparent`` is ignored."""
    traced = make_traced()
    ask(traced.app, headers={"traceparent": f"ff-{TRACE}-{SPAN}-01", "tracestate": "us=1"})
    (server,) = traced.servers()
    assert server.parent is None
    assert f"{server.context.trace_id:032x}" != TRACE


def test_the_clients_sampling_flag_is_respected(make_traced: Callable[..., Traced]) -> None:
    """Without the sampled flag there is no span; the log still has the trace."""
    traced = make_traced()
    ask(traced.app, "seed=1", headers={"traceparent": f"00-{TRACE}-{SPAN}-00"})
    assert traced.servers() == []
    assert [line["trace_id"] for line in traced.lines()] == [TRACE]


@pytest.mark.parametrize(
    ("path", "query", "status", "code"),
    [
        ("/generate", "seed=x", 400, StatusCode.UNSET),
        ("/nowhere", "", 404, StatusCode.UNSET),
        ("/generate", "seed=1", 500, StatusCode.ERROR),
        ("/mix", "a=1&b=2", 500, StatusCode.ERROR),
    ],
)
def test_only_server_errors_mark_the_span(
    make_traced: Callable[..., Traced], path: str, query: str, status: int, code: StatusCode
) -> None:
    """A fault marks its span as an error and has the failed inference; a client error does not."""
    traced = make_traced()
    break_model(service_of(traced.app), "grey")
    assert ask(traced.app, query, path=path).status == status
    (server,) = traced.servers()
    assert attributes(server, "http.response.status_code") == [status]
    assert server.status.status_code is code
    assert [step.name for step in traced.children(server)] == (["queue", "inference"] if status == 500 else [])
