"""The service with a fault put in, as a control of ``soak``: every request leaves some bytes behind that nothing frees.

LEAK_BYTES=1024 python -m benchmarks.serving.leaking
"""

from __future__ import annotations

import os
import sys
from typing import Any

import serving.process.launcher
import serving.process.worker

_run_worker = serving.process.worker.run_worker


class Leaking:
    """An application that leaks some bytes of each request."""

    def __init__(self, app: Any, many: int) -> None:
        self._app = app
        self.observer = app.observer
        self._many = many
        self._kept: list[bytes] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            self._kept.append(b"x" * self._many)  # written to, so that it takes memory and not only addresses
        await self._app(scope, receive, send)


def run_leaking_worker(*arguments: Any, **named: Any) -> None:
    """What ``run_worker`` does, with the leak in it."""
    import serving.app  # not above: the launcher holds no onnxruntime

    create_app: Any = serving.app.create_app
    many = int(os.environ["LEAK_BYTES"])
    serving.app.create_app = lambda *args, **named: Leaking(create_app(*args, **named), many)  # type: ignore[assignment]
    _run_worker(*arguments, **named)


if __name__ == "__main__":
    serving.process.worker.run_worker = run_leaking_worker
    sys.exit(serving.process.launcher.main(os.environ))
