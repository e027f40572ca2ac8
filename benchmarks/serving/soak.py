"""Check that the service stays constant under half an hour of requests, wrong ones, disconnecting clients and reloads.

    python -m benchmarks.serving.soak --minutes 30 --load .8

Every minute another model file is renamed over the served one, and ``/admin/reload`` is requested. Every ten seconds memory,
threads and open files of all processes are measured, and the bytes of some seeds are compared with those that this process
computes. The exit code is 1 if something is not constant. ``--leak 1024`` is the control: a service that leaks that many bytes
a request must fail.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import secrets
import shutil
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.serving.clients import LEFT, LOST, UNANSWERED
from benchmarks.serving.constancy import MIB, SETTLED_SECONDS, Course, Snapshot, complaints, slope
from benchmarks.serving.contender import ROOT
from benchmarks.serving.loader import Mix, Step, Trace, measure_capacity, offer, own_process
from benchmarks.serving.service import MODELS_FOLDER, descriptors, find_model, processes_of, resident, service, threads
from contract.cores import usable_cores
from serving.encoding.formats import FORMATS
from serving.engine.samples import sample_of
from serving.model.load import Model, load_model
from tests.harness.processes import free_port
from tests.harness.service import Server, ask

CACHE_BYTES = 2**18
"""A worker keeps so little that it is full, and throws away what is old, soon after the beginning."""
CHECKED_SEEDS = (0, 1, 42, 4294967295)
THREADS = 4
"""Of a worker for Flask's routes: so few that all of them have been needed before the load, and none begins later by chance."""
FLASK = Mix(targets=((1, "stay", "GET", "/models"),))
CAPACITY_SECONDS = 3.0
QUIET_SECONDS = 3.0
"""What the last clients, or a reload, leave behind is cleared away after that."""
PATIENCE_SECONDS = 30.0
"""Or after that on a busy machine; a connection that is open still is never closed."""
FIRST_RELOADS = 10
"""Before the load: a replaced model stays at hand, and the allocator keeps what loading one takes at most."""
SPREAD_SECONDS = 1.0
"""From one of them to the next: the other workers notice a reload a little later."""
SOAK = Mix(
    first_seed=10**9,
    targets=(
        (80, "stay", "GET", "/generate?seed={seed}"),
        (4, "stay", "GET", "/generate?seed=7"),
        (3, "fin", "GET", "/generate?seed={seed}&n=4"),
        (3, "rst", "GET", "/generate?seed={seed}&n=4"),
        (2, "stay", "GET", "/generate?seed=abc"),
        (2, "stay", "GET", "/generate?seed={seed}&n=0"),
        (1, "stay", "GET", "/generate?seed={seed}&format=none"),
        (1, "stay", "GET", "/nowhere/{seed}"),
        (1, "stay", "DELETE", "/generate?seed={seed}"),
        (1, "stay", "GET", "/models"),
        (1, "stay", "GET", "/healthz"),
        (1, "stay", "GET", "/metrics"),
    ),
)
"""Four of five requests are new samples; the rest is kept ones, clients that leave, wrong requests and other routes."""


def main() -> int:
    """Measure, print what came of it, and write it; the exit code."""
    arguments = parse_arguments()
    port, token = free_port(), secrets.token_hex()
    with tempfile.TemporaryDirectory(prefix="gan-soak-") as folder:
        models = Alternation(Path(folder) / "models", arguments.models, port, token)
        os.environ["LEAK_BYTES"] = str(arguments.leak)
        entry = "benchmarks.serving.leaking" if arguments.leak else "serving"
        settings = {"workers": arguments.workers, "cache_bytes": CACHE_BYTES, "threads": THREADS}
        with service(models.folder, entry=entry, port=port, admin_token=token, **settings) as server:
            find_capacity(port, FLASK)
            rate = arguments.rate or arguments.load * find_capacity(port)
            course, trace = watch(server, models, rate, arguments)
    found = complaints(course)
    report = {
        "rate": rate,
        "seconds": course.seconds,
        "leak": arguments.leak,
        "cores": usable_cores(),
        "workers": arguments.workers,
        "load": os.getloadavg(),
        "requests": len(trace.status),
        "statuses": count(trace),
        "reloads": models.reloads,
        "client_cores": float(trace.cpu.sum()) / course.seconds,
        "slope_mib": slope(course),
        "complaints": found,
        "before": asdict(course.before),
        "after": asdict(course.after),
        "looks": [asdict(look) for look in course.looks],
    }
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(report, indent=1) + "\n")
    print(describe(report), end="")
    return 1 if found else 0


class Alternation:
    """Two models that take turns in one place, and what each makes of some seeds.

    Args:
        folder: the place, made here, with the first model in it.
        files: of two models with the same name.
        port: of the service.
        token: that lets in to ``/admin/reload``.
    """

    def __init__(self, folder: Path, files: Sequence[Path], port: int, token: str) -> None:
        self.folder = folder
        self._files = files
        self.port = port
        self._token = token
        self._expected = dict(map(make_samples, files))
        self.reloads = 0
        folder.mkdir()
        self._put()

    def reload(self) -> str | None:
        """Put the other model there and have it loaded; what went wrong."""
        self.reloads += 1
        self._put()
        answer = ask(self.port, "/admin/reload", "POST", headers={"Authorization": f"Bearer {self._token}"})
        return None if answer.status == 200 else f"a reload must be answered 200, was {answer.status}: {answer.body[:200]!r}"

    def check(self) -> list[str]:
        """What is wrong with the answers to the known seeds."""
        wrong = []
        for seed in CHECKED_SEEDS:
            answer = ask(self.port, f"/generate?seed={seed}&format=png")
            expected = self._expected.get(answer.headers.get("x-model-digest", ""), {})
            if answer.body != expected.get(seed):
                wrong.append(f"seed {seed} must give what its model makes of it, gave {answer.status} with other bytes")
        return wrong

    def _put(self) -> None:
        new = self.folder / "model.new"
        shutil.copyfile(self._files[self.reloads % 2], new)
        new.rename(self.folder / "model.onnx")


def make_samples(file: Path) -> tuple[str, Mapping[int, bytes]]:
    """A model's digest, and its PNGs of the known seeds, made in this process."""
    model: Model = load_model(file, "cpu")
    encode = FORMATS[model.card.output.kind]["png"].encode
    return model.digest, {seed: encode(sample_of(model, model.sample([seed]), seed, {})) for seed in CHECKED_SEEDS}


def watch(server: Server, models: Alternation, rate: float, arguments: argparse.Namespace) -> tuple[Course, Trace]:
    """The whole run: the load in another process, everything else here."""
    seconds = arguments.minutes * 60
    wrong: list[str] = []
    pause = threading.Event()
    for _ in range(FIRST_RELOADS):
        wrong += filter(None, [models.reload()])
        pause.wait(SPREAD_SECONDS)
    pause.wait(QUIET_SECONDS)
    wrong += models.check()
    before = look(server, 0.0)
    looks: list[Snapshot] = []
    measured: Future[Trace]
    with own_process(offer, models.port, [Step(rate=rate, seconds=seconds)], mix=SOAK) as measured:
        start = time.monotonic()
        for at, is_reload in schedule(seconds, arguments.every, arguments.reload_every):
            pause.wait(max(0.0, start + at - time.monotonic()))
            try:
                wrong += filter(None, [models.reload()]) if is_reload else models.check()
            except (OSError, http.client.HTTPException) as error:
                wrong.append(f"there must be an answer after {at:.0f} s, was {error!r}")
            if not is_reload:
                looks.append(look(server, time.monotonic() - start))
        trace = measured.result()
    after = last_look(server, before, start)
    return Course(seconds=seconds, before=before, looks=looks, after=after, wrong=wrong), trace


def last_look(server: Server, before: Snapshot, start: float) -> Snapshot:
    """The service's processes when the connections of the last clients are closed, or when that has taken too long."""
    pause, end = threading.Event(), time.monotonic() + PATIENCE_SECONDS
    while True:
        pause.wait(QUIET_SECONDS)
        after = look(server, time.monotonic() - start)
        if after.sockets <= before.sockets or time.monotonic() > end:
            return after


def schedule(seconds: float, every: float, reload_every: float) -> list[tuple[float, bool]]:
    """Moments of looks and of reloads, in order; a reload comes half a period before a look."""
    looks = [(n * every, False) for n in range(1, int(seconds / every) + 1)]
    reloads = [(n * reload_every + every / 2, True) for n in range(1, int(seconds / reload_every) + 1)]
    return sorted(moment for moment in looks + reloads if moment[0] <= seconds)


def look(server: Server, at: float) -> Snapshot:
    """The service's processes now."""
    processes = processes_of(server)
    files, sockets = descriptors(processes)
    return Snapshot(
        at=at,
        pids=tuple(one.pid for one in processes),
        resident=resident(processes),
        threads=threads(processes),
        files=files,
        sockets=sockets,
    )


def find_capacity(port: int, mix: Mix | None = None) -> float:
    """Answers a second in a closed loop."""
    with own_process(measure_capacity, port, seconds=CAPACITY_SECONDS, mix=mix) as measured:
        return float(measured.result())


def count(trace: Trace) -> dict[str, int]:
    """Requests by what became of them."""
    names = {LEFT: "left", LOST: "lost", UNANSWERED: "unanswered"}
    return {names.get(status, str(status)): many for status, many in sorted(Counter(trace.status.tolist()).items())}


def describe(report: Mapping[str, Any]) -> str:
    """The report to read."""
    lines = ["| s | MiB | threads | files | sockets |", "|---|---|---|---|---|"]
    for seen in (report["before"], *report["looks"], report["after"]):
        counts = " | ".join(str(seen[name]) for name in ("threads", "files", "sockets"))
        lines.append(f"| {seen['at']:.0f} | {seen['resident'] / MIB:.1f} | {counts} |")
    settled = min(SETTLED_SECONDS, report["seconds"] / 6)
    lines += [
        "",
        f"{report['requests']} requests at {report['rate']:.0f}/s, {report['reloads']} reloads",
        f"by status: {report['statuses']}",
        f"client: {report['client_cores']:.2f} cores of {report['cores']}; load average {report['load'][0]:.1f}",
        f"memory after {settled:.0f} s: {report['slope_mib']:+.2f} MiB in ten minutes",
        *(f"not constant, {many} ×: {what}" for what, many in Counter(report["complaints"]).items()),
        "verdict: " + ("failed" if report["complaints"] else "constant"),
    ]
    return "\n".join(lines) + "\n"


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30, help="minutes of load")
    parser.add_argument("--load", type=float, default=0.8, help="share of the capacity, which is measured first")
    parser.add_argument("--rate", type=float, help="requests a second, instead of a share of the measured capacity")
    parser.add_argument("--leak", type=int, default=0, metavar="BYTES", help="bytes that each request leaks")
    parser.add_argument(
        "--models", type=Path, nargs=2, help="two model files of one model name, instead of mlp28 with two seeds"
    )
    parser.add_argument("--every", type=float, default=10, help="seconds between two measurements")
    parser.add_argument("--reload-every", type=float, default=60, help="seconds between two reloads")
    parser.add_argument("--workers", type=int, default=usable_cores(), help="workers of the service")
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "soak" / "report.json", help="report to write")
    arguments = parser.parse_args()
    arguments.models = arguments.models or [find_model("mlp28"), other_mlp28()]
    return arguments


def other_mlp28() -> Path:
    """The same net with other weights."""
    from benchmarks.serving.fixed_models import SEED, build  # not above: no process of a load needs torch

    folder = MODELS_FOLDER / "other"
    return build("mlp28", folder / "mlp28.onnx", seed=SEED + 1)


if __name__ == "__main__":
    sys.exit(main())
