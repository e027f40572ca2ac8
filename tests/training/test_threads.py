"""Threads of torch's operators on the CPU."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from training import threads
from training.__main__ import main
from training.threads import BusyCores, limit_threads


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


def test_cores_that_others_use_are_said_once(tmp_path: Path) -> None:
    """By the time that threads waited for a core, of at least ten seconds; a thread may end meanwhile."""
    now = [0.0]

    def wait(*seconds: float) -> None:
        for number, waited_s in enumerate(seconds):
            (tmp_path / str(number)).mkdir(exist_ok=True)
            (tmp_path / str(number) / "schedstat").write_text(f"5 {waited_s * 1e9:.0f} 7\n")

    wait(1, 1)
    cores = BusyCores(torch.device("cpu"), tasks=tmp_path, clock=lambda: now[0])
    looks = ((9, 20, False), (10, 2, False), (19, 30, False), (21, 3, False), (32, 8, True), (60, 90, False))
    for at_s, waited_s, is_said in looks:
        now[0] = at_s
        wait(waited_s, waited_s)
        assert bool(said := cores.warnings()) == is_said
        if said:
            assert said[0].endswith("waited for one for 91% of the time; OMP_NUM_THREADS=1 may be many times as fast")
    (tmp_path / "0" / "schedstat").unlink()
    assert cores.warnings() == []


@pytest.mark.parametrize(("device", "count"), [("cuda", 4), ("cpu", 1)])
def test_nothing_is_said_where_fewer_threads_would_not_help(device: str, count: int, tmp_path: Path) -> None:
    """On a GPU, and with one thread."""
    torch.set_num_threads(count)
    now = iter((0.0, 100.0))
    cores = BusyCores(torch.device(device), tasks=tmp_path, clock=lambda: next(now))
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "schedstat").write_text(f"5 {90e9:.0f} 7\n")
    assert cores.warnings() == []


def test_the_threads_of_this_process_are_looked_at() -> None:
    """Linux has the time that each thread waited; next to none of it in a moment."""
    now = iter((0.0, 1e6))
    assert BusyCores(torch.device("cpu"), clock=lambda: next(now)).warnings() == []
