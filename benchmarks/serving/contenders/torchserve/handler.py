"""TorchServe's handler: a batch of requests in, a batch of PNGs by Pillow out."""

from __future__ import annotations

from typing import Any

from benchmarks.serving.contenders.generator import Generator


class Handler:
    """What a worker loads once."""

    def initialize(self, context: Any) -> None:
        """Load the model."""
        self.generator = Generator()

    def handle(self, data: list[dict[str, Any]], context: Any) -> list[bytes]:
        """The images of all requests of a batch."""
        for index in range(len(data)):
            context.set_response_content_type(index, "image/png")
        return self.generator.pngs([row["body"]["seed"] for row in data])
