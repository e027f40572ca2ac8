"""Threads of torch's operators on the CPU."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from training import threads
from training.__main__ import main
from training.threads import limit_threads


@pytest.fixture(autouse=True)
def _kept() -> Iterator[None]:
    """Give torch its threads back."""
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(("cores", "threads_then"), [(1, 1), (2, 2), (4, 4), (64, 4)])
def test_threads_are_as_many_as_the_quota_has_cores(cores: int, threads_then: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """F-19: fewer than torch takes by the affinity, and never more."""
    monkeypatch.setattr(threads, "usable_cores", lambda: cores)
    limit_threads({})
    assert torch.get_num_threads() == threads_then


def test_a_number_that_was_asked_for_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """OMP_NUM_THREADS is the user's, or torchrun's."""
    monkeypatch.setattr(threads, "usable_cores", lambda: 1)
    limit_threads({"OMP_NUM_THREADS": "4"})
    assert torch.get_num_threads() == 4


def test_each_command_limits_them(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Also those that only score or export."""
    monkeypatch.setattr(threads, "usable_cores", lambda: 1)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert main(["list"]) == 0
    assert torch.get_num_threads() == 1
    assert "cdcgan_r1" in capsys.readouterr().out
