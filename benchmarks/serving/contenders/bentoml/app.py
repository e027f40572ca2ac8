"""BentoML's services: one that batches, and in front of it one that answers single requests, as its documentation has it.

Without batches one service does all.
"""

import os
from typing import Annotated

import bentoml
from bentoml.validators import ContentType

from benchmarks.serving.contenders.generator import Generator

CORES = int(os.environ["BENCH_CORES"])
BATCH = int(os.environ["BENCH_BATCH"])
LOGGING = {"access": {"enabled": False}}


if BATCH > 1:

    @bentoml.service(workers=CORES, traffic={"concurrency": BATCH}, logging=LOGGING, metrics={"enabled": False})
    class Batches:
        """Runs the model."""

        def __init__(self) -> None:
            self.generator = Generator()

        @bentoml.api(batchable=True, max_batch_size=BATCH, max_latency_ms=1000)
        def images(self, seeds: list[int]) -> list[bytes]:
            """The images of a batch."""
            return self.generator.pngs(seeds)

    @bentoml.service(workers=CORES, logging=LOGGING, metrics={"enabled": False})
    class Single:
        """Answers a client from a batch."""

        batches = bentoml.depends(Batches)

        @bentoml.api
        async def generate(self, seed: int) -> Annotated[bytes, ContentType("image/png")]:
            """The image of a seed."""
            return (await self.batches.to_async.images([seed]))[0]

else:

    @bentoml.service(workers=CORES, logging=LOGGING, metrics={"enabled": False})
    class Single:  # type: ignore[no-redef]
        """Answers a client by itself."""

        def __init__(self) -> None:
            self.generator = Generator()

        @bentoml.api
        async def generate(self, seed: int) -> Annotated[bytes, ContentType("image/png")]:
            """The image of a seed."""
            return self.generator.pngs([seed])[0]
