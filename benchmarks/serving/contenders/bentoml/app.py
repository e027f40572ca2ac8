"""BentoML's services: one that batches, and in front of it one that answers single requests, as its documentation has it."""

import os
from typing import Annotated

import bentoml
from bentoml.validators import ContentType

from benchmarks.serving.contenders.generator import Generator

CORES = int(os.environ["BENCH_CORES"])
LOGGING = {"access": {"enabled": False}}


@bentoml.service(workers=CORES, traffic={"concurrency": 32}, logging=LOGGING, metrics={"enabled": False})
class Batches:
    """Runs the model."""

    def __init__(self) -> None:
        self.generator = Generator()

    @bentoml.api(batchable=True, max_batch_size=32, max_latency_ms=1000)
    def images(self, seeds: list[int]) -> list[bytes]:
        """The images of a batch."""
        return self.generator.pngs(seeds)


@bentoml.service(workers=CORES, logging=LOGGING, metrics={"enabled": False})
class Single:
    """Answers a client."""

    batches = bentoml.depends(Batches)

    @bentoml.api
    async def generate(self, seed: int) -> Annotated[bytes, ContentType("image/png")]:
        """The image of a seed."""
        return (await self.batches.to_async.images([seed]))[0]
