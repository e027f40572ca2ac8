"""Measure the cache of answers: repeated seeds with the cache and without it, and cached answers only.

    python -m benchmarks.serving.repeated MODEL.onnx

Seeds follow Zipf's law with exponent 1.1 over 10,000. The two services take turns; the table has medians of the rounds.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import subprocess
from contextlib import ExitStack
from pathlib import Path

from benchmarks.serving.service import service

LUA = Path(__file__).with_name("repeated_seeds.lua")


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="model file")
    parser.add_argument("--rounds", type=int, default=5, help="number of rounds, of which the medians count")
    parser.add_argument("--seconds", type=int, default=3, help="seconds of each load")
    parser.add_argument("--connections", type=int, default=64, help="number of connections")
    parser.add_argument("--workers", type=int, default=2, help="workers of the service")
    given = parser.parse_args()
    with ExitStack() as servers:
        kept, anew = (
            servers.enter_context(service(given.model, workers=given.workers, cache_bytes=size)).port for size in (2**25, 0)
        )
        loads = (("zipf, kept", kept, 10_000), ("zipf, made anew", anew, 10_000), ("100 seeds, kept", kept, 100))
        rates: dict[str, list[float]] = {}
        for turn in range(given.rounds):
            for name, port, seeds in loads:
                rates.setdefault(name, []).append(load(port, seeds, turn, given.connections, given.seconds))
    medians = {name: statistics.median(values) for name, values in rates.items()}
    for name, rate in medians.items():
        print(f"{name:<20}{rate:>10.0f} requests/s")
    print(f"kept against anew   {medians['zipf, kept'] / medians['zipf, made anew']:>10.2f} x")


def load(port: int, seeds: int, turn: int, connections: int, seconds: int) -> float:
    """Requests a second."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", str(LUA), f"http://127.0.0.1:{port}"]
    environment = os.environ | {"SEEDS": str(seeds), "TURN": str(turn + 1)}
    output = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    if bad := re.search(r"Non-2xx or 3xx responses: .*|Socket errors: .*", output):
        raise RuntimeError(bad[0])
    found = re.search(r"Requests/sec:\s+([0-9.]+)", output)
    if not found:
        raise RuntimeError(output)
    return float(found[1])


if __name__ == "__main__":
    main()
