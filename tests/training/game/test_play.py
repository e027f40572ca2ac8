"""Who moves, when, and who is allowed to."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from training.data import DataError, load
from training.errors import NonFinite
from training.game.batches import Batches, derive_seed
from training.game.gates import Gate, always, worse_only
from training.game.loop import Game, play
from training.game.objective import Loss, loss
from training.game.recipe import Ema, Recipe
from training.game.schedules import Schedule, Update, alternate, phases, simultaneous
from training.game.step import StepContext
from training.recipes import CATALOGUE


def game_of(recipe: Recipe) -> Game:
    return Game(recipe, load("mnist5k" if recipe.is_conditional else recipe.data, environ={}), seed=0)


def watched(schedule: Schedule, gate: Gate = always) -> tuple[Game, list[tuple[str, float, float]]]:
    """A toy game that writes down each loss asked for: who, the first real number, the first latent."""
    seen: list[tuple[str, float, float]] = []
    recipe = CATALOGUE["toy1d"]

    def watch(name: str, value: float) -> Loss:
        @loss
        def spy(ctx: StepContext) -> Tensor:
            seen.append((name, ctx.real.x[0].item(), ctx.latents["z"][0].item()))
            return value + 0 * (ctx.on_fake.logit.sum() + ctx.on_real.logit.sum())

        return spy

    players = tuple(replace(p, loss=watch(p.name, value)) for p, value in zip(recipe.players, (4.0, 1.0), strict=True))
    return game_of(replace(recipe, players=players, schedule=schedule, gate=gate, batch=8)), seen


def test_the_discriminator_moves_k_times_on_batches_of_its_own() -> None:
    """alternate(3): D, D, D, G; three real batches, G on the last of them, fresh noise each time."""
    game, seen = watched(alternate(3))
    list(play(game, 1))
    assert [name for name, _, _ in seen] == ["D", "D", "D", "G"]
    assert len({real for _, real, _ in seen}) == 3
    assert seen[2][1] == seen[3][1]
    assert len({z for _, _, z in seen}) == 4
    assert (game.batch, game.noise, game.images) == (3, 4, 24)


def test_a_generator_may_be_dealt_a_batch_of_its_own() -> None:
    """alternate(is_new_batch=True): each move its own reals, as DCGAN's authors take turns."""
    game, seen = watched(alternate(is_new_batch=True))
    list(play(game, 1))
    assert len({real for _, real, _ in seen}) == 2


def test_simultaneous_players_share_one_deal() -> None:
    """One batch, one draw of noise, one verdict for both losses."""
    game, seen = watched(simultaneous("D", "G"))
    list(play(game, 1))
    assert [name for name, _, _ in seen] == ["D", "G"]
    assert seen[0][1:] == seen[1][1:]


def test_phases_follow_one_another() -> None:
    """Two steps of D alone, then alternation, each part counting from its own start."""
    alone = Schedule("alone", lambda step: (Update(("D",)),))
    schedule = phases((2, alone), last=alternate())
    assert [[u.players for u in schedule.updates(step)] for step in range(3)] == [[("D",)], [("D",)], [("D",), ("G",)]]


def test_only_the_worse_player_moves() -> None:
    """With losses 4/2 = 2 and 1, only D may act; with D at .9/2 only G; within the margin both."""
    gate = worse_only(0.3)
    for d, expected in ((4.0, ("D",)), (0.9, ("G",)), (1.8, ("D", "G"))):
        latest = {"D/loss": torch.tensor(d), "G/loss": torch.tensor(1.0)}
        assert gate.admit(latest, ("D", "G")) == expected
    assert gate.admit({}, ("D",)) == ("D",)


@pytest.mark.slow
def test_a_player_that_is_held_back_keeps_its_weights() -> None:
    """A gate that admits D alone leaves every weight of G as it was."""
    recipe = replace(CATALOGUE["parabola_norm"], gate=Gate("D only", lambda latest, players: ("D",)))
    game = game_of(recipe)
    before = {role: [p.clone() for p in net.parameters()] for role, net in game.nets.items()}
    list(play(game, 3))
    after = {role: list(net.parameters()) for role, net in game.nets.items()}
    assert all(torch.equal(a, b) for a, b in zip(before["G"], after["G"], strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(before["D"], after["D"], strict=True))


def test_a_loss_that_is_not_finite_names_step_player_and_tensor() -> None:
    """A NaN weight in D stops the game at that step, and nothing of it is updated."""
    game = game_of(CATALOGUE["toy1d"])
    list(play(game, 2))
    with torch.no_grad():
        game.nets["D"].head.weight[0, 0] = float("nan")
    with pytest.raises(NonFinite, match=r"step 2: the loss of D is not finite; .*: D\.head\.weight") as caught:
        list(play(game, 3))
    assert (caught.value.step, caught.value.player, caught.value.tensor) == (2, "D", "D.head.weight")
    assert game.step == 2


def game_with_penalty() -> Game:
    """The default recipe: its first update has R1, behind which gradients have other strides than their weights on the CPU."""
    return game_of(replace(CATALOGUE["cdcgan_r1"], batch=8))


def weights(game: Game) -> dict[str, Tensor]:
    return {f"{role}.{name}": value for role, net in game.nets.items() for name, value in net.state_dict().items()}


def test_a_gradient_updates_its_own_weight_whatever_its_strides() -> None:
    """A fused optimiser, which walks memory, ends where one ends that walks indices."""
    fused, plain = game_with_penalty(), game_with_penalty()
    for optimiser in plain.optimisers.values():
        for group in optimiser.param_groups:
            group["fused"] = False
    list(play(fused, 1))
    list(play(plain, 1))
    expected = weights(plain)
    for name, value in weights(fused).items():
        if name.startswith("D."):  # G's gradient depends on D's rounding, too
            torch.testing.assert_close(value, expected[name], rtol=1e-4, atol=1e-6, msg=name)


@pytest.mark.slow
def test_moments_of_another_device_belong_to_the_same_weights() -> None:
    """On CUDA nets are not in channels-last order: a state that was saved there continues here bit for bit."""

    def moved(value: Any) -> Any:
        if isinstance(value, Tensor):
            return value.contiguous()
        return {key: moved(part) for key, part in value.items()} if isinstance(value, dict) else value

    game, here, there = game_with_penalty(), game_with_penalty(), game_with_penalty()
    list(play(game, 1))
    here.restore(copy.deepcopy(game.state()))
    there.restore(moved(copy.deepcopy(game.state())))
    list(play(here, 2))
    list(play(there, 2))
    assert all(torch.equal(value, weights(there)[name]) for name, value in weights(here).items())


def test_averages_follow_their_nets() -> None:
    """After one step the average is decay * old + (1 - decay) * new, and its buffers are the net's."""
    game = game_with_penalty()
    before = [p.clone() for p in game.averages["G"].parameters()]
    list(play(game, 1))
    for old, kept, new in zip(before, game.averages["G"].parameters(), game.nets["G"].parameters(), strict=True):
        assert torch.allclose(kept, 0.998 * old + 0.002 * new, atol=1e-7)
    for buffer, current in zip(game.averages["G"].buffers(), game.nets["G"].buffers(), strict=True):
        assert torch.equal(buffer, current)


def test_an_average_may_follow_at_another_pace_each_step() -> None:
    """With decay 0 at step 0 and 1 from then on, the average stays the net after one step."""
    game = game_of(replace(CATALOGUE["toy1d"], ema=Ema(lambda step: float(step > 0))))
    list(play(game, 1))
    first = [p.detach().clone() for p in game.nets["G"].parameters()]
    list(play(game, 3))
    assert all(torch.equal(a, b) for a, b in zip(first, game.averages["G"].parameters(), strict=True))


def test_a_batch_is_a_function_of_its_number() -> None:
    """Asked for in any order, the same number gives the same samples; an epoch shows each sample at most once."""
    data = load("digits", environ={})
    batches = Batches(data, 64, seed=3, pixels="unit")
    forward = [batches.at(n) for n in range(2 * batches.per_epoch)]
    again = Batches(data, 64, seed=3, pixels="unit")
    for number in (batches.per_epoch, 0, 2 * batches.per_epoch - 1, 1):
        assert torch.equal(again.at(number).x, forward[number].x)
        labels, before = again.at(number).y, forward[number].y
        assert labels is not None
        assert before is not None
        assert torch.equal(labels, before)
    assert not torch.equal(forward[0].x, forward[batches.per_epoch].x)
    assert forward[0].x.min() >= 0
    assert forward[0].x.max() <= 1


def test_fewer_samples_than_a_batch_is_an_error_that_says_so() -> None:
    """1,000,000 toy points are not there."""
    with pytest.raises(DataError, match="131072 samples, fewer than a batch of 1000000"):
        Batches(load("gaussian1d", environ={}), 1_000_000, seed=0, pixels="unit")


def test_events_of_a_run_have_seeds_of_their_own() -> None:
    """Ten thousand draws, no seed twice."""
    assert len({derive_seed(7, counter) for counter in range(10_000)}) == 10_000


def test_plans_name_what_is_wrong() -> None:
    """Another recipe, gate or number of steps is refused with the right ones."""
    from training.errors import TrainingError
    from training.run.config import RunConfig

    for config, message in (
        (RunConfig(recipe="dgan"), "no recipe 'dgan'; did you mean .*dcgan"),
        (
            RunConfig(recipe="vanilla", gate="best"),
            "gate must be one of always, worse-only, equilibrium, loss-ratio, got 'best'",
        ),
        (RunConfig(recipe="vanilla", steps=0), "steps must be at least 1, got 0"),
        (RunConfig(recipe="vanilla", seed=-1), "seed must be 0..4294967295, got -1"),
    ):
        with pytest.raises(TrainingError, match=message):
            config.resolve()
