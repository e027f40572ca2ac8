"""The same picture for every request, by the least that WSGI allows: what HTTP itself costs here."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from benchmarks.serving.contenders.generator import Generator

PNG = Generator().pngs([42])[0]
HEADERS = [("Content-Type", "image/png"), ("Content-Length", str(len(PNG)))]


def application(environ: dict[str, Any], start_response: Callable[..., object]) -> Iterable[bytes]:
    """The reply."""
    start_response("200 OK", HEADERS)
    return [PNG]
