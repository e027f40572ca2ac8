"""Requests to ``/generate``: every case of the corpus, methods, paths, and generated queries."""

from __future__ import annotations

import json

import pytest
from flask import Flask
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.http.asgi import ASGIApp
from tests.serving.client import Answer, ask
from tests.serving.corpus import CASES, Case


def ask_case(app: ASGIApp | Flask, case: Case, method: str = "GET") -> Answer:
    return ask(app, case.query, method, headers={"Accept": case.accept} if case.accept else None)


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_each_request_is_answered_as_the_table_says(app: ASGIApp, case: Case) -> None:
    """A request gets the table's status; an error is problem+json with its code, the wrong value and the right range."""
    answer = ask_case(app, case)
    assert answer.status == case.status, answer.body
    assert answer.headers["Vary"] == "Accept"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    if case.status != 200:
        problem = json.loads(answer.body)
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert (problem["status"], problem["code"]) == (case.status, case.code)
        assert case.shown in problem["detail"]
        assert len(problem.get("value", "")) <= 64
        assert "Set-Cookie" not in answer.headers


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_the_lane_and_flask_answer_the_same(app: ASGIApp, flask_only: Flask, case: Case, method: str) -> None:
    """With and without the fast path, status, headers in their order, and body are the same."""
    assert ask_case(app, case, method) == ask_case(flask_only, case, method)


def test_the_lane_and_flask_agree_on_304(app: ASGIApp, flask_only: Flask) -> None:
    """A conditional request is answered the same way with and without the fast path."""
    headers = {"If-None-Match": ask(app, "seed=1").headers["ETag"]}
    answers = [ask(one, "seed=1", headers=headers) for one in (app, flask_only)]
    assert answers[0] == answers[1]
    assert answers[0].status == 304


def test_an_escaped_name_is_the_name(app: ASGIApp) -> None:
    """``%73eed=7`` is ``seed=7``."""
    assert ask(app, "%73eed=7") == ask(app, "seed=7")


def test_without_a_seed_any_is_taken_and_told(app: ASGIApp) -> None:
    """No query at all gives a random seed in X-Seed, is not to be kept, and the seed gives the same bytes again."""
    first = ask(app)
    again = ask(app, f"seed={first.headers['X-Seed']}")
    assert first.status == 200
    assert first.headers["Cache-Control"] == "no-store"
    assert first.body == again.body


def test_random_seeds_differ(app: ASGIApp) -> None:
    """Requests without a seed get different ones."""
    assert len({ask(app, method="HEAD").headers["X-Seed"] for _ in range(20)}) == 20


def test_a_random_seed_is_never_answered_from_a_cache(app: ASGIApp) -> None:
    """``If-None-Match: *`` without a seed still brings a sample."""
    assert ask(app, headers={"If-None-Match": "*"}).status == 200


def test_accept_chooses_the_format(app: ASGIApp) -> None:
    """The most welcome format is given; the server's own order decides among equals."""
    wanted = {
        "image/webp": "image/webp",
        "image/webp, image/png": "image/png",
        "image/webp;q=.9, image/jpeg;q=0.95, application/json;q=0.1": "image/jpeg",
        "image/*;q=0, image/png": "image/png",
        "image/avif, image/webp;q=.9": "image/avif",
        "application/x-tar": "application/x-tar",
        "text/html, */*;q=0.1": "image/png",
        "image/avif,image/webp,image/*,*/*;q=0.8": "image/png",
        "application/json": "application/json",
        " , ,,image/webp,": "image/webp",
        "image/webp" + "," * 1014: "image/webp",
    }
    assert {accept: ask(app, "seed=1", headers={"Accept": accept}).headers["Content-Type"] for accept in wanted} == wanted


def test_the_format_parameter_wins_over_accept(app: ASGIApp) -> None:
    """``format=png`` with ``Accept: image/jpeg`` gives PNG."""
    assert ask(app, "seed=1&format=png", headers={"Accept": "image/jpeg"}).headers["Content-Type"] == "image/png"


@pytest.mark.parametrize("accept", ["," * 60_000, "a/b;q=0," * 7500, "image/png" + " " * 1016])
def test_an_accept_header_that_takes_long_to_read_is_refused(app: ASGIApp, flask_only: Flask, accept: str) -> None:
    """B-17: it is 431 where it would choose the format, and not read where ``format`` does."""
    for path, query in (("/generate", "seed=1"), ("/walk", "from=1&to=2"), ("/mix", "a=1&b=2"), ("/arithmetic", "a=1&b=2&c=3")):
        for answers in (app, flask_only):
            answer = ask(answers, query, path=path, headers={"Accept": accept})
            problem = json.loads(answer.body)
            assert (answer.status, problem["code"]) == (431, "headers_too_large")
            assert problem["detail"] == f"Accept must have at most 1024 characters, has {len(accept)}"
    assert ask(app, "seed=1&format=png", headers={"Accept": accept}).status == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "TRACE", "FOO"])
def test_other_methods_are_refused(app: ASGIApp, method: str) -> None:
    """A method that changes or echoes something gets 405 and what is allowed, and no sample."""
    answer = ask(app, "seed=1", method, headers={"X-Canary": "canary", "Content-Encoding": "gzip"}, body=b"\x1f\x8b" * 99)
    assert answer.status == 405
    assert answer.headers["Allow"] == "GET, HEAD, OPTIONS"
    assert json.loads(answer.body)["code"] == "method_not_allowed"
    assert b"canary" not in answer.body


def test_options_tells_what_is_allowed(app: ASGIApp) -> None:
    """OPTIONS answers 200 with Allow and no body, and thus no type; it is not kept. For no route there is no Allow."""
    answer = ask(app, "seed=1", "OPTIONS")
    assert (answer.status, answer.headers["Allow"], answer.body) == (200, "GET, HEAD, OPTIONS", b"")
    assert ("Content-Type" in answer.headers, answer.headers["Cache-Control"]) == (False, "no-store")
    assert "Allow" not in ask(app, "", "OPTIONS", "/nowhere").headers


@pytest.mark.parametrize(
    "range_header", ["bytes=0-99", "bytes=999999999-", "bytes=" + ",".join(f"{i}-{i}" for i in range(1000))]
)
def test_ranges_are_ignored(app: ASGIApp, range_header: str) -> None:
    """A Range header brings the whole answer, and no Accept-Ranges promises otherwise."""
    answer = ask(app, "seed=1", headers={"Range": range_header})
    assert answer == ask(app, "seed=1")
    assert "Accept-Ranges" not in answer.headers


def test_a_body_on_get_is_ignored(app: ASGIApp) -> None:
    """A GET with a body, said to be JSON, is answered as one without."""
    assert ask(app, "seed=1", headers={"Content-Type": "application/json"}, body=b'{"seed": 2}') == ask(app, "seed=1")


@pytest.mark.parametrize("path", ["/generate/", "//generate", "/GENERATE", "/generate;x", "/generate\x00", "/x", "/models/x/y"])
def test_other_paths_are_not_found(app: ASGIApp, path: str) -> None:
    """A path that is not exactly a route is 404 as problem+json, never a redirect."""
    answer = ask(app, "seed=1", path=path)
    assert answer.status == 404
    assert json.loads(answer.body)["code"] == "not_found"
    assert "Location" not in answer.headers


TEXT = st.text(max_size=40) | st.text("0123456789-+.eE%&=;_ ", max_size=12) | st.integers(-5, 2**40).map(str)
NAMES = st.sampled_from(["seed", "n", "format", "scale", "model", "y", "c0", "c1"]) | st.text(max_size=8)


@pytest.mark.slow
@settings(max_examples=300)
@given(
    pairs=st.lists(st.tuples(NAMES, TEXT), max_size=5), accept=st.none() | st.text(st.characters(codec="latin-1"), max_size=30)
)
def test_any_text_gets_200_or_400_or_406(app: ASGIApp, pairs: list[tuple[str, str]], accept: str | None) -> None:
    """For any text in any parameter the answer is a sample or a 4xx problem."""
    query = "&".join(f"{name}={value}" for name, value in pairs).encode().decode("latin-1")
    clean = None if accept is None or "\n" in accept or "\r" in accept else {"Accept": accept}
    assert ask(app, query, headers=clean).status in (200, 400, 406)
