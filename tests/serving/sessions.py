"""Sessions of ONNX Runtime that a test counts, holds or breaks."""

from __future__ import annotations

import threading
from typing import Any

from serving.model.runtime import Session


class CountingSession:
    """The real session, which keeps what it was fed."""

    def __init__(self, inner: Session) -> None:
        self._inner = inner
        self.fed: list[Any] = []
        """The inputs of each run, by name."""

    def run(self, output_names: list[str] | None, input_feed: Any, /) -> Any:
        self.fed.append(input_feed)
        return self._inner.run(output_names, input_feed)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class HeldSession(CountingSession):
    """A session whose runs wait until ``let`` is set; ``begun`` is set once the first one waits."""

    def __init__(self, inner: Session) -> None:
        super().__init__(inner)
        self.begun, self.let = threading.Event(), threading.Event()

    def run(self, output_names: list[str] | None, input_feed: Any, /) -> Any:
        self.fed.append(input_feed)
        self.begun.set()
        assert self.let.wait(30)
        return self._inner.run(output_names, input_feed)


class BreakableSession(CountingSession):
    """A session that works until its failure is switched on."""

    is_broken = False

    def run(self, output_names: list[str] | None, input_feed: Any, /) -> Any:
        if self.is_broken:
            raise RuntimeError("cable cut")
        return super().run(output_names, input_feed)
