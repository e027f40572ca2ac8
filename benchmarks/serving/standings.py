"""The report of a contest: what was measured, run by run, and the tables that follow from it."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.serving.contender import OURS, Contender
from training.files import write_whole

Run = dict[str, Any]
"""One measurement of a contender: model, contender, batching, repeat; then either failed, or startup_s, memory_bytes, png_bytes
and, by number of connections, loads with rate, p50, p99, requests, errors; load_average is the machine's at its end."""

Report = dict[str, Any]
"""plan, commit, digests by model, runs, limits (model, repeat, rates), and the summary by model."""

MOST_ERRORS = 0.001
"""Share of failed requests from which on a rate is none: a server that refuses is fast."""


def read_report(path: Path, plan: dict[str, Any], commit: str, digests: dict[str, str]) -> Report:
    """The report in a file as far as it has come, failures left out to be tried again; an empty one where there is none.

    Args:
        path: the file.
        plan: what the contest measures, with the machine and the digest of the code.
        commit: of the code, for a new report.
        digests: SHA-256 of each model.

    Raises:
        ValueError: the file belongs to a contest of another plan, or of other models.
    """
    if not path.exists():
        return {"plan": plan, "commit": commit, "digests": digests, "runs": [], "limits": [], "summary": {}}
    report: Report = json.loads(path.read_text())
    before = report["plan"]
    if others := [f"{name} {before.get(name)}, not {value}" for name, value in plan.items() if before.get(name) != value]:
        raise ValueError(f"{path} belongs to another plan ({'; '.join(others)}): take another --out, or --fresh to replace it")
    for name in digests.keys() & report["digests"].keys():
        if report["digests"][name] != digests[name]:
            raise ValueError(f"{path} was measured with another {name}: take another --out, or --fresh")
    report["digests"] |= digests
    report["runs"] = [run for run in report["runs"] if "failed" not in run]
    return report


def write_report(report: Report, contenders: dict[str, Contender], path: Path) -> str:
    """The report as JSON and, next to it, its tables in Markdown, which are returned."""
    report["summary"] = {name: summarise(report, name) for name in report["digests"]}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, f"{json.dumps(report, indent=1)}\n".encode())
    text = "\n\n".join(_page(report, name, contenders) for name in report["digests"]) + "\n"
    path.with_suffix(".md").write_text(text)
    return text


def summarise(report: Report, model: str) -> dict[str, Any]:
    """Medians over the repeats, by contender, with its best batching at each load; and how many times its rate ours is."""
    runs = [run for run in report["runs"] if run["model"] == model]
    rows: dict[str, Any] = {}
    for name in dict.fromkeys(run["contender"] for run in runs):
        mine = [run for run in runs if run["contender"] == name]
        good = [run for run in mine if "failed" not in run]
        rows[name] = _best_of(good) if good else {"failed": mine[-1]["failed"]}
    ours = rows.get(OURS, {"failed": "it was not asked"})
    for row in rows.values():
        if "failed" not in row and "failed" not in ours:
            row["ours_is"] = {c: _ratio(ours["loads"][c]["rate"], load["rate"]) for c, load in row["loads"].items()}
    limits = [entry["rates"] for entry in report["limits"] if entry["model"] == model]
    return {"contenders": rows, "limits": {key: statistics.median(r[key] for r in limits) for key in (limits or [{}])[0]}}


def _ratio(ours: float, theirs: float) -> float | None:
    return round(ours / theirs, 2) if theirs else None


def _best_of(runs: Sequence[Run]) -> dict[str, Any]:
    """A contender's row: each load with the batching that is best there, the rest as with the one that is best at the last."""
    found = {name: _medians([run for run in runs if run["batching"] == name]) for name in {run["batching"]: 0 for run in runs}}
    loads, best = {}, ""
    for c in runs[0]["loads"]:
        best = max(found, key=lambda name: (not _fails(found[name]["loads"][c]), found[name]["loads"][c]["rate"]))
        loads[c] = {**found[best]["loads"][c], "batching": best}
    row = {**found[best], "runs": min(each["runs"] for each in found.values()), "loads": loads}
    failures = ", ".join(
        f"{load['errors']:,.0f} of {load['errors'] + load['requests']:,.0f} requests failed at {c}"
        for c, load in loads.items()
        if _fails(load)
    )
    return {"failed": failures, **row} if failures else row


def _medians(runs: Sequence[Run]) -> dict[str, Any]:
    """Medians over runs of one batching; requests and errors are sums."""
    loads: dict[str, dict[str, float]] = {}
    for c, figures in runs[0]["loads"].items():
        loads[c] = {key: statistics.median(run["loads"][c][key] for run in runs) for key in figures}
        loads[c] |= {key: sum(run["loads"][c][key] for run in runs) for key in ("requests", "errors")}
    plain = {key: statistics.median(run[key] for run in runs) for key in ("startup_s", "memory_bytes", "png_bytes")}
    return {"runs": len(runs), **plain, "loads": loads}


def _fails(load: dict[str, float]) -> bool:
    """Whether too many of its requests failed."""
    return load["errors"] > MOST_ERRORS * (load["errors"] + load["requests"])


def _page(report: Report, model: str, contenders: dict[str, Contender]) -> str:
    summary, connections = report["summary"][model], [str(c) for c in report["plan"]["connections"]]
    rows = sorted(summary["contenders"].items(), key=lambda item: -_rate(item[1], connections[-1]))
    heads = [f"{c} connection{'s' * (c != '1')}: req/s, p50 / p99 ms" for c in connections]
    lines = [f"## {model}, {report['plan']['machine']['cores']} cores, medians over the repeats", ""]
    lines += [
        _line(
            "",
            "repeats",
            *heads,
            "errors",
            "memory MiB",
            "first answer s",
            "PNG bytes",
            "ours is (at " + ", ".join(connections) + ")",
        )
    ]
    lines += ["|" + "---|" * (len(heads) + 7)]
    lines += [_row(contenders[name].title, row, connections) for name, row in rows]
    lines += ["", *_best(summary["contenders"], connections, contenders)]
    lines += _batchings(rows, contenders)
    lines += _left_out(report, model, contenders)
    if summary["limits"]:
        lines += ["", _line("limit, all cores, no server", "images/s"), "|---|---|"]
        lines += [_line(name, f"{rate:,.0f}") for name, rate in summary["limits"].items()]
    return "\n".join(lines)


def _rate(row: dict[str, Any], connections: str) -> float:
    return float(row["loads"][connections]["rate"]) if "failed" not in row else 0.0


def _row(title: str, row: dict[str, Any], connections: Sequence[str]) -> str:
    if "failed" in row:
        repeats = str(row.get("runs", 0))
        return _line(title, repeats, f"not measured: {row['failed']}".replace("|", "/"), *[""] * (len(connections) + 4))
    loads = [row["loads"][c] for c in connections]
    cells = [f"{load['rate']:,.0f}, {load['p50'] * 1e3:.2f} / {load['p99'] * 1e3:.2f}" for load in loads]
    errors = f"{sum(load['errors'] for load in loads):.0f}"
    ratios = ", ".join("-" if (r := row.get("ours_is", {}).get(c)) is None else f"{r:.2f}" for c in connections)
    sizes = f"{row['memory_bytes'] / 2**20:,.0f}", f"{row['startup_s']:.1f}", f"{row['png_bytes']:,.0f}"
    return _line(title, str(row["runs"]), *cells, errors, *sizes, ratios)


def _best(rows: dict[str, Any], connections: Sequence[str], contenders: dict[str, Contender]) -> list[str]:
    """A sentence for each number of connections: who is best but for us, and how many times that ours is."""
    rivals = [
        name for name, one in contenders.items() if name != OURS and one.role != "limit" and "ours_is" in rows.get(name, {})
    ]
    lines = []
    for c in connections if rivals else []:
        best = max(rivals, key=lambda name: _rate(rows[name], c))
        lines.append(f"- at {c}: ours is {rows[best]['ours_is'][c]} × the best contender, {contenders[best].title}")
    return lines


def _batchings(rows: Sequence[tuple[str, dict[str, Any]]], contenders: dict[str, Contender]) -> list[str]:
    """A sentence for each contender that was measured with several settings: which one its figures are of."""
    return [
        f"- {contenders[name].title}: " + ", ".join(f"{load['batching']} at {c}" for c, load in row["loads"].items())
        for name, row in rows
        if "loads" in row and len(contenders[name].batches) > 1
    ]


def _left_out(report: Report, model: str, contenders: dict[str, Contender]) -> list[str]:
    """A sentence for each run that failed: a row of other runs does not show it."""
    return [
        f"- {contenders[run['contender']].title}, {run['batching']}, repeat {run['repeat'] + 1}: not measured: {run['failed']}"
        for run in report["runs"]
        if run["model"] == model and "failed" in run
    ]


def _line(*cells: str) -> str:
    return "| " + " | ".join(cells) + " |"
