"""The scaling benchmark: what it says about a rate that is below the prediction."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.serving.scaling import COLUMNS, Point, held_back_by, table

ONE = Point(
    cores=1, is_client_apart=True, rate=1000, p50=0.001, p99=0.002, cpu_us=1000, busy=1.0, client_busy=0.2, memory_mib=100
)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"rate": 3900}, "-"),
        ({"rate": 3000, "client_busy": 0.99}, "the client: "),
        ({"rate": 3000, "is_client_apart": False, "busy": 0.8, "client_busy": 0.6}, "the client, which takes"),
        ({"rate": 3000, "cpu_us": 1300}, "caches and memory"),
        ({"rate": 3000, "busy": 0.75}, "waiting"),
        ({"rate": 3000}, "unknown"),
    ],
)
def test_a_rate_below_the_prediction_has_a_reason(changes: dict[str, float], reason: str) -> None:
    """Each cause that the figures show is named, the client's first; a rate near the prediction needs none."""
    assert held_back_by(replace(ONE, cores=4, **changes), ONE).startswith(reason)  # type: ignore[arg-type]


def test_the_table_predicts_from_the_first_line() -> None:
    """Twice the cores predict twice the rate."""
    last = table("m", [ONE, replace(ONE, cores=2, rate=1500)])[-1].split(" | ")
    assert (len(last), last[2:5]) == (len(COLUMNS), ["1,500", "2,000", "0.75"])
