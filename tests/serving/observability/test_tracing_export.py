"""Tracing of a server: spans reach a collector by OpenTelemetry's settings, or the service runs without them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.harness.service import environment, run_to_end, running
from tests.serving.observability.log_file import PARENT, TRACE

pytestmark = pytest.mark.process

NOTHING_LOADED = f"""
import sys
from pathlib import Path
from serving.app import create_app
from serving.settings import Settings
from tests.serving.client import ask
app = create_app(Settings(models=(sys.argv[1],), provider="cpu"), log=lambda event, **facts: None)
parent = {{"traceparent": "{PARENT}"}}
assert [ask(app, "seed=1", path=path, headers=parent).status for path in ("/generate", "/generate", "/healthz")] == [200] * 3
print(sorted(name for name in sys.modules if name.startswith("opentelemetry")))
"""


def test_opentelemetry_is_not_loaded_without_tracing(root: Path, folder: Path) -> None:
    """Without ``GAN_TRACING`` no module of OpenTelemetry is imported, also for requests with a ``traceparent``."""
    command = [sys.executable, "-c", NOTHING_LOADED, str(folder / "1-grey.onnx")]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.returncode) == ("[]\n", 0), done.stderr


class Collector(HTTPServer):
    """An OTLP collector over HTTP."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Receiver)
        self.requests: list[tuple[str, ExportTraceServiceRequest]] = []


class Receiver(BaseHTTPRequestHandler):
    """Stores one export request."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        assert isinstance(self.server, Collector)
        self.server.requests.append((self.path, ExportTraceServiceRequest.FromString(body)))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Print nothing."""


@pytest.fixture
def collector() -> Iterator[Collector]:
    """A running collector."""
    with Collector() as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_spans_are_exported_as_the_environment_says(
    root: Path, folder: Path, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Spans are exported by OpenTelemetry's own variables, also those that wait at shutdown."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{collector.server_port}")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
    with running(root, models=folder / "1-grey.onnx", tracing="on") as server:
        assert server.get("/generate?seed=1", headers={"traceparent": PARENT})[0] == 200
        assert server.stop() == 0
    assert {path for path, _ in collector.requests} == {"/v1/traces"}
    # Several where the exporter's own interval ended between two spans.
    resources = [resource for _, request in collector.requests for resource in request.resource_spans]
    for resource in resources:
        fields = {pair.key: pair.value.string_value for pair in resource.resource.attributes}
        assert (fields["service.name"], fields["deployment.environment.name"]) == ("gan-serve", "test")
    spans = [span for resource in resources for scope in resource.scope_spans for span in scope.spans]
    assert sorted(span.name for span in spans) == ["GET /generate", "encode", "inference", "queue"]
    assert {span.trace_id.hex() for span in spans} == {TRACE}


def test_an_unreachable_collector_affects_no_response(root: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Spans are lost, responses are not, and the service exits with 0."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    with running(root, models=folder / "1-grey.onnx", tracing="on") as server:
        assert [server.get("/generate?seed=1")[0] for _ in range(3)] == [200] * 3
        assert server.stop() == 0


def test_tracing_without_opentelemetry_does_not_start(root: Path, folder: Path, tmp_path: Path) -> None:
    """With ``GAN_TRACING=on`` and without OpenTelemetry one line names the missing package, and the exit code is 1."""
    (tmp_path / "opentelemetry.py").write_text(
        "raise ModuleNotFoundError(\"No module named 'opentelemetry'\", name='opentelemetry')"
    )
    done = run_to_end(root, base=environment() | {"PYTHONPATH": str(tmp_path)}, models=folder / "1-grey.onnx", tracing="on")
    assert done.returncode == 1
    assert done.stderr == "serving: GAN_TRACING is on, but opentelemetry is missing; pip install 'gan-serve[tracing]'\n"


def test_an_invalid_opentelemetry_setting_does_not_start(root: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An invalid OTEL_* setting is one error line, as any other setting, instead of workers that crash repeatedly."""
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "10")
    done = run_to_end(root, models=folder / "1-grey.onnx", tracing="on")
    assert done.returncode == 1
    assert re.fullmatch(r"serving: OpenTelemetry refuses a setting of OTEL_\*: max_export_batch_size [^\n]*\n", done.stderr)


def test_a_disabled_sdk_leaves_no_trace_in_the_log(root: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """OTEL_SDK_DISABLED makes all-zero span ids, which are not logged."""
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    with running(root, models=folder / "1-grey.onnx", tracing="on", request_log="on") as server:
        assert server.get("/generate?seed=1")[0] == 200
        assert server.stop() == 0
        assert server.process.stdout is not None
        lines = [json.loads(line) for line in server.process.stdout if '"request"' in line]
    assert lines
    assert all("trace_id" not in line for line in lines)
