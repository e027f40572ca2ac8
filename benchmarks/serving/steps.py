"""The figures of an overload run, step by step, from the trace of its requests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.serving.clients import LOST, UNANSWERED
from benchmarks.serving.loader import Trace
from benchmarks.serving.probes import Probe
from serving.settings import Settings

OK, REFUSED, LATE = 200, 503, 504
WINDOW_SECONDS = 0.5
"""Latencies after the load are looked at in windows of so long."""

Figures = dict[str, Any]


def bound_seconds(settings: Settings, workers: int, capacity: float) -> float:
    """How long a request that was accepted should take at most: a full queue and one batch before it, at the capacity."""
    return (settings.queue_limit + settings.max_batch) * workers / capacity


def summarise(
    trace: Trace, probes: Sequence[Probe], factors: Sequence[float], seconds: float, capacity: float
) -> list[Figures]:
    """A row a step. Answers count where they were due, goodput when they came."""
    return [
        {"factor": factor, **_figures(trace, number, seconds, capacity), **_probed(trace, probes, number * seconds, seconds)}
        for number, factor in enumerate(factors)
    ]


def _figures(trace: Trace, number: int, seconds: float, capacity: float) -> Figures:
    of_step = trace.step == number
    status, took = trace.status[of_step], (trace.done - trace.due)[of_step]
    came = (trace.status == OK) & (number * seconds <= trace.done) & (trace.done < (number + 1) * seconds)
    goodput = int(came.sum()) / seconds
    others = ~np.isin(status, (OK, REFUSED, LATE, UNANSWERED))
    return {
        "offered": int(of_step.sum()) / seconds,
        "goodput": goodput,
        "of_capacity": goodput / capacity,
        "requests": int(of_step.sum()),
        "accepted": int((status == OK).sum()),
        "refused": int((status == REFUSED).sum()),
        "late": int((status == LATE).sum()),
        "errors": int(others.sum()),
        "lost": int((status == LOST).sum()),
        "unanswered": int((status == UNANSWERED).sum()),
        "refused_p99_s": _percentile(took[status == REFUSED], 99),
        "p50_s": _percentile(took[status == OK], 50),
        "p99_s": _percentile(took[status == OK], 99),
        "tries": int(trace.tries[of_step].sum()),
        "client_cores": float(trace.cpu[number]) / seconds,
    }


def _probed(trace: Trace, probes: Sequence[Probe], begin: float, seconds: float) -> Figures:
    seen = [probe for probe in probes if begin <= probe.at - trace.start < begin + seconds]
    return {
        "probes": len(seen),
        "probes_good": sum(probe.is_good for probe in seen),
        "probe_worst_s": max((probe.seconds for probe in seen), default=None),
    }


def recovery_seconds(trace: Trace, steps: int, seconds: float) -> float | None:
    """How long after the heaviest step the last one's latencies were normal again; None if they never were.

    Normal is a window in which no request was refused and the median is at most the 99th percentile of the first step.
    """
    first, last = trace.step == 0, trace.step == steps - 1
    took = trace.done - trace.due
    normal = _percentile(took[first & (trace.status == OK)], 99)
    end = (steps - 1) * seconds
    if normal is None:
        return None
    for begin in np.arange(0, seconds, WINDOW_SECONDS):
        window = last & (trace.due >= end + begin) & (trace.due < end + begin + WINDOW_SECONDS)
        if window.any() and (trace.status[window] == OK).all() and float(np.median(took[window])) <= normal:
            return float(begin)
    return None


def _percentile(values: NDArray[np.float64], q: float) -> float | None:
    return float(np.percentile(values, q)) if len(values) else None


def write_table(report: Figures) -> str:
    """The report to read."""
    lines = [
        f"{report['model']} on {report['runtime']}, {report['cores']} cores, {report['workers']} workers, load average "
        f"{report['load'][0]:.1f}; the refused ask again: {report['retry']}"
        + (f", {report['tries']} tries in all" if report["retry"] != "never" else ""),
        f"C = {report['capacity']:.1f}/s; a full queue and a batch take {report['bound_s']:.2f} s; "
        f"{report['connections']} connections at most",
        "",
        "| step | offered/s | goodput/s | of C | 200 | 503 | their p99, ms | 504 | errors | unanswered | p50, s | p99, s | "
        "tries | client, cores | probes in time | slowest, s |",
        "|" + "---|" * 16,
        *(_line(row) for row in report["steps"]),
        "",
        "normal again after the last but one step: "
        + ("not within the step" if report["recovery_s"] is None else f"{report['recovery_s']:.1f} s"),
    ]
    return "\n".join(lines) + "\n"


def _line(row: Figures) -> str:
    cells = [
        f"{row['factor']:g} ×",
        f"{row['offered']:.0f}",
        f"{row['goodput']:.1f}",
        f"{row['of_capacity']:.2f}",
        f"{row['accepted']}",
        f"{row['refused']}",
        _number(row["refused_p99_s"], 1000, 0),
        f"{row['late']}",
        f"{row['errors']}",
        f"{row['unanswered']}",
        _number(row["p50_s"], 1, 2),
        _number(row["p99_s"], 1, 2),
        f"{row['tries']}",
        f"{row['client_cores']:.2f}",
        f"{row['probes_good']} of {row['probes']}",
        _number(row["probe_worst_s"], 1, 2),
    ]
    return "| " + " | ".join(cells) + " |"


def _number(value: float | None, times: float, digits: int) -> str:
    return "" if value is None else f"{value * times:.{digits}f}"
