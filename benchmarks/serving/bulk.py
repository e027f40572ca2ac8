"""Measure answers of many samples against onnxruntime alone: ``n`` rows as npy, and as a tar of PNGs.

    python -m benchmarks.serving.bulk MODEL.onnx --n 1024

Each round runs onnxruntime in this process, on latents drawn before, in batches as large as the service's. Then it requests new
seeds of a service of one worker, once in each format. The table has medians in images a second.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path
from urllib.request import urlopen

from benchmarks.serving.service import service
from contract import draw
from contract.cores import usable_cores
from serving.model.load import Model, load_model

BATCH = 64
FORMATS = ("npy", "tar")


def main() -> None:
    """Measure and print the table."""
    arguments = parse_arguments()
    model = load_model(arguments.model, "cpu")
    rounds: dict[str, list[float]] = {name: [] for name in ("raw", *FORMATS)}
    with service(arguments.model) as server:
        for turn in range(arguments.rounds):
            rounds["raw"].append(arguments.n / run_raw(model, turn * arguments.n, arguments.n))
            for place, name in enumerate(FORMATS):
                seed = 10**9 + (turn * len(FORMATS) + place) * arguments.n
                rounds[name].append(arguments.n / ask(server.port, seed, arguments.n, name))
    print(
        f"{model.card.name} on {model.runtime}, {usable_cores()} cores, n={arguments.n}; medians of {arguments.rounds} rounds"
    )
    raw = statistics.median(rounds["raw"])
    for name, rates in rounds.items():
        print(f"  {name:<5}{statistics.median(rates):>9.0f} images/s   {statistics.median(rates) / raw:.2f} x raw")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="model file")
    parser.add_argument("--n", type=int, default=1024, help="number of samples in one answer")
    parser.add_argument("--rounds", type=int, default=7, help="number of rounds, of which the medians count")
    return parser.parse_args()


def run_raw(model: Model, seed: int, n: int) -> float:
    """Seconds that onnxruntime takes for n rows whose latents are there."""
    drawn = [draw(model.card.latents, range(start, min(start + BATCH, seed + n))) for start in range(seed, seed + n, BATCH)]
    start = time.perf_counter()
    for batch in drawn:
        model.run(batch)
    return time.perf_counter() - start


def ask(port: int, seed: int, n: int, name: str) -> float:
    """Seconds from the request to the last byte of its answer."""
    start = time.perf_counter()
    with urlopen(f"http://127.0.0.1:{port}/generate?seed={seed}&n={n}&format={name}") as answer:
        answer.read()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
