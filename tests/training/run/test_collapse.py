"""The alarm for a generator that gives nearly the same sample for every seed."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from rich.console import Console

from tests.training.conftest import tiny_context
from training.report.journal import read_rows
from training.run.checkpoint import load_newest, save
from training.run.collapse import has_collapsed
from training.run.config import RunConfig
from training.run.job import train


@pytest.mark.slow
@pytest.mark.usefixtures("no_export")
def test_a_collapse_is_told_and_recorded(tmp_path: Path) -> None:
    """A generator that gives one point for every seed sounds the alarm, on the console and in stats.jsonl."""
    said = io.StringIO()
    context = replace(tiny_context(tmp_path), console=Console(file=said, width=200))
    config = RunConfig(recipe="toy1d", steps=2, batch=8, seed=1)
    train(config, context)
    loaded, _ = load_newest(tmp_path, device=torch.device("cpu"))
    assert loaded is not None
    loaded["nets"]["G"]["body.2.weight"].zero_()
    save(tmp_path, {**loaded, "step": 1})
    (tmp_path / "checkpoint-000000002.pt").unlink()
    train(config, context)
    last = json.loads((tmp_path / "stats.jsonl").read_text().splitlines()[-1])
    assert "collapse" in said.getvalue()
    assert last["alarm/collapse"] == 1.0


@pytest.mark.parametrize(
    ("sign", "is_known", "progress", "expected"),
    [
        ("narrow", False, 0.1, None),
        ("narrow", False, 0.25, True),
        ("narrow", True, 0.1, True),
        (None, False, 0.1, False),
        (None, True, 0.9, False),
    ],
)
def test_a_run_that_has_just_begun_has_not_collapsed(
    sign: str | None, is_known: bool, progress: float, expected: bool | None
) -> None:
    """A lack of variety counts after variety was there once, or after a quarter of the recipe's steps."""
    assert has_collapsed(sign, is_known=is_known, progress=progress) is expected


@pytest.mark.slow
def test_a_healthy_run_of_few_steps_raises_no_alarm(tmp_path: Path) -> None:
    """Noise at the first steps lacks variety too: nothing is printed, and no alarm is recorded."""
    said = io.StringIO()
    context = replace(tiny_context(tmp_path), console=Console(file=said, width=200))
    train(RunConfig(recipe="vanilla", data="digits", steps=8, batch=8), context)
    assert "collapse" not in said.getvalue()
    rows = read_rows(tmp_path / "stats.jsonl")
    assert any("score/kid" in row for row in rows)
    assert not any("alarm/collapse" in row for row in rows)
