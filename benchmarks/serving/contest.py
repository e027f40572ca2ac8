"""Measure the service against other servers of the same models, all on this machine, one after the other.

    python -m benchmarks.serving.contest --only ours,gunicorn --seconds 5

Each repeat measures each server once with each of its settings for batches: it is started, an answer is checked pixel by
pixel, it is warmed up, wrk requests a new seed each time at each number of connections, and the server is stopped. At each
number of connections a server's best setting counts. The report is written after each server. An interrupted call continues,
and tries again what failed. Our servers listen on 127.0.0.1 only.
"""

from __future__ import annotations

import argparse
import platform
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

from benchmarks.commit import describe_commit, digest_files
from benchmarks.processor import processor
from benchmarks.serving.contender import ROOT, Contender, load_contenders
from benchmarks.serving.fixed_models import CONTEST, MODELS
from benchmarks.serving.limits import measure_limits
from benchmarks.serving.processes import adopt_orphans
from benchmarks.serving.service import find_model
from benchmarks.serving.standings import Run, read_report, write_report
from benchmarks.serving.visit import Load, visit
from contract.cores import usable_cores
from serving.model.load import load_model

CODE = ("serving", "contract", "benchmarks/serving")
"""Folders of what is measured and of what measures."""


def main() -> None:
    """Hold the contest, or what is left of it, and print the tables."""
    arguments = parse_arguments()
    everyone = load_contenders()
    names = arguments.only or list(everyone)
    models = {path.stem: (path, load_model(path, "cpu")) for path in map(find_model, arguments.models)}
    plan = {name: getattr(arguments, name) for name in ("seconds", "repeats", "connections", "warm")}
    plan |= {"machine": about_machine(), "code": digest_code()}
    if arguments.fresh:
        arguments.out.unlink(missing_ok=True)
    digests = {name: model.digest for name, (_, model) in models.items()}
    try:
        report = read_report(arguments.out, plan, describe_commit(ROOT, *CODE), digests)
    except ValueError as error:
        sys.exit(f"contest: {error}")
    load = Load(arguments.seconds, tuple(arguments.connections), arguments.warm)
    adopt_orphans()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the running server is ended
    for repeat in range(arguments.repeats):
        for model_name, (path, model) in models.items():
            if arguments.limits and not is_done(report["limits"], model=model_name, repeat=repeat):
                rates = measure_limits(path, arguments.seconds, usable_cores())
                report["limits"].append({"model": model_name, "repeat": repeat, "rates": rates})
            for contender in in_order([everyone[name] for name in names], repeat):
                for batching in contender.batches:
                    key = {"model": model_name, "contender": contender.name, "batching": str(batching)}
                    if not is_done(report["runs"], **key, repeat=repeat) and not has_failed(report["runs"], **key):
                        run = visit(contender, batching, path, model, load, repeat)
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
    parser.add_argument("--only", type=names, help=f"servers to measure, separated by commas, of {','.join(known)}")
    parser.add_argument("--models", type=names, default=list(CONTEST), help=f"models, of {','.join(MODELS)}, or model files")
    parser.add_argument("--seconds", type=int, default=5, help="seconds of each load")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each server with each setting")
    parser.add_argument("--connections", type=numbers, default=[1, 8, 64], help="numbers of connections, separated by commas")
    parser.add_argument("--warm", type=int, default=3, help="seconds of load before the first measurement")
    parser.add_argument(
        "--no-limits", dest="limits", action="store_false", help="leave out the rates of the cores without a server"
    )
    parser.add_argument("--fresh", action="store_true", help="delete the report that --out holds")
    parser.add_argument(
        "--out",
        type=Path,
        default=ROOT / "runs" / "bench-serve" / "report.json",
        help="report to write; its tables are in a .md next to it",
    )
    arguments = parser.parse_args()
    if unknown := sorted(set(arguments.only or []) - set(known)):
        parser.error(f"no contender {', '.join(unknown)}; there are {', '.join(known)}")
    return arguments


def about_machine() -> dict[str, Any]:
    """What the figures belong to."""
    return {"cores": usable_cores(), "processor": processor(), "python": platform.python_version()}


def digest_code() -> str:
    """SHA-256 of what is measured and of what measures: our code, each contender's files, the versions of all packages."""
    paths = (path for folder in CODE for path in (ROOT / folder).rglob("*") if "__pycache__" not in path.parts)
    return digest_files(ROOT, [*filter(Path.is_file, paths), ROOT / "constraints.txt"])


def in_order(contenders: list[Contender], repeat: int) -> list[Contender]:
    """The turns of a repeat: every second one goes backwards, so that a machine that slows down does not slow the last more."""
    return contenders[::-1] if repeat % 2 else contenders


def is_done(entries: list[Run], **key: object) -> bool:
    """Whether an entry with these values is there."""
    return any(all(entry[name] == value for name, value in key.items()) for entry in entries)


def has_failed(runs: list[Run], **key: object) -> bool:
    """Whether this contender could not be measured with this setting in this contest already."""
    return is_done([run for run in runs if "failed" in run], **key)


def progress(run: Run) -> str:
    """A run in a line."""
    what = run.get("failed") or ", ".join(f"{load['rate']:,.0f}/s at {c}" for c, load in run["loads"].items())
    return f"{run['model']}, repeat {run['repeat'] + 1}, {run['contender']}, {run['batching']}: {what}"


if __name__ == "__main__":
    if shutil.which("wrk") is None:
        sys.exit("contest: wrk is not installed (Debian: apt install wrk)")
    main()
