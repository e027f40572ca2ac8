"""The OpenAPI document: all that there is, and nothing that there is not."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any, get_args, get_type_hints

import pytest

from serving.app import create_app
from serving.encoding.formats import FORMATS
from serving.engine.reload import Outcome
from serving.errors import (
    DeadlineExceeded,
    EngineLost,
    OutOfMemory,
    QueueFull,
    RateLimited,
    ShuttingDown,
    TooManyTries,
)
from serving.http.asgi import ASGIApp
from serving.http.routes import ROUTES
from serving.model.load import Model
from serving.openapi.document import all_problems, split_route
from serving.settings import Settings
from tests.serving.client import ask

Document = dict[str, Any]


@pytest.fixture(scope="module")
def document(app: ASGIApp) -> Document:
    """The document of the application with every model."""
    answer = ask(app, path="/openapi.json")
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json")
    document: Document = json.loads(answer.body)
    return document


def address(model: Model) -> str:
    return f"/models/{model.digest}/generate"


def test_every_route_is_told_with_its_methods(document: Document, models: dict[str, Model]) -> None:
    """The paths are those of the table of contents and those of the models that are served."""
    told = {re.sub(r"{(\w+)}", r"<\1>", path): set(item) for path, item in document["paths"].items()}
    routes = {rule: {"get", "head"} if method == "GET" else {method.lower()} for method, rule in map(split_route, ROUTES)}
    assert {path: methods for path, methods in told.items() if path in routes} == routes
    assert {address(model) for model in models.values()} <= set(told)
    names = [operation["operationId"] for item in document["paths"].values() for operation in item.values()]
    assert len(set(names)) == len(names)


def test_a_models_parameters_are_those_that_it_takes(app: ASGIApp, document: Document, models: dict[str, Model]) -> None:
    """At a digest's address the document names what the service itself says may be asked, in its order."""
    for model in models.values():
        told = [p["name"] for p in document["paths"][address(model)]["get"]["parameters"] if p["in"] == "query"]
        assert told == json.loads(ask(app, "nothing=1", path=address(model)).body)["allowed"]


WITH = {"n": "&format=npy", "cols": "&n=256"}
"""What else must be asked for the greatest value of a parameter."""


def test_a_parameter_ends_where_it_says(app: ASGIApp, document: Document, models: dict[str, Model]) -> None:
    """Least and greatest value are answered, the integers beyond them are not; a default changes nothing."""
    path = address(models["conditional"])
    for told in document["paths"][path]["get"]["parameters"]:
        schema = told["schema"]
        if told["in"] != "query" or "minimum" not in schema:
            continue
        values = {schema["minimum"]: 200, schema["maximum"]: 200, schema["maximum"] + 1: 400, schema["minimum"] - 1: 400}
        for value, status in values.items():
            assert ask(app, f"{told['name']}={value}{WITH.get(told['name'], '')}", "HEAD", path).status == status, (told, value)
            assert bool(re.match(schema["x-text-pattern"], str(value))) >= (status == 200)
        if "default" in schema:
            assert ask(app, f"seed=1&{told['name']}={schema['default']}", path=path) == ask(app, "seed=1", path=path)


def test_every_format_is_told(document: Document, models: dict[str, Model]) -> None:
    """A sample's media types, and the names to ask for them by, are those of the model's kind of output."""
    for model in models.values():
        told = document["paths"][address(model)]["get"]
        formats = FORMATS[model.card.output.kind]
        assert set(told["responses"]["200"]["content"]) == {form.media_type for form in formats.values()}
        (names,) = [p["schema"]["enum"] for p in told["parameters"] if p["name"] == "format"]
        assert names == list(formats)


@pytest.fixture(scope="module")
def admins(settings: Settings) -> Document:
    """The document of a service with the reload route."""
    app = create_app(replace(settings, admin_token="0123456789abcdef"), log=lambda event, **facts: None)
    document: Document = json.loads(ask(app, path="/openapi.json").body)
    return document


@pytest.mark.slow
def test_a_route_is_told_where_there_is_one(document: Document, admins: Document) -> None:
    """``/admin/reload`` stands in the document of a service that has a token, and asks for it."""
    assert set(admins["paths"]) - set(document["paths"]) == {"/admin/reload"}
    assert admins["paths"]["/admin/reload"]["post"]["security"] == [{"token": []}]


@pytest.mark.slow
def test_every_result_of_a_reload_is_told(admins: Document) -> None:
    """``restored`` is one, which a reload gives while the engine comes back."""
    outcome = admins["components"]["schemas"]["Outcomes"]["properties"]["outcomes"]["items"]["properties"]
    assert set(outcome["result"]["enum"]) == set(get_args(get_type_hints(Outcome)["result"]))


WAITING = (QueueFull(1), OutOfMemory(), ShuttingDown(), EngineLost(), DeadlineExceeded(1), RateLimited(1, 1), TooManyTries(1))
RETRIED = frozenset(problem.code for problem in WAITING if "Retry-After" in problem.headers)


@pytest.mark.slow
def test_every_problem_is_told_under_its_status(admins: Document) -> None:
    """Each code stands in an answer of its status, and the answers of those to be tried again have ``Retry-After``."""
    document = admins
    status_of = {problem.code: str(problem.status) for problem in all_problems()}
    told = {"not_found", "method_not_allowed", "bad_request", "path_too_long"}  # of no route
    replies = [
        reply for item in document["paths"].values() for operation in item.values() for reply in operation["responses"].items()
    ]
    for status, reply in replies:
        for media in reply.get("content", {}).values():
            for part in media.get("schema", {}).get("allOf", []):
                codes = part.get("properties", {}).get("code", {}).get("enum", [])
                assert [status_of[code] for code in codes] == [status] * len(codes)
                told |= set(codes)
                assert ("Retry-After" in reply["headers"]) == (not RETRIED.isdisjoint(codes)) or not codes
    assert told == set(status_of)
    assert document["components"]["schemas"]["Problem"]["properties"]["code"]["enum"] == sorted(told)


def test_the_document_can_be_read_without_any_other_host(app: ASGIApp, document: Document) -> None:
    """``/docs`` shows every path, and its policy lets it load nothing and run nothing."""
    page = ask(app, path="/docs")
    text = page.body.decode()
    assert page.headers["Content-Security-Policy"] == "default-src 'none'; img-src 'self'; style-src 'unsafe-inline'"
    assert re.findall(r"<script|<link|https?://", text) == []
    assert [path for path in document["paths"] if f" {path}</code>" not in text] == []
