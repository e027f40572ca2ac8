"""Measure the pauses by garbage collection: every collection of every worker over many requests.

    python -m benchmarks.serving.pauses --model mlp28 --requests 100000

Each request is of a new seed, so each makes a sample and a kept answer. Times are processor seconds of the thread that
collects, which other programs on the machine do not lengthen. The exit code is 1 when a collection took longer than
``--limit``. ``--threshold 100`` is the control: a service that collects often must show it.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.serving.loader import Mix, measure_capacity, own_process
from benchmarks.serving.service import find_model, service
from serving.process.worker import GC_THRESHOLD

CHUNK_SECONDS = 5.0
SEEDS_A_CHUNK = 10**6


def main() -> int:
    """Ask, print what came of it; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--model", default="mlp28", help="name of a fixed model, such as mlp28 or dcgan64, or a model file")
    parser.add_argument("--requests", type=int, default=100_000, help="number of requests, at least")
    parser.add_argument("--connections", type=int, default=64, help="number of connections")
    parser.add_argument("--workers", type=int, default=2, help="workers of the service")
    parser.add_argument("--limit", type=float, default=0.001, help="seconds that a collection may take, of processor time")
    parser.add_argument(
        "--threshold", type=int, default=GC_THRESHOLD, help="allocations after which the youngest generation is collected"
    )
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="gan-pauses-") as folder:
        os.environ |= {"COLLECTIONS": folder, "THRESHOLD": str(given.threshold)}
        entry = "benchmarks.serving.collecting"
        with service(find_model(given.model), entry=entry, workers=given.workers) as server:
            answered = chunk = 0
            while answered < given.requests:
                chunk += 1
                mix = Mix(first_seed=chunk * SEEDS_A_CHUNK)
                with own_process(
                    measure_capacity, server.port, seconds=CHUNK_SECONDS, connections=given.connections, mix=mix
                ) as rate:
                    answered += round(rate.result() * CHUNK_SECONDS)
        collections = [read(path) for path in sorted(Path(folder).iterdir())]
    return report(answered, collections, given.limit)


def read(path: Path) -> list[tuple[int, float]]:
    """Generation and seconds of each collection of one worker."""
    pairs = (line.split() for line in path.read_text().splitlines())
    return [(int(generation), float(seconds)) for generation, seconds in pairs]


def report(answered: int, collections: Sequence[Sequence[tuple[int, float]]], limit: float) -> int:
    """Print a line a generation, and 1 if one of them took too long."""
    found = [pair for one in collections for pair in one]
    print(f"{answered:,} requests, {len(collections)} workers, {len(found)} collections")
    for generation in sorted({generation for generation, _ in found}):
        seconds = [s for g, s in found if g == generation]
        mean, most = (1e3 * value for value in (sum(seconds) / len(seconds), max(seconds)))
        print(f"generation {generation}: {len(seconds)} collections, {mean:.3f} ms on average, {most:.3f} ms at most")
    return int(any(seconds > limit for _, seconds in found))


if __name__ == "__main__":
    sys.exit(main())
