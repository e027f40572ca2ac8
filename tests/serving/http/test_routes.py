"""The routes besides ``/generate``, the metrics of one process, and internal errors."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from flask import Flask

from serving.app import create_app
from serving.errors import Problem
from serving.generation.generate import RequestHeaders, Service
from serving.generation.service import answer
from serving.http.asgi import ASGIApp
from serving.http.routes import ROUTES
from serving.model.load import Model
from serving.openapi.document import split_route
from serving.settings import Settings
from tests.serving.client import ask, measured, service_of


def test_the_routes_are_those_of_the_table(app: ASGIApp) -> None:
    """S-03: exactly the routes of the table exist, with GET, HEAD and OPTIONS, or with their own method and OPTIONS."""
    expected = {
        rule: {"GET", "HEAD", "OPTIONS"} if method == "GET" else {method, "OPTIONS"}
        for method, rule in map(split_route, ROUTES)
    }
    assert {rule.rule: rule.methods for rule in app.flask.url_map.iter_rules()} == expected


def test_models_are_listed_with_their_parameters(app: ASGIApp, models: dict[str, Model]) -> None:
    """``/models`` lists all models, the default one first, with digest, formats and parameter ranges."""
    listed = json.loads(ask(app, path="/models").body)["models"]
    assert [model["name"] for model in listed] == list(models)
    assert listed[0]["digest"] == models["conditional"].digest
    assert listed[0]["parameters"] == {
        "y": {"low": 0, "high": 9, "is_integer": True},
        "c0": {"low": -1.0, "high": 1.0, "is_integer": False},
        "c1": {"low": -1.0, "high": 1.0, "is_integer": False},
    }
    assert listed[0]["card"]["classes"] == list("0123456789")
    assert "goldens" not in listed[0]["card"]
    assert listed[0]["walk_formats"] == ["webp", "apng", "gif", "npy", "json"]


def test_one_model_is_shown(app: ASGIApp) -> None:
    """``/models/<name>`` is the entry of the list; the 404 of an unknown name shows it."""
    listed = json.loads(ask(app, path="/models").body)["models"]
    assert json.loads(ask(app, path="/models/grey").body) == next(model for model in listed if model["name"] == "grey")
    missing = ask(app, path="/models/nothing")
    assert (missing.status, json.loads(missing.body)["code"]) == (404, "not_found")
    assert "'nothing'" in json.loads(missing.body)["detail"]


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_a_running_service_is_alive_and_ready(app: ASGIApp, path: str) -> None:
    """Both probes are 200."""
    assert ask(app, path=path).status == 200


@pytest.mark.slow
def test_metrics_say_that_the_service_stops_without_a_probe(settings: Settings) -> None:
    """While it drains, ``gan_ready`` is 0 also where nothing asks ``/readyz``."""
    app = create_app(settings, is_draining=lambda: True, log=lambda event, **facts: None)
    assert measured(service_of(app), "gan_ready") == 1
    assert b"gan_ready 0.0" in ask(app, path="/metrics").body


QUERIES = {"/generate": "seed=1", "/walk": "from=1&to=2", "/mix": "a=1&b=2", "/arithmetic": "a=1&b=2&c=3"}


@pytest.mark.parametrize("path", [route for route in ROUTES if not {"<", " "} & set(route)])
def test_every_response_has_cache_control(app: ASGIApp, path: str) -> None:
    """Every response has ``Cache-Control``; one that may be cached has an ETag, and is 304 while unchanged."""
    answer = ask(app, QUERIES.get(path, ""), path=path)
    rule = answer.headers["Cache-Control"]
    assert rule in ("no-store", "no-cache", "public, no-cache")
    assert ("ETag" in answer.headers) == (rule != "no-store")
    assert "Date" not in answer.headers  # uvicorn sends it, and a second one would contradict it
    if "ETag" in answer.headers:
        tag = {"If-None-Match": answer.headers["ETag"]}
        kept = ask(app, QUERIES.get(path, ""), path=path, headers=tag)
        assert (kept.status, kept.body, kept.headers["ETag"]) == (304, b"", answer.headers["ETag"])


@pytest.mark.parametrize("path", [*QUERIES, "/models", "/healthz", "/", "/static/main.js", "/openapi.json"])
def test_conditions_are_those_of_http(app: ASGIApp, flask_only: Flask, path: str) -> None:
    """RFC 9110, 13.2.2: If-Match comes first and compares strongly, so that a weak tag fails; its 412 is a problem."""
    query = QUERIES.get(path, "")
    tag = ask(app, query, path=path).headers["ETag"]
    other = '"0"'
    cases: list[tuple[str | None, str | None, int]] = [
        (tag, None, 200),
        ("*", None, 200),
        (f"{other}, {tag}", other, 200),
        (tag, f"W/{tag}", 304),
        (" * ", "*", 304),
        (f"W/{tag}, {tag}", f"{other}, W/{other},{tag}", 304),
        (f"{other}," * 15_000 + tag, f"{other}," * 15_000, 200),
        (other, None, 412),
        (other, tag, 412),
        (f"W/{tag}, {other}", None, 412),
        ("", None, 412),
    ]
    for if_match, if_none_match, status in cases:
        conditions = {"If-Match": if_match, "If-None-Match": if_none_match}
        headers = {name: value for name, value in conditions.items() if value is not None}
        for answers in (app, flask_only):
            answer = ask(answers, query, path=path, headers=headers)
            assert (answer.status, headers) == (status, headers)
            assert ask(answers, query, "HEAD", path, headers).status == status
            if status == 412:
                assert answer.headers["Content-Type"] == "application/problem+json"
                assert (json.loads(answer.body)["code"], json.loads(answer.body)["allowed"]) == ("precondition_failed", tag)


@pytest.mark.parametrize("path", [*(route for route in ROUTES if not {"<", " "} & set(route)), "/nowhere", "/models/nothing"])
def test_no_response_is_sniffed_or_shared(app: ASGIApp, path: str) -> None:
    """S-18, S-25: every response, also an error, forbids to guess its type, and none may be read by pages of other origins."""
    answer = ask(app, path=path, headers={"Origin": "https://evil.example"})
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert [name for name, _ in answer.headers if name.lower().startswith("access-control-")] == []
    assert "evil" not in str(answer.headers)


@pytest.mark.parametrize("path", ["/generate", "/models", "/openapi.json", "/"])
def test_headers_that_others_heed_change_nothing(app: ASGIApp, path: str) -> None:
    """S-24: a forged host, method, path or scheme has no effect, so that no cache can be given another response."""
    forged = {"X-Forwarded-Host": "evil.example", "X-Original-URL": "/metrics", "X-Forwarded-Proto": "ftp", "X-Host": "evil"}
    forged |= {
        "X-HTTP-Method-Override": "DELETE",
        "X-Rewrite-URL": "/admin",
        "Forwarded": "host=evil",
        "X-Forwarded-Prefix": "/x",
    }
    seen = [ask(app, "seed=1" * (path == "/generate"), path=path, headers=headers) for headers in (forged, {})]
    assert seen[0] == seen[1]


@pytest.mark.parametrize(("path", "key"), [("/models", "detail"), ("/generate", "detail"), ("/v2", "error")])
@pytest.mark.parametrize("host", ["a..b", 64 * "a"])
def test_a_host_that_flask_refuses_is_400(flask_only: Flask, host: str, path: str, key: str) -> None:
    """H-06: where no connection has checked ``Host``, what Flask refuses is 400, in the format of the route."""
    answer = ask(flask_only, path=path, headers={"Host": host})
    assert (answer.status, json.loads(answer.body)["code"]) == (400, "bad_request")
    assert key in json.loads(answer.body)


@pytest.mark.parametrize(("path", "method"), [("/models", "GET"), ("/v2/models/grey/infer", "POST"), ("/transform", "POST")])
def test_names_with_underscores_are_dropped(app: ASGIApp, path: str, method: str) -> None:
    """H-07: ``X_Request_Id`` is not taken for ``X-Request-Id``."""
    body = b"x" if method == "POST" else b""
    assert ask(app, "", method, path, {"X-Request-Id": "mine"}, body).request_id == "mine"
    assert ask(app, "", method, path, {"X_Request_Id": "mine"}, body).request_id != "mine"


def test_answers_are_counted_by_route_method_and_code(app: ASGIApp) -> None:
    """The fast path and Flask count in the same metrics, by route and never by path."""
    service = service_of(app)
    counted = [
        ("seed=1", "GET", "/generate", {"route": "/generate", "method": "GET", "code": "200"}),
        ("seed=x", "GET", "/generate", {"route": "/generate", "method": "GET", "code": "400"}),
        ("seed=1", "HEAD", "/generate", {"route": "/generate", "method": "HEAD", "code": "200"}),
        ("", "GET", "/models/grey", {"route": "/models/<name>", "method": "GET", "code": "200"}),
        ("", "GET", "/secret", {"route": "none", "method": "GET", "code": "404"}),
        ("", "CANARY", "/generate", {"route": "none", "method": "other", "code": "405"}),
    ]
    for query, method, path, labels in counted:
        before = measured(service, "gan_http_requests_total", **labels)
        ask(app, query, method, path)
        assert measured(service, "gan_http_requests_total", **labels) == before + 1


def test_a_304_has_its_own_label(app: ASGIApp) -> None:
    """A 304 is counted as ``not_modified`` in the histogram of durations."""
    service = service_of(app)
    labels = {"route": "/generate", "cache": "not_modified", "model": "conditional"}
    before = measured(service, "gan_http_request_duration_seconds_count", **labels)
    ask(app, "seed=1", headers={"If-None-Match": ask(app, "seed=1").headers["ETag"]})
    assert measured(service, "gan_http_request_duration_seconds_count", **labels) == before + 1


def test_metric_names_are_stable(app: ASGIApp) -> None:
    """The names that dashboards rely on are exposed, and .25 seconds is a bucket."""
    ask(app, "seed=1")
    text = ask(app, path="/metrics").body.decode()
    for name in (
        "gan_http_requests_total",
        "gan_http_request_duration_seconds_bucket",
        "gan_queue_depth",
        "gan_queue_wait_seconds_sum",
        "gan_batch_size_bucket",
        "gan_batch_padding_rows_total",
        "gan_inference_duration_seconds_count",
        "gan_encode_duration_seconds_count",
        "gan_rejected_total",
        "gan_cache_requests_total",
        "gan_cache_bytes",
        "gan_cancelled_total",
        "gan_model_swaps_total",
        "gan_model_files_refused",
        "gan_model_info",
        "gan_ready",
        "gan_determinism_check_ok",
    ):
        assert re.search(rf"^{name}[ {{]", text, re.MULTILINE), name
    assert re.search(r'^gan_http_request_duration_seconds_bucket{.*le="0.25"', text, re.MULTILINE)


@pytest.mark.slow
def test_errors_are_counted_from_zero(settings: Settings) -> None:
    """Before a first 5xx, each route that is answered by a model shows 0 of them, so that Prometheus sees the first burst."""
    text = ask(create_app(settings, log=lambda event, **facts: None), path="/metrics").body.decode()
    shown = re.findall(r'^gan_http_requests_total{code="(5\d\d)",method="(\w+)",route="([^"]+)"} 0.0$', text, re.MULTILINE)
    routes = {("GET", rule) for rule in ("/generate", "/models/<digest>/generate", "/walk", "/mix", "/arithmetic")}
    routes |= {("POST", rule) for rule in ("/transform", "/v2/models/<name>/infer")}
    assert sorted(shown) == sorted((code, *route) for route in routes for code in ("500", "503", "504"))


def test_no_label_takes_a_value_from_a_client(app: ASGIApp) -> None:
    """O-14: after requests with a marker in all parameters and headers, no metric contains it."""
    for query in ("seed=canary", "canary=1", "model=canary", "format=canary"):
        ask(app, query, headers={"User-Agent": "canary", "Accept": "canary/canary", "If-None-Match": "canary"})
    ask(app, path="/canary", method="CANARY")
    assert b"canary" not in ask(app, path="/metrics").body.lower()


class BrokenSession:
    """A session whose runs raise an error with a secret message."""

    def run(self, output_names: list[str] | None, input_feed: Any, /) -> Any:
        raise RuntimeError("secret in /srv/secret")


def test_a_fault_exposes_an_id_only(make_service: Callable[..., Service], models: dict[str, Model]) -> None:
    """O-09, S-19: a failing inference is 500 with an id; the log has the id and the traceback."""
    broken = replace(models["grey"], session=BrokenSession())  # type: ignore[arg-type]
    events: list[tuple[str, dict[str, object]]] = []

    def log(event: str, **facts: object) -> None:
        events.append((event, facts))

    service = make_service({"grey": broken})
    reply = service.portal.run(answer(service, log, "seed=1", RequestHeaders()))
    problem = json.loads(reply.body)
    assert (reply.status, problem["code"]) == (500, "internal")
    assert b"secret" not in reply.body
    ((event, facts),) = events
    assert (event, facts["id"]) == ("fault", problem["id"])
    assert "secret in /srv/secret" in str(facts["error"])


def all_problems(kind: type[Problem] = Problem) -> list[type[Problem]]:
    return [found for child in kind.__subclasses__() for found in (child, *all_problems(child))]


def test_problem_codes_are_stable_and_unique() -> None:
    """Each problem has its own code, on which clients may rely."""
    assert {problem.code: problem.status for problem in all_problems()} == {
        "bad_query": 400,
        "unknown_parameter": 400,
        "repeated_parameter": 400,
        "bad_parameter": 400,
        "missing_parameter": 400,
        "not_found": 404,
        "method_not_allowed": 405,
        "not_acceptable": 406,
        "internal": 500,
        "non_finite": 500,
        "out_of_memory": 503,
        "queue_full": 503,
        "shutting_down": 503,
        "deadline_exceeded": 504,
        "gone": 410,
        "precondition_failed": 412,
        "bad_request": 400,
        "request_timeout": 408,
        "headers_too_large": 431,
        "path_too_long": 414,
        "bad_inference": 400,
        "bad_picture": 400,
        "picture_required": 400,
        "no_picture_taken": 400,
        "content_too_large": 413,
        "unsupported_media_type": 415,
        "unauthorised": 401,
        "too_many_tries": 429,
        "rate_limited": 429,
        "engine_lost": 503,
    }
    assert len({problem.code for problem in all_problems()}) == len(all_problems())
