"""Measure how the service scales with cores, and compare each number of cores with the prediction from the smallest one.

    python -m benchmarks.serving.scaling --model dcgan64 --cores 1,2 --out figures.json

For each number of cores the service runs on that many cores, with a worker each, and wrk on all others, or on the same ones if
none is left. The prediction is linear: workers share only memory, caches and the network. Each line has the processor time of
a request, and what limits a rate that is below the prediction.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from benchmarks.serving.bench import measure_wrk
from benchmarks.serving.service import find_model, processes_of, service
from contract.cores import usable_cores

SEEDS_A_LOAD = 10**7
MIB = 2**20
COLUMNS = (
    "cores",
    "client",
    "req/s",
    "predicted",
    "of it",
    "p50 / p99, ms",
    "us a request",
    "of its cores used",
    "client, of a core",
    "MiB",
    "held back by",
)
NEAR = 0.9
"""A rate from this share of the prediction on confirms it."""
BUSY = 0.95
"""Used share of the cores at which they limit the rate."""
GROWN = 1.1
"""Growth of the processor time a request at which workers hold each other up."""


@dataclass(frozen=True, kw_only=True)
class Point:
    """The service on a number of cores."""

    cores: int
    is_client_apart: bool
    """Whether the client had cores of its own."""
    rate: float
    """Requests a second, every seed a new one."""
    p50: float
    p99: float
    cpu_us: float
    """Processor time of the service's processes a request, in microseconds."""
    busy: float
    """Share of its cores that the service used."""
    client_busy: float
    """Share of one core that wrk's one thread used."""
    memory_mib: float
    """Proportional set sizes of the service's processes."""


def main() -> None:
    """Measure, print the table, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="mlp28", help="name of a fixed model, or a model file")
    numbers = lambda text: [int(part) for part in text.split(",")]  # noqa: E731
    parser.add_argument("--cores", default="1,2", type=numbers, help="numbers of cores to measure, separated by commas")
    parser.add_argument("--constant-engine", action="store_true", help="take a shared engine whose inferences take 1 ms each")
    parser.add_argument("--connections", type=int, default=32, help="connections for each core of the service")
    parser.add_argument("--seconds", type=int, default=5, help="seconds of each load")
    parser.add_argument("--repeats", type=int, default=3, help="measurements with each number of cores")
    parser.add_argument("--out", type=Path, help="JSON file of figures to write")
    given = parser.parse_args()
    if max(given.cores) > usable_cores():
        parser.error(f"--cores must be at most {usable_cores()}, got {max(given.cores)}")
    file = find_model(given.model)
    entry = {"entry": "benchmarks.serving.constant_engine", "engine": "shared"} if given.constant_engine else {}
    points = [measure(file, cores, given.connections * cores, given.seconds, given.repeats, **entry) for cores in given.cores]
    print("\n".join(table(given.model, points)))
    if given.out:
        given.out.write_text(json.dumps({"model": given.model, "points": [asdict(point) for point in points]}, indent=1) + "\n")


def measure(file: Path, cores: int, connections: int, seconds: int, repeats: int, **settings: str) -> Point:
    """The median of several loads; ``settings`` are those of ``service``."""
    ours = sorted(os.sched_getaffinity(0))
    apart = ours[cores:]
    os.sched_setaffinity(0, ours[:cores])
    try:
        with service(file, workers=cores, cache_bytes=0, **settings) as server:
            os.sched_setaffinity(0, apart or ours)
            processes = processes_of(server)
            measure_wrk(server.port, connections, 1, 0)
            points = []
            for turn in range(repeats):
                before, client_before, start = _seconds_of(processes), _children_seconds(), time.monotonic()
                load = measure_wrk(server.port, connections, seconds, (1 + turn) * SEEDS_A_LOAD)
                elapsed = time.monotonic() - start
                if load["errors"]:
                    sys.exit(f"scaling: {load['errors']:.0f} requests failed")
                spent = _seconds_of(processes) - before
                points.append(
                    Point(
                        cores=cores,
                        is_client_apart=bool(apart),
                        rate=load["rate"],
                        p50=load["p50"],
                        p99=load["p99"],
                        cpu_us=1e6 * spent / load["requests"],
                        busy=spent / elapsed / cores,
                        client_busy=(_children_seconds() - client_before) / elapsed,
                        memory_mib=sum(process.memory_full_info().pss for process in processes) / MIB,
                    )
                )
    finally:
        os.sched_setaffinity(0, ours)
    return sorted(points, key=lambda point: point.rate)[len(points) // 2]


def _seconds_of(processes: Sequence[psutil.Process]) -> float:
    return float(sum(sum(process.cpu_times()[:2]) for process in processes))


def _children_seconds() -> float:
    """Processor time of the ended children of this process, which are wrk's."""
    times = os.times()
    return times.children_user + times.children_system


def table(model: str, points: Sequence[Point]) -> list[str]:
    """A line for each number of cores, the first of which predicts the others."""
    first = points[0]
    lines = [
        f"{model}: requests a second, predicted from the first line",
        "",
        f"| {' | '.join(COLUMNS)} |",
        f"|{len(COLUMNS) * '---|'}",
    ]
    for point in points:
        predicted = first.rate * point.cores / first.cores
        client = "apart" if point.is_client_apart else "shares"
        cells = [
            f"{point.cores} | {client} | {point.rate:,.0f} | {predicted:,.0f} | {point.rate / predicted:.2f}",
            f"{point.p50 * 1e3:.2f} / {point.p99 * 1e3:.2f} | {point.cpu_us:.0f} | {point.busy:.2f} | {point.client_busy:.2f}",
            f"{point.memory_mib:.0f} | {held_back_by(point, first)}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def held_back_by(point: Point, first: Point) -> str:
    """What keeps a rate below the prediction; nothing where it is near."""
    if point.rate >= NEAR * first.rate * point.cores / first.cores:
        return "-"
    if point.client_busy >= BUSY:
        return "the client: give it more threads or another machine"
    if not point.is_client_apart and point.busy + point.client_busy / point.cores >= NEAR:
        return "the client, which takes its part of the cores"
    if point.cpu_us >= GROWN * first.cpu_us:
        return "caches and memory: a request costs more processor time than on fewer cores"
    if point.busy < NEAR:
        return "waiting: other programs use the cores, or connections are uneven over the workers or too few"
    return "unknown"


if __name__ == "__main__":
    if shutil.which("wrk") is None:
        sys.exit("scaling: wrk is not installed (Debian: apt install wrk)")
    main()
