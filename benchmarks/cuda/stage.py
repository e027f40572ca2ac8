"""A check in stages: each has a share of the time, its own outcome, and a place in the report that is on disk after it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.cuda.bench import Bench
from training.errors import first_line
from training.files import write_json

LEAST_S = 5.0
"""A stage with less time left than this is not begun."""

Report = dict[str, Any]


class Skipped(Exception):
    """A stage cannot be done here; the message is the sentence that says why."""


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One part of the check."""

    name: str
    share: float
    """The most it may take, of the whole budget; the last stage has at least what the shares before it leave."""
    run: Callable[[Bench], Report]


@dataclass(kw_only=True)
class Budget:
    """A time that is not overrun: every stage asks it for its deadline."""

    total_s: float
    clock: Callable[[], float] = time.monotonic
    _started_s: float = field(init=False)

    def __post_init__(self) -> None:
        self._started_s = self.clock()

    def took_s(self) -> float:
        return self.clock() - self._started_s

    def left_s(self) -> float:
        return self.total_s - self.took_s()

    def deadline(self, share: float) -> Callable[[], float]:
        """Seconds that are left of a share that begins now, asked again and again."""
        end_s = self.clock() + min(share * self.total_s, self.left_s())
        return lambda: end_s - self.clock()


def run_stages(stages: Sequence[Stage], bench: Bench, budget: Budget, report: Report, out: Path) -> None:
    """Each stage within its share, its result, failure or absence in the report, the report on disk after each."""
    for stage in stages:
        report["stages"][stage.name] = run_stage(stage, bench, budget)
        report["took_s"] = round(budget.took_s(), 1)
        write_json(out, report)


def run_stage(stage: Stage, bench: Bench, budget: Budget) -> Report:
    """``status`` is done, skipped, failed or not reached; ``why`` says why it is not done, ``figures`` what was measured."""
    if budget.left_s() < LEAST_S:
        return {"status": "not reached", "why": f"{budget.total_s:.0f} s were over before it could begin"}
    before_s = budget.took_s()
    bench.left_s = budget.deadline(stage.share)
    bench.console.rule(f"{stage.name}: {bench.left_s():.0f} s at most")
    result: Report
    try:
        figures = stage.run(bench)
        json.dumps(figures, allow_nan=False)  # a figure that is none fails its own stage, not the writing of all
        result = {"status": "done", "figures": figures}
    except Skipped as reason:
        result = {"status": "skipped", "why": str(reason)}
    except Exception as error:  # a stage that fails must not take the others with it
        bench.console.print_exception()
        result = {"status": "failed", "why": f"{type(error).__name__}: {first_line(error)[:300]}"}
    return {**result, "took_s": round(budget.took_s() - before_s, 1)}
