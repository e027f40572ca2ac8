"""The exceptions of the service as one tree: a ``Problem`` is answered to the client, the others end the program.

ServingError
├── ClientDisconnected                    the client has closed its connection
├── StartError                exit code   the program cannot start; the message is one line
│   ├── SettingError          2           an environment variable is invalid
│   ├── ModelError            1           a model file is refused
│   │   └── Nondeterministic  1           a model gives different outputs for the same seed
│   ├── ProviderError         1           the requested device is not available
│   ├── TracingError          1           tracing is on, and OpenTelemetry is missing or refuses its settings
│   ├── AddressError          1           the address cannot be listened on
│   └── ResourceError         1           the machine or a limit of the process gives too little
├── VerifyError               2           a file cannot be compared with its model's output; the message is one line
└── Problem                   status      the request is answered with application/problem+json
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from http import HTTPStatus
from math import ceil
from typing import ClassVar

SHOWN_LENGTH = 64
"""Maximum length of a client's text in a message."""


class ServingError(Exception):
    """Base class of the service's own exceptions."""


class ClientDisconnected(ServingError):
    """The client has closed its connection before the response."""


class StartError(ServingError):
    """The program cannot start; the message is one line."""

    exit_code: ClassVar[int] = 1


class SettingError(StartError):
    """An environment variable is invalid; the message names it, its value and the allowed values."""

    exit_code = 2


class ModelError(StartError):
    """A model file is refused; the message names the file and the reason."""


class Nondeterministic(ModelError):
    """A model gives different outputs for the same seed, even at batch size 1."""


class ProviderError(StartError):
    """The requested device is not available."""


class TracingError(StartError):
    """Tracing is on, and OpenTelemetry is not installed or refuses its settings."""


class AddressError(StartError):
    """The address cannot be listened on."""


class ResourceError(StartError):
    """The machine or a limit of the process does not give what the service needs, such as disk space or descriptors."""


class VerifyError(ServingError):
    """A file cannot be compared with its model's output; the message is one line."""

    exit_code: ClassVar[int] = 2


class Problem(ServingError):
    """An error that is answered to the client.

    Args:
        detail: one sentence with the invalid value and the allowed ones.
        facts: additional members of the body for programs.
        headers: additional response headers.
    """

    status: ClassVar[int] = 500
    code: ClassVar[str] = "problem"

    def __init__(self, detail: str, *, facts: Mapping[str, object] | None = None, headers: Mapping[str, str] | None = None):
        super().__init__(detail)
        self.detail = detail
        self.facts = dict(facts or {})
        self.headers = dict(headers or {})

    def body(self) -> bytes:
        """The response body, RFC 9457."""
        if self.facts:
            return _problem_body(self.status, self.code, self.detail, **self.facts)
        return _kept_body(self.status, self.code, self.detail)


def _problem_body(status: int, code: str, detail: str, **facts: object) -> bytes:
    members = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "code": code, "detail": detail}
    return json.dumps({**members, **facts}).encode() + b"\n"


_kept_body = lru_cache(16)(_problem_body)
"""Under overload the same refusal is sent thousands of times a second."""


class BadRequest(Problem):
    """The request is not well-formed HTTP."""

    status, code = 400, "bad_request"


class RequestTimeout(Problem):
    """The request did not arrive in time."""

    status, code = 408, "request_timeout"

    def __init__(self, seconds: float, part: str = "request line and headers"):
        super().__init__(f"{part} must arrive within {seconds:g} s")


class HeadersTooLarge(Problem):
    """Request line and headers exceed the size limit."""

    status, code = 431, "headers_too_large"


class PathTooLong(Problem):
    """The path of a request exceeds the size limit."""

    status, code = 414, "path_too_long"


class BadQuery(Problem):
    """The query string is malformed."""

    status, code = 400, "bad_query"


class UnknownParameter(Problem):
    """The chosen model has no such parameter."""

    status, code = 400, "unknown_parameter"

    def __init__(self, name: str, known: list[str]):
        super().__init__(
            f"no parameter {shown(name)}; there are {', '.join(known)}", facts={"parameter": cut(name), "allowed": known}
        )


class RepeatedParameter(Problem):
    """A parameter is given more than once."""

    status, code = 400, "repeated_parameter"

    def __init__(self, name: str):
        super().__init__(f"parameter {shown(name)} must be given once", facts={"parameter": cut(name)})


class MissingParameter(Problem):
    """A required parameter is missing."""

    status, code = 400, "missing_parameter"

    def __init__(self, name: str, allowed: str):
        super().__init__(f"{name} must be given: {allowed}", facts={"parameter": name, "allowed": allowed})


class BadParameter(Problem):
    """The value of a parameter is out of range or not of its type."""

    status, code = 400, "bad_parameter"

    def __init__(self, name: str, value: str, allowed: str):
        super().__init__(
            f"{name} must be {allowed}, got {shown(value)}",
            facts={"parameter": name, "value": cut(value), "allowed": allowed},
        )


class BadInference(Problem):
    """The body of an inference request violates the protocol or does not fit the model."""

    status, code = 400, "bad_inference"


class BadPicture(Problem):
    """The body is not a PNG, is damaged, animated or too large, or ends early."""

    status, code = 400, "bad_picture"


class PictureRequired(Problem):
    """The model changes a given picture, and makes no sample without one."""

    status, code = 400, "picture_required"

    def __init__(self, model: str):
        super().__init__(f"{model} changes a picture: send a PNG as the body of POST /transform?model={model}")


class NoPictureTaken(Problem):
    """The model changes no picture."""

    status, code = 400, "no_picture_taken"

    def __init__(self, model: str, known: list[str]):
        others = f"; models that do: {', '.join(known)}" if known else ", as no other model here does"
        super().__init__(f"{model} changes no picture{others}; GET /generate makes its samples")


class Unauthorised(Problem):
    """The admin token is missing or wrong."""

    status, code = 401, "unauthorised"

    def __init__(self) -> None:
        super().__init__("Authorization must be 'Bearer' and the token", headers={"WWW-Authenticate": "Bearer"})


class RateLimited(Problem):
    """The client exceeds its rate limit."""

    status, code = 429, "rate_limited"

    def __init__(self, rate: float, seconds: float):
        super().__init__(
            f"one client may have {rate:g} samples computed a second", headers={"Retry-After": str(max(1, ceil(seconds)))}
        )


class TooManyTries(Problem):
    """The admin token was wrong too often."""

    status, code = 429, "too_many_tries"

    def __init__(self, seconds: float):
        super().__init__("the token was wrong too often", headers={"Retry-After": str(ceil(seconds))})


class NotFound(Problem):
    """No such route or model."""

    status, code = 404, "not_found"


class Gone(Problem):
    """The model has been replaced and is no longer kept."""

    status, code = 410, "gone"


class MethodNotAllowed(Problem):
    """The route does not support the method."""

    status, code = 405, "method_not_allowed"

    def __init__(self, allowed: list[str]):
        allow = ", ".join(sorted(allowed))
        super().__init__(f"the method must be one of {allow}", facts={"allowed": sorted(allowed)}, headers={"Allow": allow})


class NotAcceptable(Problem):
    """No format of the model's output is acceptable to the client."""

    status, code = 406, "not_acceptable"

    def __init__(self, accept: str, media_types: list[str]):
        super().__init__(
            f"Accept must allow one of {', '.join(media_types)}, got {shown(accept)}",
            facts={"value": cut(accept), "allowed": media_types},
        )


class PreconditionFailed(Problem):
    """If-Match does not have the entity tag of the answer."""

    status, code = 412, "precondition_failed"

    def __init__(self, if_match: str, etag: str):
        super().__init__(
            f"If-Match must be * or have the entity tag {etag}, got {shown(if_match)}",
            facts={"value": cut(if_match), "allowed": etag},
        )


class ContentTooLarge(Problem):
    """The body exceeds the size limit."""

    status, code = 413, "content_too_large"

    def __init__(self, limit: int):
        super().__init__(f"the body must have at most {limit} bytes")


class UnsupportedMediaType(Problem):
    """The media type of the body is not supported."""

    status, code = 415, "unsupported_media_type"


class InternalProblem(Problem):
    """An internal error; the client gets an id only, the log has the traceback."""

    status, code = 500, "internal"


class NonFinite(Problem):
    """The generator returned NaN or infinity."""

    status, code = 500, "non_finite"

    def __init__(self) -> None:
        super().__init__("the generator gave NaN or infinity for this request")


class OutOfMemory(Problem):
    """There is too little memory for the batch; the client may try again later, or for fewer samples."""

    status, code = 503, "out_of_memory"

    def __init__(self) -> None:
        super().__init__("there is too little memory for this batch now", headers={"Retry-After": "1"})


class QueueFull(Problem):
    """The queue is full; the client may try again later."""

    status, code = 503, "queue_full"

    def __init__(self, limit: int, what: str = "images are waiting"):
        super().__init__(f"more than {limit} {what}", headers={"Retry-After": "1"})


class ShuttingDown(Problem):
    """The service is shutting down; another instance can answer."""

    status, code = 503, "shutting_down"

    def __init__(self) -> None:
        super().__init__("the service takes no new work", headers={"Retry-After": "1"})


class EngineLost(Problem):
    """The engine has ended before it answered, and is being restarted."""

    status, code = 503, "engine_lost"

    def __init__(self) -> None:
        super().__init__("the engine is being restarted", headers={"Retry-After": "1"})


class DeadlineExceeded(Problem):
    """The response was not ready in time."""

    status, code = 504, "deadline_exceeded"

    def __init__(self, seconds: float):
        super().__init__(f"no answer within {seconds:g} s", headers={"Retry-After": "1"})


def cut(value: str) -> str:
    """Text from a client, escaped to printable ASCII and cut to 64 characters."""
    return ascii(value[: SHOWN_LENGTH + 1])[1:-1][:SHOWN_LENGTH]


def shown(value: str) -> str:
    """Text from a client for a message: escaped, cut and quoted."""
    return f"'{cut(value)}'"
