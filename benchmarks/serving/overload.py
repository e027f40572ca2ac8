"""Measure the service under overload: its capacity, then multiples of it, then the first multiple again.

    python -m benchmarks.serving.overload --seconds 60 --steps 1,2,5,10

The capacity C is the rate of 64 clients in a closed loop, each seed new, without a cache. In each step requests arrive as a
Poisson process with a multiple of C as its rate, independent of the answers. Meanwhile /healthz and /metrics are requested
every second. Client and service share the cores; each step shows the client's share of one core. With ``--retry`` a refused
client retries at once, on the same connection (``kept``) or on another one (``new``).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import threading
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from benchmarks.serving.contender import ROOT
from benchmarks.serving.loader import Mix, Step, Trace, measure_capacity, offer, own_process
from benchmarks.serving.probes import Probe, probe_until
from benchmarks.serving.service import find_model, service
from benchmarks.serving.steps import bound_seconds, recovery_seconds, summarise, write_table
from contract.cores import usable_cores
from serving.model.load import load_model
from serving.settings import Settings, from_environ

RETRY_STEP = 3.0


def main() -> None:
    """Measure, print the table, write both."""
    arguments = parse_arguments()
    file = find_model(arguments.model)
    model = load_model(file, "cpu")
    settings = from_environ(os.environ)
    with service(file, workers=arguments.workers, cache_bytes=0) as server:
        capacity = arguments.capacity or find_capacity(server.port, arguments.capacity_seconds)
        trace, probes = load(server.port, capacity, arguments)
    report: dict[str, Any] = {
        "model": model.card.name,
        "digest": model.digest,
        "runtime": model.runtime,
        "python": platform.python_version(),
        "cores": usable_cores(),
        "workers": arguments.workers,
        "load": os.getloadavg(),
        "retry": arguments.retry,
        "tries": arguments.tries,
        "capacity": capacity,
        "bound_s": bound_seconds(settings, arguments.workers, capacity),
        "connections": trace.connections,
        "steps": summarise(trace, probes, arguments.steps, arguments.seconds, capacity),
        "recovery_s": recovery_seconds(trace, len(arguments.steps), arguments.seconds),
    }
    text = write_table(report)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(report, indent=1) + "\n")
    arguments.out.with_suffix(".md").write_text(text)
    print(text, end="")


def find_capacity(port: int, seconds: float) -> float:
    """Answers a second in a closed loop."""
    with own_process(measure_capacity, port, seconds=seconds) as measured:
        capacity: float = measured.result()
    if not capacity:
        sys.exit("overload: the service answered nothing")
    return capacity


def load(port: int, capacity: float, arguments: argparse.Namespace) -> tuple[Trace, list[Probe]]:
    """All steps, and what the probes met."""
    steps = [Step(rate=factor * capacity, seconds=arguments.seconds) for factor in arguments.steps]
    probes: list[Probe] = []
    is_over = threading.Event()
    prober = threading.Thread(target=probe_until, args=(is_over, port, probes))
    measured: Future[Trace]
    with own_process(
        offer,
        port,
        steps,
        seed=arguments.seed,
        limit=arguments.connections,
        again=arguments.retry,
        tries=arguments.tries,
        mix=Mix(first_seed=2 * 10**9),
    ) as measured:
        prober.start()
        try:
            return measured.result(), probes
        finally:
            is_over.set()
            prober.join()


def parse_arguments() -> argparse.Namespace:
    """The command line; the first step comes once more at the end."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="slow", help="name of a fixed model, or a model file")
    parser.add_argument("--seconds", type=float, default=60, help="seconds of each step")
    parser.add_argument("--steps", type=_numbers, help="multiples of the capacity; by default 1,2,5,10, and with --retry 1,3")
    parser.add_argument(
        "--retry", choices=("never", "kept", "new"), default="never", help="on which connection a refused client retries"
    )
    parser.add_argument("--tries", type=int, default=4, help="tries of each client with --retry, at most")
    parser.add_argument("--capacity", type=float, help="the capacity in answers a second, instead of measuring it")
    parser.add_argument("--capacity-seconds", type=float, default=10, help="seconds for which the capacity is measured")
    parser.add_argument("--workers", type=int, default=Settings().workers or usable_cores(), help="workers of the service")
    parser.add_argument("--connections", type=int, default=4096, help="connections at a time, at most")
    parser.add_argument("--seed", type=int, default=0, help="random seed of the arrivals")
    parser.add_argument(
        "--out",
        type=Path,
        default=ROOT / "runs" / "overload" / "report.json",
        help="report to write; its table is in a .md next to it",
    )
    arguments = parser.parse_args()
    steps = arguments.steps or ([1.0, 2.0, 5.0, 10.0] if arguments.retry == "never" else [1.0, RETRY_STEP])
    arguments.steps = [*steps, steps[0]]
    return arguments


def _numbers(text: str) -> list[float]:
    return [float(part) for part in text.split(",")]


if __name__ == "__main__":
    main()
