"""What tests of runs share."""

from __future__ import annotations

import pytest

from training.run import job


@pytest.fixture
def no_export(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the model out: of a run of two steps its export takes most of the time."""
    monkeypatch.setattr(job, "export_game", lambda *arguments: None)
