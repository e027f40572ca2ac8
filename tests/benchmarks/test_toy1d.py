"""The twenty games of the 1-D toys: which of them a second call plays."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from benchmarks.training import toy1d


@pytest.mark.slow
def test_a_game_of_other_steps_is_another_game(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each number of steps is played once, and the table counts the games of the steps that were asked for."""
    threads, out, counts = torch.get_num_threads(), tmp_path / "toy1d.jsonl", []
    old = {"recipe": "toy1d", "seed": 0, "mean": 4.0, "std": 0.5, "w1": 0.0}  # as a line was without its steps
    out.write_text(json.dumps(old) + "\n")
    for steps in ("1", "1", "2"):
        monkeypatch.setattr("sys.argv", ["toy1d", "--seeds", "1", "--steps", steps, "--out", str(out)])
        toy1d.main()
        counts.append(len(out.read_text().splitlines()))
    torch.set_num_threads(threads)
    assert counts == [5, 5, 9]
    assert {line.split()[1] for line in capsys.readouterr().out.splitlines() if line.startswith("toy1d")} == {"1"}
