"""One route's operations as OpenAPI has them: parameters, answers by status, and the problems that it may tell of."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from contract import MAX_SEED
from serving.errors import DeadlineExceeded, InternalProblem, Problem, QueueFull, RateLimited, ShuttingDown, TooManyTries
from serving.observability.request_context import REQUEST_ID
from serving.openapi.schemas import DIGEST, TEXT, Schema, problem_of, ref

PROBLEM = "application/problem+json"
TRANSIENT = (QueueFull, ShuttingDown, DeadlineExceeded, TooManyTries, RateLimited)
"""Problems that say when to try again."""

SERVER_TIMING = (
    r"^cache;desc=(hit|coalesced|not_modified"
    r"|miss, batch;desc=[0-9]+, queue;dur=[0-9]+\.[0-9]{2}, inference;dur=[0-9]+\.[0-9]{2}, encode;dur=[0-9]+\.[0-9]{2})$"
)
HEADERS: dict[str, Schema] = {
    "ETag": {"schema": {"type": "string", "pattern": '^"[0-9a-f]{32,40}"$'}, "description": "Strong."},
    "X-Seed": {"schema": {"type": "integer", "minimum": 0, "maximum": MAX_SEED}, "description": "The first sample's seed."},
    "X-Model-Digest": {"schema": DIGEST, "description": "Which model made it."},
    "Server-Timing": {
        "schema": {"type": "string", "pattern": SERVER_TIMING},
        "required": False,
        "description": "Where the answer came from; if it was made now, also the rows of its inference, and milliseconds that "
        "it waited, was computed and was encoded. Not on HEAD.",
    },
    "X-Request-Id": {
        "schema": {"type": "string", "pattern": f"^{REQUEST_ID.pattern}$"},
        "description": "The request's own, or one that was made for it; the log has it, too.",
    },
    "Cache-Control": {"schema": TEXT},
    "Vary": {"schema": {"const": "Accept"}},
    "Retry-After": {"schema": {"type": "integer", "minimum": 1}, "description": "Seconds until another try is worth it."},
    "Allow": {"schema": TEXT, "description": "The methods that the route answers."},
    "X-Content-Type-Options": {"schema": {"const": "nosniff"}},
    "Content-Security-Policy": {"schema": TEXT},
}

Told = Callable[[Sequence[type[Problem]]], Schema]
"""Problems of one status to the content of their answer."""


def problem_content(kinds: Sequence[type[Problem]]) -> Schema:
    """The content of an answer that tells of one of these problems."""
    return {PROBLEM: {"schema": problem_of(kinds)}}


@dataclass(frozen=True, kw_only=True)
class Operation:
    """What a route answers, but for its path and its method."""

    tag: str
    answers: Mapping[str, Schema]
    """By status, the answers that are no problem."""
    problems: Sequence[type[Problem]] = ()
    """What may go wrong, beside faults of the service."""
    parameters: Sequence[Schema] = ()
    body: Schema | None = None
    """The request's body, where there is one."""
    told: Told = problem_content
    problem_headers: tuple[str, ...] = ("Cache-Control", "Vary", "X-Content-Type-Options")
    description: str = ""
    path: Schema = field(default_factory=dict)
    """By name, schemas of the path's variables."""
    needs_token: bool = False
    """Whether it asks who is there."""


def headers(*names: str) -> Schema:
    """Headers that an answer always has, beside the one that every answer has."""
    return {name: ref("headers", name) for name in (*names, "X-Request-Id")}


def header_components() -> Schema:
    """Every header, where answers refer to it."""
    return {name: {"required": True, **header} for name, header in HEADERS.items()}


def answer(description: str, content: Schema | None = None, *names: str) -> Schema:
    """One answer: content by media type, and the headers that it always has."""
    return {"description": description, "headers": headers(*names)} | ({"content": content} if content else {})


def parameter(name: str, place: str, schema: Schema, description: str, **rest: Any) -> Schema:
    """A parameter in ``query``, ``header`` or ``path``."""
    return {"name": name, "in": place, "schema": schema, "description": description, **rest}


def problem_answers(operation: Operation) -> Schema:
    """By status, the answers that tell of problems."""
    found: set[type[Problem]] = {*operation.problems, InternalProblem}
    kinds = sorted(found, key=lambda kind: (kind.status, kind.code))
    answers = {}
    for status, group in groupby(kinds, key=lambda kind: kind.status):
        same = list(group)
        names = (*operation.problem_headers, *(["Retry-After"] if all(kind in TRANSIENT for kind in same) else []))
        said = " Or: ".join((kind.__doc__ or "").strip().splitlines()[0] for kind in same)
        answers[str(status)] = answer(said, operation.told(same), *names)
    return answers


def path_item(operation: Operation, method: str, name: str, summary: str) -> Schema:
    """What a path answers; a path that answers GET answers HEAD with the same headers."""
    told: Schema = {
        "operationId": name,
        "summary": summary,
        "description": operation.description,
        "tags": [operation.tag],
        "parameters": [
            *(parameter(variable, "path", schema, "", required=True) for variable, schema in operation.path.items()),
            *operation.parameters,
        ],
        "responses": {**operation.answers, **problem_answers(operation)},
    }
    if operation.needs_token:
        told["security"] = [{"token": []}]
    if operation.body:
        told["requestBody"] = operation.body
    if method != "GET":
        return {method.lower(): told}
    bare = {status: {k: v for k, v in reply.items() if k != "content"} for status, reply in told["responses"].items()}
    return {"get": told, "head": {**told, "operationId": f"{name}_head", "responses": bare}}
