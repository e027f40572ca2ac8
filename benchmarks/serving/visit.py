"""One measurement of a contender: installed if need be, started, its answers checked, warmed up, loaded, weighed, ended."""

from __future__ import annotations

import os
import shutil
import subprocess
import sysconfig
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.serving.answers import AnswerError, ask, check
from benchmarks.serving.bench import measure_wrk
from benchmarks.serving.contender import ROOT, Batching, Contender, fill
from benchmarks.serving.environments import InstallError, python_for
from benchmarks.serving.processes import ServerProcess, running
from benchmarks.serving.standings import Run
from contract.cores import usable_cores
from serving.model.load import Model
from tests.harness.processes import StartError, free_ports, last_lines, wait_for

BUILD = ROOT / ".build" / "bench-serve"
START_SECONDS = 120
CHECKED_SEEDS = (0, 42, 4294967295)
SEEDS_AT_ONCE = range(1000, 1032)
SEEDS_A_LOAD = 10**7
SETTINGS = ("GAN_", "GUNICORN_", "WEB_CONCURRENCY", "UVICORN_", "MLSERVER_", "BENTOML_", "RAY_", "TS_", "LIT_")
"""How the variables begin that would change a server's settings unseen."""


@dataclass(frozen=True)
class Load:
    """What a contender is asked to bear."""

    seconds: int
    """At each number of connections."""
    connections: tuple[int, ...]
    warm: int
    """Seconds with the most connections before anything counts."""


def visit(contender: Contender, batching: Batching, path: Path, model: Model, load: Load, repeat: int) -> Run:
    """Start, check, warm, load, weigh, end; or why not."""
    work = BUILD / "work" / contender.name
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    try:
        names = names_for(contender, batching, path, work, python_for(contender))
        environment = environment_for(contender, names)
        prepare(contender, names, environment, work)
        command = [fill(part, names) for part in contender.start]
        start = time.monotonic()
        with running(command, environment, work) as server:
            return measure(contender, server, int(names["port"]), start, model, load, repeat)
    except (InstallError, StartError, AnswerError, OSError, RuntimeError, subprocess.SubprocessError) as error:
        return {"failed": str(error) or repr(error)}


def names_for(contender: Contender, batching: Batching, model: Path, work: Path, python: Path) -> dict[str, str]:
    """What the ``$names`` of its commands and files stand for."""
    ports = free_ports(3)
    places = {
        "root": ROOT,
        "here": contender.folder,
        "work": work,
        "model": model,
        "python": python,
        "bin": python.parent,
        "libpython": sysconfig.get_config_var("LIBDIR"),
    }
    numbers = {"cores": usable_cores(), "many": 2 * usable_cores() + 1, "batch": batching.size}
    numbers |= {"wait": batching.wait_ms}
    numbers |= {"port": ports[0], "port2": ports[1], "port3": ports[2]}
    return {name: str(value) for name, value in {**places, **numbers, "wait_seconds": batching.wait_ms / 1000}.items()}


def environment_for(contender: Contender, names: dict[str, str]) -> dict[str, str]:
    """What a contender's processes find in their environment: this project's code, the model, its own programs first."""
    shared = {
        "PYTHONPATH": str(ROOT),
        "PATH": f"{names['bin']}:{os.environ['PATH']}",
        "OMP_NUM_THREADS": "1",
        "ORT_DISABLE_TELEMETRY": "1",
        "BENCH_MODEL": names["model"],
        "BENCH_PORT": names["port"],
        "BENCH_CORES": names["cores"],
        "BENCH_BATCH": names["batch"],
        "BENCH_WAIT_MS": names["wait"],
    }
    plain = {name: value for name, value in os.environ.items() if not name.startswith(SETTINGS)}
    return plain | shared | {key: fill(value, names) for key, value in contender.environment.items()}


def prepare(contender: Contender, names: dict[str, str], environment: dict[str, str], work: Path) -> None:
    """Write the templates and run the commands that come before the start.

    Raises:
        StartError: one of them failed.
    """
    for name in contender.templates:
        (work / name).write_text(fill((contender.folder / name).read_text(), names))
    for parts in contender.prepare:
        command = [fill(part, names) for part in parts]
        done = subprocess.run(command, env=environment, cwd=work, capture_output=True, text=True)
        if done.returncode:
            raise StartError(f"{Path(command[0]).name} failed: {done.stderr.strip().splitlines()[-1:]}")


def measure(contender: Contender, server: ServerProcess, port: int, start: float, model: Model, load: Load, repeat: int) -> Run:
    """The result of one measurement."""
    first = wait_for(
        lambda: ask(contender, port, CHECKED_SEEDS[0]),
        server.process,
        seconds=START_SECONDS,
        errors=(OSError, AnswerError),
        output=server.output,
    )
    startup = time.monotonic() - start
    check(contender, first, row_of(model, CHECKED_SEEDS[0]))
    for seed in CHECKED_SEEDS[1:]:
        check(contender, ask(contender, port, seed), row_of(model, seed))
    if load.warm:
        measure_wrk(port, max(load.connections), load.warm, SEEDS_A_LOAD, contender.request)
    check_at_once(contender, port, model)
    loads = {}
    for place, connections in enumerate(load.connections):
        first_seed = (2 + repeat * len(load.connections) + place) * SEEDS_A_LOAD
        loads[str(connections)] = measure_wrk(port, connections, load.seconds, first_seed, contender.request)
    if server.process.poll() is not None:
        raise StartError(f"it ended under load: {last_lines(server.output())}")
    return {
        "startup_s": startup,
        "memory_bytes": server.memory(),
        "png_bytes": len(first),
        "loads": loads,
        "load_average": os.getloadavg()[0],
    }


def check_at_once(contender: Contender, port: int, model: Model) -> None:
    """Ask for several seeds at once: each answer must be the picture of its own seed, also where a server gathers them.

    Raises:
        AnswerError: one is another picture.
    """
    with ThreadPoolExecutor(len(SEEDS_AT_ONCE)) as clients:
        pngs = clients.map(lambda seed: ask(contender, port, seed), SEEDS_AT_ONCE)
        for seed, png in zip(SEEDS_AT_ONCE, pngs, strict=True):
            check(contender, png, row_of(model, seed))


def row_of(model: Model, seed: int) -> NDArray[np.uint8]:
    """The pixels that a seed must give."""
    pixels: NDArray[np.uint8] = model.sample([seed])[0]
    return pixels
