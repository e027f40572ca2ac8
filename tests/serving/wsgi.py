"""A request put to a WSGI application exactly as it is written: nothing is encoded, merged or sorted on the way."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from flask import Flask
from werkzeug.datastructures import Headers
from werkzeug.test import EnvironBuilder, run_wsgi_app


class Answer(NamedTuple):
    """What came back."""

    status: int
    headers: Headers
    body: bytes


def ask(app: Flask, query: str = "", method: str = "GET", path: str = "/generate", headers: Mapping[str, str] | None = None,
        body: bytes = b"") -> Answer:  # fmt: skip
    """One request, one answer."""
    environ = EnvironBuilder(method=method, headers=Headers(headers or {}), data=body or None).get_environ()
    environ |= {"PATH_INFO": path, "QUERY_STRING": query}
    chunks, status, answered = run_wsgi_app(app, environ, buffered=True)
    return Answer(int(status.split()[0]), answered, b"".join(chunks))
