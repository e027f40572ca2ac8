"""TorchServe's handler with the service's PNG writer in place of Pillow."""

from __future__ import annotations

from typing import Any

from benchmarks.serving.contenders.generator import Generator
from serving.encoding.png import write_png


class Handler:
    """What a worker loads once."""

    def initialize(self, context: Any) -> None:
        """Load the model."""
        self.generator = Generator()

    def handle(self, data: list[dict[str, Any]], context: Any) -> list[bytes]:
        """The images of all requests of a batch."""
        for index in range(len(data)):
            context.set_response_content_type(index, "image/png")
        rows = self.generator.rows([row["body"]["seed"] for row in data])
        return [write_png(pixels, {"gan": "seed"}) for pixels in rows]
