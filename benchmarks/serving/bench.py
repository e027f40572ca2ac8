"""Measure how much time the service adds to latents, inference and encoding, and its images a second with 1 and 64 connections.

    python -m benchmarks.serving.bench MODEL.onnx --out figures.json

Each round measures the parts in this process (latents, inference, PNG), then the service by wrk with one connection, then with
64, each seed new. The table has the median round, so that a disturbed round does not count.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from benchmarks.serving.service import service
from contract import draw
from contract.cores import usable_cores
from serving.encoding.formats import FORMATS
from serving.engine.samples import sample_of
from serving.model.load import Model, load_model

LUA = Path(__file__).with_name("distinct_seeds.lua")
PARTS = ("latents", "inference", "encode")

Figures = dict[str, float]


def main() -> None:
    """Measure, print the table, write the JSON."""
    arguments = parse_arguments()
    model = load_model(arguments.model, "cpu")
    rounds: dict[str, list[Figures]] = {}
    with ExitStack() as servers:
        ports = {}
        for fast_path in arguments.fast_path:
            settings = {"workers": arguments.workers, "fast_path": fast_path}
            ports[fast_path] = servers.enter_context(service(arguments.model, **settings)).port
        for turn in range(arguments.rounds):
            measure_round(model, ports, arguments, turn, rounds)
    report = summarise(rounds, arguments, model)
    print_table(report)
    if arguments.out:
        arguments.out.write_text(json.dumps(report, indent=1) + "\n")


def measure_round(
    model: Model, ports: dict[str, int], arguments: argparse.Namespace, turn: int, rounds: dict[str, list[Figures]]
) -> None:
    """One round: the parts, then each server, so that what disturbs one disturbs all."""
    parts = measure_parts(model, arguments.requests, turn)
    rounds.setdefault("parts", []).append(parts)
    for fast_path, port in ports.items():
        one = measure_wrk(port, 1, arguments.seconds, 10**9 + turn * 10**7)
        one["ratio"] = one["p50"] / parts["total"]
        rounds.setdefault(f"one, fast path {fast_path}", []).append(one)
    for fast_path, port in ports.items():
        many = measure_wrk(port, arguments.connections, arguments.seconds, 2 * 10**9 + turn * 10**8)
        rounds.setdefault(f"many, fast path {fast_path}", []).append(many)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="model file")
    parser.add_argument("--out", type=Path, help="JSON file of figures to write")
    parser.add_argument("--rounds", type=int, default=5, help="number of rounds, of which the median one counts")
    parser.add_argument("--requests", type=int, default=2000, help="number of times that each round measures the parts")
    parser.add_argument("--connections", type=int, default=64, help="the larger number of connections")
    parser.add_argument("--seconds", type=int, default=5, help="seconds of a round with many connections")
    parser.add_argument("--workers", type=int, default=usable_cores(), help="workers of the service")
    parser.add_argument(
        "--fast-path",
        nargs="+",
        choices=("on", "off"),
        default=["on"],
        help="whether samples bypass Flask; with both values they take turns",
    )
    return parser.parse_args()


def measure_parts(model: Model, count: int, turn: int) -> Figures:
    """Median seconds of each part of one image, in this process."""
    encode = FORMATS[model.card.output.kind]["png"].encode
    times: dict[str, list[float]] = {part: [] for part in (*PARTS, "total")}
    for seed in range(turn * count, (turn + 1) * count):
        marks = [time.perf_counter()]
        drawn = draw(model.card.latents, [seed])
        marks.append(time.perf_counter())
        rows = model.run(drawn)
        marks.append(time.perf_counter())
        encode(sample_of(model, rows, seed, {}))
        marks.append(time.perf_counter())
        for part, start, stop in zip(PARTS, marks, marks[1:], strict=False):
            times[part].append(stop - start)
        times["total"].append(marks[-1] - marks[0])
    return {part: statistics.median(values) for part, values in times.items()}


def measure_wrk(port: int, connections: int, seconds: int, first_seed: int, request: Sequence[str] = ()) -> Figures:
    """Throughput and latency with wrk, all seeds distinct; ``request`` is what the script takes, ours without it.

    ``rate`` and ``requests`` count what was answered below 400, ``errors`` all others and connections that failed.
    """
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", str(LUA), f"http://127.0.0.1:{port}", "--", *request]
    environment = os.environ | {"FIRST_SEED": str(first_seed)}
    output = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    found = re.search(r"RESULT (\S+) (\S+) (\S+) (\S+) (\S+)", output)
    if not found:
        raise RuntimeError(output)
    rate, requests, p50, p99, errors = map(float, found.groups())
    return {"rate": rate, "requests": requests, "p50": p50, "p99": p99, "errors": errors}


def summarise(rounds: dict[str, list[Figures]], arguments: argparse.Namespace, model: Model) -> dict[str, object]:
    """The median of every figure, and where it was measured."""
    medians = {name: {key: statistics.median(r[key] for r in values) for key in values[0]} for name, values in rounds.items()}
    return {
        "model": model.card.name,
        "digest": model.digest,
        "runtime": model.runtime,
        "python": platform.python_version(),
        "cores": usable_cores(),
        "workers": arguments.workers,
        "connections": arguments.connections,
        "load": os.getloadavg(),
        "medians": medians,
        "rounds": rounds,
    }


def print_table(report: dict[str, object]) -> None:
    medians: dict[str, Figures] = report["medians"]  # type: ignore[assignment]
    print(f"{report['model']} on {report['runtime']}, {report['cores']} cores, {report['workers']} workers; medians of rounds")
    for part in (*PARTS, "total"):
        print(f"  in process, {part:<20}{medians['parts'][part] * 1e6:>9.0f} us")
    for name, row in medians.items():
        if name.startswith("one"):
            print(
                f"  {'connection ' + name:<32}{row['p50'] * 1e6:>9.0f} us p50   {row['p99'] * 1e6:.0f} us p99   "
                f"{row['ratio']:.2f} x the parts"
            )
        elif name.startswith("many"):
            title = name.replace("many", f"{report['connections']} connections")
            print(
                f"  {title:<32}{row['rate']:>9.0f} requests/s   {row['p50'] * 1e3:.1f} ms p50   "
                f"{row['p99'] * 1e3:.1f} ms p99   {row['errors']:.0f} errors"
            )


if __name__ == "__main__":
    if shutil.which("wrk") is None:
        sys.exit("bench: wrk is not installed (Debian: apt install wrk)")
    main()
