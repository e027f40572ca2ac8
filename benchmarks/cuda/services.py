"""The service on the device, with the models in each worker and in the shared engine: the same bytes, and answers a second."""

from __future__ import annotations

import importlib.util
from typing import Any

from benchmarks.cuda.asking import rate
from benchmarks.cuda.bench import Bench
from benchmarks.cuda.engines import why_no_cuda
from benchmarks.cuda.playing import ExportedModel, models
from benchmarks.cuda.stage import Skipped
from contract.cores import usable_cores

NEEDED = ("a2wsgi", "flask", "httptools", "prometheus_client", "psutil", "uvicorn", "uvloop")
SEEDS = (0, 1, 42, 2**32 - 1)
RATES = 20
"""Times of one rate that a service is asked for: enough to fill the batches of a GPU."""


def compare_services(bench: Bench) -> dict[str, Any]:
    """One worker with the models, several, and as many in front of the engine."""
    missing = [module for module in NEEDED if importlib.util.find_spec(module) is None]
    if missing:
        raise Skipped(f"the service needs {', '.join(missing)}: pip install 'gan-serve[serve-gpu]'")
    if bench.device.type == "cuda" and (why := why_no_cuda()):
        raise Skipped(why)
    there = [model for model in models(bench) if model.path.exists()]
    if not there:
        raise Skipped("no model was exported")
    workers = max(2, usable_cores() // 2)
    figures: dict[str, Any] = {"model": there[-1].name, "services": []}
    first: list[bytes] = []
    for engine, count in (("worker", 1), ("worker", workers), ("shared", workers)):
        if bench.left_s() <= 0:
            figures.setdefault("not_reached", []).append(f"{engine} with {count} workers")
            continue
        bodies, answers_per_s = _ask(bench, there[-1], engine, count)
        first = first or bodies
        figures["services"].append(
            {"engine": engine, "workers": count, "bytes_equal": bodies == first, "answers_per_s": answers_per_s}
        )
    return figures


def _ask(bench: Bench, model: ExportedModel, engine: str, workers: int) -> tuple[list[bytes], float | None]:
    """The bytes of some seeds, and answers a second where rates are measured."""
    from benchmarks.serving.service import service  # not above: it needs psutil

    with service(model.path, engine=engine, workers=workers, provider=bench.device.type, cache_bytes=0) as server:
        bodies = [server.get(f"/generate?seed={seed}").body for seed in SEEDS]
        seconds = RATES * bench.scale.rate_s
        return bodies, round(rate(server.port, max(4, usable_cores() // 2), seconds), 1) if seconds else None
