"""Answers as Flask sends them: whole replies, and JSON and pages that are revalidated by their tags."""

from __future__ import annotations

import json

from flask import Response, request

from serving.generation.generate import Reply

POLICY = "default-src 'none'; img-src 'self'; style-src 'unsafe-inline'"


class WholeResponse(Response):
    """A response whose headers are complete: a HEAD's unknown length must not become 0."""

    automatically_set_content_length = False


def whole(reply: Reply) -> Response:
    """A reply as it is."""
    timing = [("Server-Timing", reply.server_timing)] if reply.server_timing else []
    return WholeResponse(reply.body, reply.status, [*reply.headers, *timing])


def in_json(value: object, status: int = 200) -> Response:
    """A value as JSON to read."""
    return _revalidated(Response(json.dumps(value, indent=1) + "\n", status, mimetype="application/json"))


def page(html: str, policy: str = POLICY) -> Response:
    """A page that does no more than its policy allows; by itself it loads nothing from elsewhere and runs nothing."""
    response = Response(html, mimetype="text/html")
    response.headers["Content-Security-Policy"] = policy
    response.headers["Referrer-Policy"] = "no-referrer"
    return _revalidated(response)


def file(body: bytes, media_type: str) -> Response:
    """A file that a page loads."""
    return _revalidated(Response(body, content_type=media_type))


def _revalidated(response: Response) -> Response:
    """An answer that may be kept and is asked for again each time; one that has not changed is 304."""
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Cache-Control"] = "no-cache"
    response.add_etag()
    response.make_conditional(request)
    return response
