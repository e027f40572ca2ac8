"""Ray Serve's deployment: a replica a core, each gathering its requests into batches."""

from __future__ import annotations

import os

import ray
from ray import serve
from ray.serve.schema import LoggingConfig
from starlette.requests import Request
from starlette.responses import Response

from benchmarks.serving.contenders.generator import Generator

CORES = int(os.environ["BENCH_CORES"])
BATCH = int(os.environ["BENCH_BATCH"])
WAIT_SECONDS = int(os.environ["BENCH_WAIT_MS"]) / 1000
QUIET = LoggingConfig(enable_access_log=False, log_level="ERROR")


class Images:
    """What a replica loads."""

    def __init__(self) -> None:
        self.generator = Generator()

    @serve.batch(max_batch_size=BATCH, batch_wait_timeout_s=WAIT_SECONDS)
    async def images(self, seeds: list[int]) -> list[bytes]:
        """The images of a batch."""
        return self.generator.pngs(seeds)

    async def __call__(self, request: Request) -> Response:
        """The image of a seed."""
        seed = int(request.query_params["seed"])
        png = await self.images(seed) if BATCH > 1 else self.generator.pngs([seed])[0]
        return Response(png, media_type="image/png")


def main() -> None:
    """Serve until a signal."""
    ray.init(num_cpus=CORES, include_dashboard=False, log_to_driver=False)
    serve.start(http_options={"host": "127.0.0.1", "port": int(os.environ["BENCH_PORT"])}, logging_config=QUIET)
    replicated = serve.deployment(
        num_replicas=CORES, max_ongoing_requests=128, ray_actor_options={"num_cpus": 1}, logging_config=QUIET
    )
    serve.run(replicated(Images).bind(), blocking=True)


if __name__ == "__main__":
    main()
