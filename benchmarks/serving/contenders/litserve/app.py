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


class Single(litserve.LitAPI):
    """The steps of a request without batches."""

    setup, decode_request, encode_response = Images.setup, Images.decode_request, Images.encode_response

    def predict(self, seed: int) -> bytes:
        """The image of a seed."""
        return self.generator.pngs([seed])[0]


def main() -> None:
    """Serve."""
    cores, batch = int(os.environ["BENCH_CORES"]), int(os.environ["BENCH_BATCH"])
    wait = int(os.environ["BENCH_WAIT_MS"]) / 1000
    api = Images(max_batch_size=batch, batch_timeout=wait) if batch > 1 else Single()
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
