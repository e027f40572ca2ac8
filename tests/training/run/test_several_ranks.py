"""A job of several ranks: one run directory, written by rank 0."""

from __future__ import annotations

import io
import json
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from rich.console import Console
from torch import Tensor
from torch._C._distributed_c10d import HashStore

from tests.training.conftest import differences, tiny_config, tiny_context
from tests.training.ranks import play_ranks
from training.errors import TrainingError
from training.game import loop
from training.game.ranks import ALONE, Ranks
from training.game.scalars import Means
from training.recipes import CATALOGUE
from training.run import job
from training.run.checkpoint import load_newest
from training.run.config import RunConfig
from training.run.follow import follow
from training.run.job import train
from training.run.ranks import fresh_part, joined, rank_count

CPU = torch.device("cpu")
STEPS = 12


class Counted(Means):
    """Means that know their greatest number of values."""

    most = 0

    def add(self, name: str, value: Tensor) -> None:
        super().add(name, value)
        type(self).most = max(self.most, *(len(values) for values in self._waiting.values()))


def count_waiting(ranks: Ranks, config: RunConfig, run: Path) -> int:
    """How many values of a scalar this rank holds at most."""
    own = replace(tiny_context(run if ranks.rank == 0 else run / "unused"), ranks=ranks)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(job, "export_game", lambda *arguments: None)
        patch.setattr(loop, "Means", Counted)
        patch.setitem(CATALOGUE, config.recipe, replace(CATALOGUE[config.recipe], log_every=4))
        assert follow(own) if ranks.rank else train(config, own)
    return Counted.most


@pytest.mark.process
def test_no_rank_holds_more_scalars_than_are_recorded_at_once(tmp_path: Path) -> None:
    """A rank that records nothing forgets what rank 0 records: otherwise its memory grew with each step."""
    config = tiny_config("gan_ring8_small", tmp_path, steps=STEPS)
    assert play_ranks(count_waiting, tmp_path / "a", config, tmp_path / "run") == [4, 4]


def train_part(ranks: Ranks, config: RunConfig, run: Path, stop_at: int) -> str:
    """A rank's part of a job of which rank 1 alone receives a signal, at step ``stop_at``; returns what it printed."""
    asked = 0

    def is_stopped() -> bool:
        nonlocal asked
        asked += 1
        return ranks.rank == 1 and asked == stop_at

    said = io.StringIO()
    console = Console(file=said, width=200)
    own = run if ranks.rank == 0 else run / "unused"
    context = replace(tiny_context(own), ranks=ranks, is_stopped=is_stopped, console=console)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(job, "export_game", lambda *arguments: None)
        is_finished = follow(context) if ranks.rank else train(config, context)
    assert is_finished == (stop_at == 0)
    assert not (run / "unused").exists()
    return said.getvalue()


@pytest.mark.slow
@pytest.mark.process
def test_a_run_may_be_interrupted_and_continued_by_any_number_of_ranks(tmp_path: Path) -> None:
    """T-02: by as many it ends in the same bytes; by another number it goes on, which config.json and the console say."""
    config = tiny_config("gan_ring8_small", tmp_path, steps=STEPS)
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    play_ranks(train_part, tmp_path / "a", config, whole, 0)
    play_ranks(train_part, tmp_path / "b", config, broken, 5)
    stopped, _ = load_newest(broken, device=CPU)
    assert stopped is not None
    assert stopped["step"] == 5
    play_ranks(train_part, tmp_path / "c", config, broken, 0)
    ends = [load_newest(run, device=CPU)[0] for run in (whole, broken)]
    assert ends[0] is not None
    assert ends[0]["step"] == STEPS
    assert differences(ends[0], ends[1]) == []
    for name in ("stats.jsonl", "config.json", f"samples/step-{STEPS:06d}.png"):
        assert (whole / name).read_bytes() == (broken / name).read_bytes(), name

    said = train_part(ALONE, replace(config, steps=STEPS + 2), broken, 0)
    assert "the steps before were trained by 2 ranks, those that follow by 1" in said
    assert json.loads((broken / "config.json").read_text())["ranks"] == {"0": 2, str(STEPS): 1}


def test_one_process_needs_no_group() -> None:
    """Without torchrun, or with one process of it, a run is played alone; a WORLD_SIZE that is no number is named."""
    for environ in ({}, {"WORLD_SIZE": "1", "RANK": "0"}):
        with joined(environ, CPU) as ranks:
            assert ranks is ALONE
    with pytest.raises(TrainingError, match="at least 1, got '0'"):
        rank_count({"WORLD_SIZE": "0"})


def test_ranks_are_started_by_torchrun(monkeypatch: pytest.MonkeyPatch) -> None:
    """WORLD_SIZE alone does not make several processes: the error says what is missing."""
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv("RANK", raising=False)
    refused = pytest.raises(TrainingError, match="WORLD_SIZE is 2, but torchrun did not start this process.*RANK")
    with refused, joined({"WORLD_SIZE": "2"}, CPU):
        pass


def test_workers_that_were_started_again_do_not_meet_those_that_died() -> None:
    """T-19: in a store in which dead workers have left their names, all new ones find the same empty part."""
    store = HashStore()
    for attempt in range(2):
        with ThreadPoolExecutor() as pool:
            late = [pool.submit(fresh_part, store, 0, 3), pool.submit(fresh_part, store, 2, 3)]
            time.sleep(0.1)  # rank 0 finds the names of the attempt before
            parts = [found.result() for found in (*late, pool.submit(fresh_part, store, 1, 3))]
        parts[1].set("address", f"of attempt {attempt}")
        assert {part.get("address") for part in parts} == {f"of attempt {attempt}".encode()}
        assert not parts[0].check(["left"])
        parts[2].set("left", "")
