"""The request log: one line per request, and the request id in log, response and fault."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from serving.app import create_app
from serving.http.asgi import ASGIApp
from serving.observability.log_writer import ATOMIC_WRITE_BYTES
from serving.observability.request_context import shown_target
from serving.settings import Settings
from tests.harness.processes import TIMEOUT
from tests.harness.service import running
from tests.serving.client import ask, break_model, service_of
from tests.serving.observability.log_file import PARENT, SPAN, TRACE, LogFile


class Logged(LogFile):
    """An application and its log."""

    def __init__(self, settings: Settings, path: Path) -> None:
        super().__init__(path)
        self.app = create_app(settings, log=self.writer.event, log_writer=self.writer)

    def requests(self) -> list[dict[str, Any]]:
        """Close the log and return the lines of requests."""
        return [line for line in self.lines() if line["event"] == "request"]


@pytest.fixture
def make_logged(folder: Path, tmp_path: Path) -> Callable[..., Logged]:
    """Create an application that logs to a file; keyword arguments change settings."""
    settings = Settings(models=(str(folder / "1-grey.onnx"),), provider="cpu")
    return lambda **changes: Logged(replace(settings, **changes), tmp_path / "log")


@pytest.mark.parametrize("fast_path", [True, False])
def test_of_good_answers_a_part_can_be_logged(make_logged: Callable[..., Logged], fast_path: bool) -> None:
    """With ``request_log_every=10`` each tenth answer below 400 is a line, and every other one is."""
    logged = make_logged(fast_path=fast_path, request_log_every=10)
    for seed in range(25):
        ask(logged.app, f"seed={seed}")
        ask(logged.app, f"seed=x{seed}")
    statuses = [line["status"] for line in logged.requests()]
    assert [statuses.count(200), statuses.count(400)] == [3, 25]


@pytest.mark.parametrize("fast_path", [True, False])
def test_each_request_is_one_line(make_logged: Callable[..., Logged], fast_path: bool) -> None:
    """Each request is one line, with and without the fast path, for any route and for none."""
    logged = make_logged(fast_path=fast_path)
    asked = [
        ("GET", "/generate", "seed=1", "/generate", 200, "miss", "grey"),
        ("GET", "/generate", "seed=1", "/generate", 200, "hit", "grey"),
        ("HEAD", "/generate", "seed=1", "/generate", 200, "miss", "grey"),
        ("GET", "/generate", "seed=x", "/generate", 400, None, None),
        ("GET", "/mix", "a=1&b=2", "/mix", 200, "miss", "grey"),
        ("GET", "/healthz", "", "/healthz", 200, None, None),
        ("GET", "/models/grey", "", "/models/<name>", 200, None, None),
        ("GET", "/nowhere", "", "none", 404, None, None),
        ("POST", "/generate", "", "/generate", 405, None, None),
        ("OPTIONS", "/walk", "", "/walk", 200, None, None),
    ]
    answers = [ask(logged.app, query, method, path) for method, path, query, *_ in asked]
    lines = logged.requests()
    for line, answer, (method, path, query, route, status, cache, model) in zip(lines, answers, asked, strict=True):
        fields = {name: line[name] for name in ("method", "target", "route", "status", "cache", "model", "id", "bytes")}
        # Flask knows no route of a request whose method it refuses.
        assert fields == {
            "method": method,
            "target": f"{path}?{query}" if query else path,
            "route": "none" if status == 405 else route,
            "status": status,
            "cache": cache,
            "model": model,
            "id": answer.request_id,
            "bytes": len(answer.body),
        }
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["time"])
        assert line["ms"] >= 0


def test_an_inference_by_the_protocol_names_its_model(make_logged: Callable[..., Logged]) -> None:
    """An inference by the Open Inference Protocol has its model's name in its line and in the histogram of durations."""
    logged = make_logged()
    seed = {"name": "seed", "datatype": "INT64", "shape": [1], "data": [1]}
    body = json.dumps({"inputs": [seed]}).encode()
    assert ask(logged.app, method="POST", path="/v2/models/grey/infer", body=body).status == 200
    labels = {"route": "/v2/models/<name>/infer", "cache": "miss", "model": "grey"}
    registry = service_of(logged.app).metrics.registry
    assert registry.get_sample_value("gan_http_request_duration_seconds_count", labels) == 1
    assert [line["model"] for line in logged.requests()] == ["grey"]


@pytest.mark.parametrize("fast_path", [True, False])
def test_a_refused_sample_names_its_model(make_logged: Callable[..., Logged], fast_path: bool) -> None:
    """A sample that is refused or late after its query was read has its model in its line."""
    logged = make_logged(fast_path=fast_path, client_rate=1)
    inference = json.dumps({"inputs": [{"name": "seed", "datatype": "INT64", "shape": [9], "data": 9 * [1]}]}).encode()
    post: dict[str, Any] = {"method": "POST", "path": "/v2/models/grey/infer"}
    answers = [
        ask(logged.app, "seed=1", headers={"Accept": "text/html"}),
        ask(logged.app, "seed=1&scale=2&format=npy"),
        ask(logged.app, "a=1&b=2", path="/mix", headers={"Accept": "text/html"}),
        ask(logged.app, "from=1&to=2&scale=2&format=npy", path="/walk"),
        ask(logged.app, **post, body=b"{}"),
        ask(logged.app, **post, body=inference),
        ask(logged.app, **post, body=inference),
    ]
    assert [answer.status for answer in answers] == [406, 400, 406, 400, 400, 200, 429]
    assert [line["model"] for line in logged.requests()] == len(answers) * ["grey"]


@pytest.mark.parametrize("path", ["/models", "/openapi.json", "/", "/static/main.js"])
def test_a_304_has_no_bytes(make_logged: Callable[..., Logged], path: str) -> None:
    """The line of a 304 has the size of its body, which is empty."""
    logged = make_logged()
    whole = ask(logged.app, path=path)
    assert ask(logged.app, path=path, headers={"If-None-Match": whole.headers["ETag"]}).status == 304
    assert [line["bytes"] for line in logged.requests()] == [len(whole.body), 0]


def test_what_a_client_sends_is_escaped_and_cut(make_logged: Callable[..., Logged]) -> None:
    """Quotes, line breaks and non-ASCII characters are escaped; a long target is cut and its length logged."""
    logged = make_logged()
    hostile = 'x="}\n{"event":"fault"}\x00\u00e4\\'
    ask(logged.app, hostile)
    ask(logged.app, "x" * 5000, method='M"\n' * 30)
    first, second = logged.requests()
    assert first["target"] == f"/generate?{hostile}"
    assert (second["target"], second["target_length"]) == ("/generate?" + "x" * 502, 5010)
    assert second["method"] == ('M"\n' * 30)[:32]
    raw = logged.path.read_bytes()
    assert all(byte == 10 or 32 <= byte < 127 for byte in raw)
    assert len(raw.splitlines()) == len(raw.decode().split("\n")) - 1


@pytest.mark.parametrize(
    ("path", "is_shown"),
    [
        ("/admin/reload", False),
        ("/admin", False),
        ("/adm%69n/reload", False),
        ("//admin/none", False),
        ("/models/admin/generate", True),
        ("/administer", True),
        ("/%25admin/", True),
    ],
)
def test_no_query_of_an_admin_route_is_logged(make_logged: Callable[..., Logged], path: str, is_shown: bool) -> None:
    """A token that was put there is in no line, with a right path or a wrong one; other routes keep their query."""
    logged = make_logged(admin_token="x" * 32)
    ask(logged.app, "token=SECRET", path=path, method="POST")
    (line,) = logged.requests()
    assert line["target"] == path + "?token=SECRET" * is_shown


def test_no_query_of_an_admin_route_is_logged_where_the_target_names_a_host() -> None:
    """An absolute target, as a proxy is sent."""
    assert shown_target("HTTP://gan:8000/admin/reload?token=SECRET") == "HTTP://gan:8000/admin/reload"
    assert shown_target("http://gan/generate?seed=1&x=/admin/") == "http://gan/generate?seed=1&x=/admin/"


def test_a_line_is_written_in_one_piece(make_logged: Callable[..., Logged]) -> None:
    """The longest line, with escaped characters, the longest id and a trace, is written atomically."""
    logged = make_logged()
    headers = {"X-Request-Id": 128 * "a", "traceparent": PARENT}
    ask(logged.app, 600 * "\x01", method=40 * "\x01", headers=headers)
    logged.requests()
    assert max(map(len, logged.path.read_bytes().splitlines())) < ATOMIC_WRITE_BYTES


@pytest.mark.parametrize("path", ["/generate", "/mix", "/healthz", "/nowhere", "/v2/nowhere", "//generate"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "POST"])
def test_every_response_has_a_request_id(app: ASGIApp, path: str, method: str) -> None:
    """Each response, also an error, has the request's ``X-Request-Id``, or a new unique one."""
    assert ask(app, method=method, path=path, headers={"X-Request-Id": "my-1"}).request_id == "my-1"
    made = [ask(app, method=method, path=path).request_id for _ in range(3)]
    assert len(set(made)) == 3
    assert None not in made


@pytest.mark.parametrize("name", ["a" * 128, "1-67891233-abcdef012345678912345678", "Root=1/2:3.4_5~6@7+8"])
def test_a_safe_request_id_is_kept(app: ASGIApp, name: str) -> None:
    """An accepted id is kept, by the fast path and by Flask."""
    for path in ("/generate", "/healthz"):
        assert ask(app, path=path, headers={"X-Request-Id": name}).request_id == name


@pytest.mark.parametrize("name", ["", " ", "a" * 129, 'a"b', "a b", "a,b", "ä", "a\tb", "<script>", "a;b", "{a}", "a\\b"])
def test_an_unsafe_request_id_is_replaced(app: ASGIApp, name: str) -> None:
    """An id with unsafe characters is replaced by a new one."""
    for path in ("/generate", "/healthz"):
        fields = ask(app, path=path, headers={"X-Request-Id": name}).request_id
        assert fields is not None
        assert re.fullmatch(r"[0-9a-f]{12}-[0-9a-f]+", fields)


@pytest.mark.parametrize("path", ["/generate", "/mix", "/v2/models/grey/infer"])
def test_a_fault_is_logged_with_its_request_id(make_logged: Callable[..., Logged], path: str) -> None:
    """A fault, the request's line and the response have the same request id."""
    logged = make_logged()
    break_model(service_of(logged.app), "grey")
    asked: dict[str, Any] = {"path": path, "headers": {"X-Request-Id": "found-me"}}
    if path == "/mix":
        asked["query"] = "a=1&b=2"
    elif path != "/generate":
        seed = {"name": "seed", "datatype": "INT64", "shape": [1], "data": [1]}
        asked |= {"method": "POST", "body": json.dumps({"inputs": [seed]}).encode()}
    answer = ask(logged.app, **asked)
    assert answer.status == 500
    lines = logged.lines()
    (fault,) = [line for line in lines if line["event"] == "fault"]
    (fields,) = [line for line in lines if line["event"] == "request"]
    assert (fault["request"], fields["id"], answer.request_id) == ("found-me",) * 3
    assert "cable cut" in fault["error"]
    assert (fields["status"], fields["model"]) == (500, "grey")


def test_the_request_log_can_be_off(make_logged: Callable[..., Logged]) -> None:
    """``GAN_REQUEST_LOG=off`` logs events only."""
    logged = make_logged(request_log=False)
    ask(logged.app, "seed=1")
    assert {line["event"] for line in logged.lines()} == {"model"}


@pytest.mark.parametrize("path", ["/generate", "/healthz"])
def test_a_callers_trace_is_in_the_line(make_logged: Callable[..., Logged], path: str) -> None:
    """The ids of ``traceparent`` are logged; an invalid header, or a repeated one, is ignored."""
    logged = make_logged()
    for headers in ({"traceparent": PARENT}, {"traceparent": f"{PARENT},{PARENT}"}, {"traceparent": "00-0-0-00"}, {}):
        ask(logged.app, path=path, headers=headers)
    fields = [(line.get("trace_id"), line.get("parent_id")) for line in logged.requests()]
    assert fields == [(TRACE, SPAN)] + 3 * [(None, None)]


def send_requests(port: int, count: int, path: str) -> None:
    """Send ``count`` requests on one connection."""
    connection = HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)
    for _ in range(count):
        connection.request("GET", path)
        connection.getresponse().read()
    connection.close()


@pytest.mark.process
def test_a_log_without_a_reader_blocks_nothing(root: Path, folder: Path) -> None:
    """With a full pipe as standard output the service answers, counts the dropped lines, and exits with 0."""
    with running(root, models=folder / "1-grey.onnx") as server:
        send_requests(server.port, 2500, "/generate?x=" + 150 * '"')
        text = server.get("/metrics")[2].decode()
        (dropped,) = re.findall(r"^gan_log_dropped_total (\S+)$", text, re.MULTILINE)
        assert float(dropped) > 0
        assert server.get("/generate?seed=1")[0] == 200
        assert server.stop() == 0


@pytest.fixture(scope="module")
def two_workers(root: Path, folder: Path) -> list[dict[str, Any]]:
    """The complete log of two workers on one pipe, with requests and malformed heads."""
    with running(root, models=folder / "1-grey.onnx", workers=2) as server:
        assert server.process.stdout is not None
        for seed in range(40):
            server.get(f"/generate?seed={seed}", headers={"X-Request-Id": f"r{seed}"})
        refused = [
            server.send(b"GET /generate?seed=1 HTTP/1.1\r\nX-Request-Id: no-host\r\n\r\n"),
            server.send(b"this is not HTTP\r\n\r\n"),
        ]
        assert [re.findall(rb"(?i)x-request-id: (\S+)", answer) != [] for answer in refused] == [True, True]
        assert server.stop() == 0
        return [json.loads(line) for line in server.process.stdout]


@pytest.mark.process
def test_workers_write_whole_lines_to_their_end(two_workers: list[dict[str, Any]]) -> None:
    """Each request is logged once, also those just before SIGTERM."""
    ids = [line["id"] for line in two_workers if line["event"] == "request" and line["route"] == "/generate"]
    assert sorted(ids) == sorted(f"r{seed}" for seed in range(40))


@pytest.mark.process
def test_a_refused_head_has_an_id_and_a_line(two_workers: list[dict[str, Any]]) -> None:
    """A refused head is logged with the target received so far, without route and duration."""
    fields = [line for line in two_workers if line["event"] == "request" and line["route"] == "none"]
    assert [(line["status"], line["ms"]) for line in fields] == [(400, None)] * 2
    assert sorted(line["target"] for line in fields) == ["", "/generate?seed=1"]
    assert "no-host" in {line["id"] for line in fields}
