"""What tests of runs share."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from training.run import job
from training.run.checkpoint import load_newest


@pytest.fixture
def no_export(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the model out: of a run of two steps its export takes most of the time."""
    monkeypatch.setattr(job, "export_game", lambda *arguments: None)


def step_of(run: Path) -> int:
    """The step of the newest whole checkpoint."""
    loaded, _ = load_newest(run, device=torch.device("cpu"))
    assert loaded is not None
    return int(loaded["step"])
