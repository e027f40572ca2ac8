"""Flask responses: complete replies, and JSON, pages and files with an entity tag for revalidation."""

from __future__ import annotations

import json

from flask import Response, request

from serving.generation.generate import Reply
from serving.generation.negotiation import check_if_match, matches

POLICY = "default-src 'none'; img-src 'self'; style-src 'unsafe-inline'"


class CompleteResponse(Response):
    """A response whose headers are complete: Werkzeug must not set the unknown length of a HEAD to 0."""

    automatically_set_content_length = False


def reply_response(reply: Reply) -> Response:
    """A reply as a Flask response, unchanged."""
    timing = [("Server-Timing", reply.server_timing)] if reply.server_timing else []
    return CompleteResponse(reply.body, reply.status, [*reply.headers, *timing])


def json_response(value: object, status: int = 200) -> Response:
    """A value as indented JSON."""
    return _revalidated(Response(json.dumps(value, indent=1) + "\n", status, mimetype="application/json"))


def html_response(html: str, policy: str = POLICY) -> Response:
    """An HTML page under a content security policy; the default one allows images and styles of this service, and no script."""
    response = Response(html, mimetype="text/html")
    response.headers["Content-Security-Policy"] = policy
    response.headers["Referrer-Policy"] = "no-referrer"
    return _revalidated(response)


def file_response(body: bytes, media_type: str) -> Response:
    """A static file."""
    return _revalidated(Response(body, content_type=media_type))


def _revalidated(response: Response) -> Response:
    """Add an entity tag, and answer 304 where the client has the current one; caches must revalidate each time.

    Raises:
        PreconditionFailed: a GET or a HEAD is for a response with another entity tag.
    """
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Cache-Control"] = "no-cache"
    response.add_etag()
    if request.method in ("GET", "HEAD"):
        etag = response.headers["ETag"]
        check_if_match(request.headers.get("If-Match"), etag)
        if matches(request.headers.get("If-None-Match"), etag):
            response.status_code = 304
    return response
