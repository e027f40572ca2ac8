"""Several processes play one game."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor

from contract import Latents
from tests.harness.processes import wait_until
from tests.training.conftest import differences
from tests.training.ranks import play_ranks
from training.data import DataError, load
from training.errors import TrainingError
from training.game.batches import Batches, derive_seed
from training.game.gates import GATES
from training.game.loop import Game, play
from training.game.objective import Loss, loss
from training.game.optimisers import sgd
from training.game.priors import from_priors
from training.game.ranks import ALONE, TIMED_EVERY, Ranks
from training.game.recipe import Recipe
from training.game.step import StepContext
from training.recipes import CATALOGUE

pytestmark = pytest.mark.process
STEPS, SEED = 4, 3


def game_of(recipe: Recipe, ranks: Ranks = ALONE) -> Game:
    """A game on mnist5k, or on the recipe's own toy."""
    data = load("mnist5k" if recipe.data == "mnist" else recipe.data, size=recipe.size, environ=os.environ)
    return Game(recipe, data, seed=SEED, ranks=ranks)


def tiny(name: str, gate: str = "always", d_loss: Loss | None = None) -> Recipe:
    """A recipe in batches of 64 by plain gradient descent: Adam turns the rounding of tiny gradients into whole steps."""
    recipe = CATALOGUE[name]
    players = tuple(
        replace(p, optimiser=sgd(0.05, 0.0), loss=d_loss if d_loss and p.name == "D" else p.loss) for p in recipe.players
    )
    return replace(recipe, batch=64, players=players, gate=GATES[gate])


def play_part(ranks: Ranks, name: str, gate: str) -> dict[str, Any]:
    """The state after some steps."""
    game = game_of(tiny(name, gate), ranks)
    assert list(play(game, STEPS))[-1] == STEPS
    return game.state()


def with_noise_of(size: int) -> Callable[[Latents, int, torch.device], dict[str, Tensor]]:
    """How one process draws the latents that ``size`` ranks draw together."""
    draws = 0

    def sample(latents: Latents, n: int, device: torch.device) -> dict[str, Tensor]:
        nonlocal draws
        draws += 1
        parts = []
        for rank in range(size):
            torch.manual_seed(derive_seed(SEED, draws, rank))
            parts.append(from_priors(latents, n // size, device))
        return {name: torch.cat([part[name] for part in parts]) for name in latents}

    return sample


@pytest.mark.parametrize(
    ("name", "gate", "within"),
    [("vanilla", "worse-only", 1e-5), ("cdcgan_small", "always", 1e-4)],
    ids=["gated", "with batch statistics"],
)
def test_two_ranks_play_the_game_of_one(name: str, gate: str, within: float, tmp_path: Path) -> None:
    """Twice 32 samples give the weights, buffers and scalars of 64; both ranks hold the same bits, and each time the same."""
    first, second = play_ranks(play_part, tmp_path / "once", name, gate)
    again = play_ranks(play_part, tmp_path / "again", name, gate)
    assert differences(first, second) == differences(first, again[0]) == differences(first, again[1]) == []
    alone = game_of(replace(tiny(name, gate), sample_latents=with_noise_of(2)))
    list(play(alone, STEPS))
    for part in ("nets", "latest"):
        torch.testing.assert_close(first[part], dict(alone.state()[part]), rtol=within, atol=within)


@loss
def broken(ctx: StepContext) -> Tensor:
    """Not a number at step 2 on rank 1."""
    value = ctx.on_fake.logit.mean()
    return value * float("nan") if ctx.step == 2 and dist.get_rank() == 1 else value


def play_broken(ranks: Ranks) -> None:
    list(play(game_of(tiny("vanilla", d_loss=broken), ranks), STEPS))


def test_not_a_number_on_one_rank_stops_all(tmp_path: Path) -> None:
    """T-20: every rank raises the same error, with rank, step and tensor; no weight of any of them has changed."""
    errors = play_ranks(play_broken, tmp_path)
    expected = "NonFinite: step 2: the loss of D is not finite; the first tensor that is not: broken on rank 1"
    assert errors == [expected, expected]


@loss
def late(ctx: StepContext) -> Tensor:
    """In the steps that are timed rank 1 takes longer than a busy processor, and from step 48 on rank 0 does as well."""
    if ctx.step % TIMED_EVERY == TIMED_EVERY - 1 and (dist.get_rank() == 1 or ctx.step >= 48):
        time.sleep(0.2)
    return ctx.on_fake.logit.tanh().mean()


def play_late(ranks: Ranks) -> list[str]:
    for step in play(game_of(tiny("vanilla", d_loss=late), ranks), 88):
        assert ranks.any(step == 5) == (step == 5,)
    return ranks.warnings()


def test_a_slow_rank_is_named(tmp_path: Path) -> None:
    """Once when it has become slow, and once when it keeps up again; later a busy processor may make either slow."""
    warnings, _ = play_ranks(play_late, tmp_path)
    assert [re.sub(r"\d+ ms", "T", warning) for warning in warnings[:2]] == [
        "rank 1 is slow: it computes for T a step, the others T and wait for it",
        "rank 1 is no longer slow",
    ]


def meet(ranks: Ranks) -> object:
    """What the ranks tell each other, with the last of them."""
    sent = ranks.broadcast(lambda: b"state")
    found = ranks.name_first("" if ranks.rank < 2 else f"tensor of {ranks.rank}")
    assert ranks.name_first("") == ""
    assert ranks.any(False, ranks.rank == 2) == (False, True)
    ranks.require_same("the data", lambda: "ten samples")
    try:
        ranks.require_same("the data", lambda: f"{10 + ranks.rank // 2} samples")
    except TrainingError as error:
        return sent, found, str(error)
    return None


def test_what_ranks_tell_each_other(tmp_path: Path) -> None:
    """T-20: rank 0's bytes reach the others; a flag of one is seen by all; unequal data are refused by all."""
    refused = "the data must be the same on every rank: 10 samples on rank 0, 11 samples on rank 2"
    found = "tensor of 2 on rank 2"
    assert play_ranks(meet, tmp_path, size=3) == [
        (None, found, refused),
        (b"state", found, refused),
        (b"state", found, refused),
    ]


def leave_early(ranks: Ranks, is_over: Path) -> None:
    ranks.any(False)
    dist.distributed_c10d._set_pg_timeout(timedelta(seconds=2))  # not before: a busy machine starts one rank long after another
    if ranks.rank == 1:
        wait_until(is_over.exists, "the other rank has given up")  # it answers no longer
        return
    try:
        ranks.any(False)
    finally:
        is_over.touch()


def test_a_rank_that_does_not_answer_ends_the_others(tmp_path: Path) -> None:
    """T-20: after the time limit of the group, with a sentence."""
    error, _ = play_ranks(leave_early, tmp_path, tmp_path / "over")
    assert error.startswith("LostRank: another rank has ended or does not answer")


class Third(Ranks):
    """One of three."""

    rank, size = 1, 3


def test_a_batch_is_shared_equally_or_refused() -> None:
    """The ranks' parts are the batch of one process, in its order; the message has a batch that can be shared."""
    data = load("ring8", environ={})
    whole, part = Batches(data, 12, seed=0, pixels="unit").at(5), Batches(data, 12, seed=0, pixels="unit", ranks=Third()).at(5)
    assert torch.equal(part.x, whole.x[4:8])
    with pytest.raises(DataError, match="3 ranks cannot share a batch of 64 equally: use --batch 63"):
        Batches(data, 64, seed=0, pixels="unit", ranks=Third())


def test_seeds_of_ranks_stay_apart() -> None:
    """No two of 64 ranks draw from the same seed within ten million draws of each other."""
    starts = sorted(derive_seed(7, 0, rank) for rank in range(64))
    assert min(b - a for a, b in pairwise([*starts, starts[0] + 2**32])) > 10**7
    assert derive_seed(7, 5) == derive_seed(7, 5, 0)
