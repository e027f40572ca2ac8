"""The same picture for every request, by the least that ASGI allows: what HTTP costs here on the service's own server."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from benchmarks.serving.contenders.generator import Generator

Message = MutableMapping[str, Any]
PNG = Generator().pngs([42])[0]
START = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"image/png"), (b"content-length", str(len(PNG)).encode())],
}
BODY = {"type": "http.response.body", "body": PNG}


async def application(
    scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
) -> None:
    """The reply."""
    await send(START)
    await send(BODY)
