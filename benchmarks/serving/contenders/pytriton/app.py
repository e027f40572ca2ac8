"""Triton with Python functions behind it: a tensor of seeds in, one of PNGs out."""

from __future__ import annotations

import os
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from pytriton.decorators import batch
from pytriton.model_config import DynamicBatcher, ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig

from benchmarks.serving.contenders.generator import Generator


def instance() -> Callable[..., dict[str, NDArray]]:
    """A function with a session of its own."""
    generator = Generator()

    @batch
    def images(seed: NDArray[np.int64]) -> dict[str, NDArray]:
        return {"png": np.array(generator.pngs(seed[:, 0].tolist()), dtype=object)[:, None]}

    return images


def main() -> None:
    """Serve."""
    config = TritonConfig(
        http_address="127.0.0.1",
        http_port=int(os.environ["BENCH_PORT"]),
        grpc_address="127.0.0.1",
        grpc_port=int(os.environ["BENCH_GRPC_PORT"]),
        allow_metrics=False,
        log_verbose=0,
    )
    with Triton(config=config) as triton:
        triton.bind(
            model_name="generator",
            infer_func=[instance() for _ in range(int(os.environ["BENCH_CORES"]))],
            inputs=[Tensor(name="seed", dtype=np.int64, shape=(1,))],
            outputs=[Tensor(name="png", dtype=bytes, shape=(1,))],
            config=ModelConfig(max_batch_size=32, batcher=DynamicBatcher(max_queue_delay_microseconds=0)),
        )
        triton.serve()


if __name__ == "__main__":
    main()
