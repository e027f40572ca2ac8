"""What can go wrong in the service, as one tree; a problem is answered, the others end the program.

ServingError
├── ClientGone                            nobody is there to be answered
├── StartError                exit code   the program cannot start; one line says why
│   ├── SettingError          2           an environment variable is wrong
│   ├── ModelError            1           a model file is refused
│   ├── ProviderError         1           the device that was asked for is not there
│   ├── TracingError          1           requests are to be traced, and what that needs is not installed
│   └── AddressError          1           the address cannot be listened on
├── VerifyError               2           a file cannot be compared with what a model makes; one line says why
└── Problem                   status      the request is answered with application/problem+json
    ├── BadRequest            400         the request is not well-formed HTTP
    ├── BadQuery              400         the query string is not well formed
    ├── UnknownParameter      400         the model has no such parameter
    ├── RepeatedParameter     400         a parameter is given twice
    ├── MissingParameter      400         a parameter that the route needs is not there
    ├── BadParameter          400         a parameter's value is wrong
    ├── BadInference          400         the body of an inference request is wrong
    ├── Unauthorised          401         the admin's token is missing or wrong
    ├── NotFound              404         no such route or model
    ├── Gone                  410         the model has been replaced
    ├── MethodNotAllowed      405         the route answers other methods
    ├── NotAcceptable         406         no format that the client accepts
    ├── HeadTooLate           408         the request's head did not come in time
    ├── TooLarge              413         the body is larger than any request that could be answered
    ├── UnsupportedMediaType  415         the body is of another media type
    ├── OverShare             429         the client has had its share for now
    ├── TooManyTries          429         the admin's token has been wrong too often
    ├── HeadTooLarge          431         request line and headers are larger than any request needs
    ├── InternalProblem       500         a fault of the service, known by its id in the log
    ├── NonFinite             500         the generator gave NaN or infinity for this seed
    ├── QueueFull             503         too much waits already
    ├── Draining              503         the service is about to stop
    └── DeadlinePassed        504         the answer was not there in time
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus
from math import ceil
from typing import ClassVar

SHOWN_LENGTH = 64


class ServingError(Exception):
    """Anything that the service itself says is wrong."""


class ClientDisconnected(ServingError):
    """The client has closed its connection; nobody is there to be answered."""


class StartError(ServingError):
    """The program cannot start; the message is one line."""

    exit_code: ClassVar[int] = 1


class SettingError(StartError):
    """An environment variable is wrong; the message names it, its value and what would be right."""

    exit_code = 2


class ModelError(StartError):
    """A model file is refused; the message names the file and what is wrong with it."""


class Nondeterministic(ModelError):
    """A model gives the same seed other outputs each time, even when it is run one by one."""


class ProviderError(StartError):
    """The device that was asked for is not there."""


class TracingError(StartError):
    """Requests are to be traced, and what that needs is not installed."""


class AddressError(StartError):
    """The address cannot be listened on."""


class VerifyError(ServingError):
    """A file cannot be compared with what a model makes; the message is one line."""

    exit_code: ClassVar[int] = 2


class Problem(ServingError):
    """A request that is answered with an error.

    Args:
        detail: one sentence with the wrong value and the right one.
        facts: further members of the body, the same facts for a program to read.
        headers: further headers of the answer.
    """

    status: ClassVar[int] = 500
    code: ClassVar[str] = "problem"

    def __init__(self, detail: str, *, facts: Mapping[str, object] | None = None, headers: Mapping[str, str] | None = None):
        super().__init__(detail)
        self.detail = detail
        self.facts = dict(facts or {})
        self.headers = dict(headers or {})

    def body(self) -> bytes:
        """The answer's body, RFC 9457."""
        title = HTTPStatus(self.status).phrase
        members = {"type": "about:blank", "title": title, "status": self.status, "code": self.code, "detail": self.detail}
        return json.dumps({**members, **self.facts}).encode() + b"\n"


class BadRequest(Problem):
    """The request is not well-formed HTTP."""

    status, code = 400, "bad_request"


class RequestTimeout(Problem):
    """The request's head did not come in time."""

    status, code = 408, "request_timeout"

    def __init__(self, seconds: float):
        super().__init__(f"request line and headers must come within {seconds:g} s")


class HeadersTooLarge(Problem):
    """Request line and headers are larger than any request needs."""

    status, code = 431, "headers_too_large"


class BadQuery(Problem):
    """The query string is not well formed."""

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
    """A parameter that the route needs is not given."""

    status, code = 400, "missing_parameter"

    def __init__(self, name: str, allowed: str):
        super().__init__(f"{name} must be given: {allowed}", facts={"parameter": name, "allowed": allowed})


class BadParameter(Problem):
    """A parameter's value is out of range or not a value at all."""

    status, code = 400, "bad_parameter"

    def __init__(self, name: str, value: str, allowed: str):
        super().__init__(
            f"{name} must be {allowed}, got {shown(value)}",
            facts={"parameter": name, "value": cut(value), "allowed": allowed},
        )


class BadInference(Problem):
    """The body of an inference request is not what the protocol and the model allow."""

    status, code = 400, "bad_inference"


class Unauthorised(Problem):
    """The admin's token is missing or wrong."""

    status, code = 401, "unauthorised"

    def __init__(self) -> None:
        super().__init__("Authorization must be 'Bearer' and the token", headers={"WWW-Authenticate": "Bearer"})


class RateLimited(Problem):
    """The client has had its share for now."""

    status, code = 429, "rate_limited"

    def __init__(self, rate: float, seconds: float):
        super().__init__(
            f"one client may have {rate:g} samples computed a second", headers={"Retry-After": str(max(1, ceil(seconds)))}
        )


class TooManyTries(Problem):
    """The admin's token has been wrong too often."""

    status, code = 429, "too_many_tries"

    def __init__(self, seconds: float):
        super().__init__("the token has been wrong too often", headers={"Retry-After": str(ceil(seconds))})


class NotFound(Problem):
    """No such route or model."""

    status, code = 404, "not_found"


class Gone(Problem):
    """The model was served once, and is not any more."""

    status, code = 410, "gone"


class MethodNotAllowed(Problem):
    """The route answers other methods."""

    status, code = 405, "method_not_allowed"

    def __init__(self, allowed: list[str]):
        allow = ", ".join(sorted(allowed))
        super().__init__(f"the method must be one of {allow}", facts={"allowed": sorted(allowed)}, headers={"Allow": allow})


class NotAcceptable(Problem):
    """The model's output exists in no format that the client accepts."""

    status, code = 406, "not_acceptable"

    def __init__(self, accept: str, media_types: list[str]):
        super().__init__(
            f"Accept must allow one of {', '.join(media_types)}, got {shown(accept)}",
            facts={"value": cut(accept), "allowed": media_types},
        )


class ContentTooLarge(Problem):
    """The body is larger than any request that could be answered."""

    status, code = 413, "content_too_large"

    def __init__(self, limit: int):
        super().__init__(f"the body must have at most {limit} bytes")


class UnsupportedMediaType(Problem):
    """The body is of another media type than the one that is read."""

    status, code = 415, "unsupported_media_type"


class InternalProblem(Problem):
    """A fault of the service; the client learns an id only, the log has the rest."""

    status, code = 500, "internal"


class NonFinite(Problem):
    """The generator gave NaN or infinity."""

    status, code = 500, "non_finite"


class QueueFull(Problem):
    """Too much waits already; try again later."""

    status, code = 503, "queue_full"

    def __init__(self, limit: int):
        super().__init__(f"more than {limit} images wait already", headers={"Retry-After": "1"})


class ShuttingDown(Problem):
    """The service is about to stop; another instance will answer."""

    status, code = 503, "shutting_down"

    def __init__(self) -> None:
        super().__init__("the service takes no new work", headers={"Retry-After": "1"})


class DeadlineExceeded(Problem):
    """The answer was not there in time."""

    status, code = 504, "deadline_exceeded"

    def __init__(self, seconds: float):
        super().__init__(f"no answer within {seconds:g} s", headers={"Retry-After": "1"})


def cut(value: str) -> str:
    """Text from a client, escaped to printable ASCII and no longer than 64 characters."""
    return ascii(value[: SHOWN_LENGTH + 1])[1:-1][:SHOWN_LENGTH]


def shown(value: str) -> str:
    """Text from a client as it stands in a message: escaped, cut and in quotes."""
    return f"'{cut(value)}'"
