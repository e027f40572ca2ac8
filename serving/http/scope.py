"""What the application reads from an ASGI scope, and what the connection and the application tell each other in it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from functools import partial
from typing import Any

from serving.generation.generate import RequestHeaders
from serving.observability.request_context import RequestContext

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

ARRIVED = "serving.arrived"
"""Key of a scope: when the request and its body had arrived, before it waits for a thread."""
HALF_CLOSED = "serving.half_closed"
"""Key of a scope: there once the client has closed its writing half."""
REFUSED = "serving.refused"
"""Key of a scope: the problem to answer instead of any other response; there once what follows the head was refused."""
UNTIL_DISCONNECTED = "serving.until_disconnected"
"""Key of a scope: returns when the client has left, for views; there while a body that was read is used."""
CLIENT_DISCONNECTED = 499
"""Status in metrics and log of a request whose client disconnected. It is never sent: CoalescingTransport closes instead."""

READ_HEADERS = frozenset(
    {b"accept", b"if-match", b"if-none-match", b"x-request-timeout-ms", b"x-request-id", b"traceparent", b"tracestate"}
)
"""Names of the headers that the fast path reads."""


def read_scope(scope: Message, receive: Receive) -> tuple[RequestHeaders, RequestContext]:
    """The headers and the context of a request; repeated headers are joined by commas, as in WSGI."""
    found: dict[bytes, str] = {}
    for name, value in scope["headers"]:
        if name in READ_HEADERS:
            text = value.decode("latin-1")
            found[name] = f"{found[name]},{text}" if name in found else text
    context = RequestContext(
        scope["method"], target_of(scope), found.get(b"x-request-id"), found.get(b"traceparent"), found.get(b"tracestate")
    )
    request_headers = RequestHeaders(
        accept=found.get(b"accept"),
        if_match=found.get(b"if-match"),
        if_none_match=found.get(b"if-none-match"),
        timeout_ms=found.get(b"x-request-timeout-ms"),
        is_head=scope["method"] == "HEAD",
        client=scope["client"][0] if scope.get("client") else None,
        until_disconnected=partial(until_disconnected, scope, receive),
        context=context,
    )
    return request_headers, context


def target_of(scope: Message) -> str:
    """The request target (path and query) as sent."""
    path: bytes = scope.get("raw_path") or scope["path"].encode()  # raw_path is optional in ASGI
    query: bytes = scope["query_string"]
    return (path + b"?" + query if query else path).decode("latin-1")


async def until_disconnected(scope: Message, receive: Receive, is_waiting: Callable[[], bool]) -> None:
    """Return when the client has closed its connection, or its writing half while its request still waits for the model.

    A client that has left and one that still reads its response look the same, as long as nothing is sent to them.
    """
    while (await receive())["type"] != "http.disconnect":
        if HALF_CLOSED in scope and is_waiting():
            return
