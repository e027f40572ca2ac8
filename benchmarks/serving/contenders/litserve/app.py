"""LitServe's API: batches of seeds in, PNGs out."""

import os

import litserve
from fastapi import Response

from benchmarks.serving.contenders.generator import Generator


class Images(litserve.LitAPI):
    """The steps of a request; the middle ones see a whole batch."""

    def setup(self, device: str) -> None:
        """Load the model in a worker."""
        self.generator = Generator()

    def decode_request(self, request: dict[str, int]) -> int:
        """A seed."""
        return request["seed"]

    def batch(self, inputs: list[int]) -> list[int]:
        """As they are."""
        return inputs

    def predict(self, seeds: list[int]) -> list[bytes]:
        """The images of a batch."""
        return self.generator.pngs(seeds)

    def unbatch(self, output: list[bytes]) -> list[bytes]:
        """As they are."""
        return output

    def encode_response(self, output: bytes) -> Response:
        """A file."""
        return Response(output, media_type="image/png")


def main() -> None:
    """Serve."""
    cores = int(os.environ["BENCH_CORES"])
    api = Images(max_batch_size=32, batch_timeout=0.001)
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=cores, fast_queue=True)
    server.run(
        host="127.0.0.1",
        port=int(os.environ["BENCH_PORT"]),
        num_api_servers=cores,
        log_level="warning",
        generate_client_file=False,
        access_log=False,
    )


if __name__ == "__main__":
    main()
