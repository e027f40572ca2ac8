"""The service against other servers of the same models, all on this machine, one after the other, again and again.

    python -m benchmarks.serving.contest --only ours,gunicorn --seconds 5

Every repeat visits every contender: start, one answer checked pixel by pixel, a second to warm up, then wrk at each number of
connections, every seed a new one; then it is ended. The report is written after each visit, and a contest that was interrupted
goes on from there; what failed is tried again. Nothing listens but on 127.0.0.1.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.serving.answers import AnswerError, ask, check
from benchmarks.serving.bench import measure_wrk
from benchmarks.serving.contender import OURS, ROOT, Contender, fill, load_contenders
from benchmarks.serving.environments import InstallError, python_for
from benchmarks.serving.fixed_models import MODELS, build
from benchmarks.serving.limits import measure_limits
from benchmarks.serving.processes import Server, StartError, adopt_orphans, memory, running
from benchmarks.serving.standings import Report, Run, read_report, write_report
from serving.models import Model, load_model
from serving.settings import usable_cores

BUILD = ROOT / ".build" / "bench-serve"
START_SECONDS = 40
CHECKED_SEEDS = (0, 42, 4294967295)
SEEDS_A_LOAD = 10**7


def main() -> None:
    """Hold the contest, or what is left of it, and print the tables."""
    arguments = parse_arguments()
    everyone = load_contenders()
    names = arguments.only or list(everyone)
    models = {path.stem: (path, load_model(path, "cpu")) for path in map(find_model, arguments.models)}
    plan = {"seconds": arguments.seconds, "repeats": arguments.repeats, "connections": arguments.connections}
    if arguments.fresh:
        arguments.out.unlink(missing_ok=True)
    digests = {name: model.digest for name, (_, model) in models.items()}
    report = read_report(arguments.out, plan, about_machine(), digests)
    adopt_orphans()
    for repeat in range(arguments.repeats):
        for model_name, (path, model) in models.items():
            if arguments.limits and not is_done(report["limits"], model=model_name, repeat=repeat):
                rates = measure_limits(path, arguments.seconds, usable_cores())
                report["limits"].append({"model": model_name, "repeat": repeat, "rates": rates})
            for contender in (everyone[name] for name in names):
                key = {"model": model_name, "contender": contender.name}
                if not is_done(report["runs"], **key, repeat=repeat) and not has_failed(report["runs"], **key):
                    run = visit(contender, path, model, arguments, repeat)
                    report["runs"].append({**key, "repeat": repeat, **run})
                    print(progress(report["runs"][-1]), flush=True)
                text = write_report(report, everyone, arguments.out)
    print(text, end="")


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = lambda text: text.split(",")  # noqa: E731
    numbers = lambda text: [int(part) for part in text.split(",")]  # noqa: E731
    known = load_contenders()
    parser.add_argument("--only", type=names, help=f"contenders, comma separated, of {','.join(known)}")
    parser.add_argument("--models", type=names, default=list(MODELS), help=f"of {','.join(MODELS)}, or ONNX files with a card")
    parser.add_argument("--seconds", type=int, default=5, help="length of one load")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--connections", type=numbers, default=[1, 8, 64])
    parser.add_argument("--warm", type=int, default=1, help="seconds of load before the first that counts")
    parser.add_argument("--no-limits", dest="limits", action="store_false", help="leave out what the cores give without a server")
    parser.add_argument("--fresh", action="store_true", help="throw away what --out holds")
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "bench-serve" / "report.json", help="a .md lies beside it")
    arguments = parser.parse_args()
    if unknown := sorted(set(arguments.only or []) - set(known)):
        parser.error(f"no contender {', '.join(unknown)}; there are {', '.join(known)}")
    return arguments


def find_model(name: str) -> Path:
    """The file of a fixed model, made if need be, or the file that the name is."""
    return build(name, BUILD / "models" / f"{name}.onnx") if name in MODELS else Path(name).resolve()


def about_machine() -> dict[str, Any]:
    """What the figures belong to."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    processor = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
    return {"cores": usable_cores(), "processor": processor, "python": platform.python_version(), "load": os.getloadavg()}


def is_done(entries: list[Run], **key: object) -> bool:
    """Whether an entry with these values is there."""
    return any(all(entry[name] == value for name, value in key.items()) for entry in entries)


def has_failed(runs: list[Run], **key: object) -> bool:
    """Whether this contender could not be measured in this contest already."""
    return is_done([run for run in runs if "failed" in run], **key)


def visit(contender: Contender, path: Path, model: Model, arguments: argparse.Namespace, repeat: int) -> Run:
    """Start, check, warm, load, weigh, end; or why not."""
    work = BUILD / "work" / contender.name
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    try:
        names = names_for(contender, path, work, python_for(contender))
        environment = environment_for(contender, names)
        prepare(contender, names, environment, work)
        command = [fill(part, names) for part in contender.start]
        start = time.monotonic()
        with running(command, environment, work) as server:
            return measure(contender, server, int(names["port"]), start, model, arguments, repeat)
    except (InstallError, StartError, AnswerError, OSError) as error:
        return {"failed": str(error) or repr(error)}


def names_for(contender: Contender, model: Path, work: Path, python: Path) -> dict[str, str]:
    """What the ``$names`` of its commands and files stand for."""
    ports = free_ports(3)
    places = {"root": ROOT, "here": contender.folder, "work": work, "model": model, "python": python, "bin": python.parent}
    numbers = {"cores": usable_cores(), "many": 2 * usable_cores() + 1, "port": ports[0], "port2": ports[1], "port3": ports[2]}
    return {name: str(value) for name, value in {**places, **numbers}.items()}


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now."""
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def environment_for(contender: Contender, names: dict[str, str]) -> dict[str, str]:
    """What a contender's processes find in their environment: this project's code, the model, its own programs first."""
    shared = {
        "PYTHONPATH": str(ROOT), "PATH": f"{names['bin']}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1",
        "ORT_DISABLE_TELEMETRY": "1", "BENCH_MODEL": names["model"], "BENCH_PORT": names["port"], "BENCH_CORES": names["cores"],
    }  # fmt: skip
    return os.environ | shared | {key: fill(value, names) for key, value in contender.environment.items()}


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


def measure(
    contender: Contender, server: Server, port: int, start: float, model: Model, arguments: argparse.Namespace, repeat: int
) -> Run:
    """What one visit finds."""
    first = wait_for_answer(server, lambda: ask(contender, port, CHECKED_SEEDS[0]))
    startup = time.monotonic() - start
    check(contender, first, row_of(model, CHECKED_SEEDS[0]))
    for seed in CHECKED_SEEDS[1:]:
        check(contender, ask(contender, port, seed), row_of(model, seed))
    if arguments.warm:
        measure_wrk(port, max(arguments.connections), arguments.warm, SEEDS_A_LOAD, contender.request)
    loads = {}
    for place, connections in enumerate(arguments.connections):
        first_seed = (2 + repeat * len(arguments.connections) + place) * SEEDS_A_LOAD
        loads[str(connections)] = measure_wrk(port, connections, arguments.seconds, first_seed, contender.request)
    if server.process.poll() is not None:
        raise StartError(f"it ended under load: {server.last_words()}")
    return {"startup_s": startup, "memory_bytes": memory(server.pids()), "png_bytes": len(first), "loads": loads}


def row_of(model: Model, seed: int) -> NDArray[np.uint8]:
    """The pixels that a seed must give."""
    pixels: NDArray[np.uint8] = model.sample([seed])[0]
    return pixels


def wait_for_answer(server: Server, request: Callable[[], bytes]) -> bytes:
    """The first answer, asked for until it comes.

    Raises:
        StartError: the server ended, or did not answer in time.
    """
    pause = threading.Event()
    last: Exception | None = None
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if server.process.poll() is not None:
            raise StartError(f"it ended with exit code {server.process.returncode}: {server.last_words()}")
        try:
            return request()
        except (OSError, AnswerError) as error:
            last = error
            pause.wait(0.05)
    raise StartError(f"no answer within {START_SECONDS} s: {last}; {server.last_words()}")


def progress(run: Run) -> str:
    """A run in a line."""
    what = run.get("failed") or ", ".join(f"{load['rate']:,.0f}/s at {c}" for c, load in run["loads"].items())
    return f"{run['model']}, repeat {run['repeat'] + 1}, {run['contender']}: {what}"


if __name__ == "__main__":
    if shutil.which("wrk") is None:
        sys.exit("contest: wrk is not installed (Debian: apt install wrk)")
    main()
