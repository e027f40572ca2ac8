"""Who is held back, by which numbers."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from tests.training.deals import sample_latents
from training.data import load
from training.errors import TrainingError
from training.game.gates import FOOLING, GATES, Gate, equilibrium, loss_ratio, worse_only
from training.game.loop import Game, play
from training.losses.adversarial import g_minimax, g_nonsaturating
from training.recipes import CATALOGUE
from training.run.config import RunConfig

EVERYONE = ("E", "G", "D")


def latest(**values: float) -> dict[str, Tensor]:
    return {name.replace("_", "/"): torch.tensor(value) for name, value in values.items()}


@pytest.mark.parametrize(
    ("real", "fake", "expected"),
    [
        (0.69, 0.69, EVERYONE),
        (0.34, 1.02, EVERYONE),
        (0.32, 0.69, ("E", "G")),
        (0.69, 0.32, ("E", "G")),
        (1.04, 0.69, ("E", "D")),
        (0.69, 1.04, ("E", "D")),
        (0.32, 1.04, EVERYONE),
        (1.04, 0.32, EVERYONE),
    ],
)
def test_equilibrium_rests_the_winner_or_the_loser_but_not_both(real: float, fake: float, expected: tuple[str, ...]) -> None:
    """Below .33 on either side D rests, above 1.03 G does; where both would, both move; the encoder always moves."""
    assert equilibrium().admit(latest(cost_real=real, cost_fake=fake), EVERYONE) == expected


def test_equilibrium_admits_everyone_until_both_costs_are_known() -> None:
    """At the first move nothing is known, after half a move one cost."""
    assert equilibrium().admit({}, EVERYONE) == EVERYONE
    assert equilibrium().admit(latest(cost_real=0.1), EVERYONE) == EVERYONE


def test_equilibrium_refuses_a_game_whose_discriminator_tells_no_costs() -> None:
    """A critic's answers are no logits: once it has moved, the gate raises an error instead of admitting every player."""
    with pytest.raises(TrainingError, match="needs cost/real and cost/fake"):
        equilibrium().admit(latest(D_loss=0.1), EVERYONE)


@pytest.mark.parametrize(
    ("d", "g", "expected"), [(0.09, 1.0, ("G",)), (0.11, 1.0, ("D", "G")), (9.9, 1.0, ("D", "G")), (10.1, 1.0, ("D",))]
)
def test_loss_ratio_rests_whoever_is_ten_times_ahead(d: float, g: float, expected: tuple[str, ...]) -> None:
    """D below a tenth of G's loss, G when D's is above ten times its own."""
    assert loss_ratio().admit(latest(D_loss=d, G_loss=g), ("D", "G")) == expected


@pytest.mark.parametrize(
    ("rests", "d", "expected"),
    [
        ("D", 0.4, ("G",)),
        ("D", 0.6, ("D", "G")),
        ("G", 0.2, ("D",)),
        ("G", 0.09, ("G",)),
    ],
)
def test_loss_ratio_lets_a_resting_player_back_late(rests: str, d: float, expected: tuple[str, ...]) -> None:
    """D that rests is back above half of G's loss, G that rests below a tenth: DeePSiM's hysteresis."""
    now = {**latest(D_loss=d, G_loss=1.0), f"rests/{rests}": torch.tensor(1.0)}
    assert loss_ratio().admit(now, ("D", "G")) == expected


def test_the_loop_logs_who_rests() -> None:
    """With a gate, each update logs 1 for a player that rests and 0 for one that acts; without one it logs nothing."""
    gated = replace(CATALOGUE["vanilla"], gate=Gate("no D", lambda latest, players: tuple(p for p in players if p != "D")))
    for recipe, expected in ((gated, {"rests/D": 1.0, "rests/G": 0.0}), (CATALOGUE["vanilla"], {})):
        game = Game(replace(recipe, batch=8), load("mnist5k", environ={}), seed=0)
        next(play(game, 1))
        assert {name: float(v) for name, v in game.latest.items() if name.startswith("rests/")} == expected


def test_loss_ratio_admits_everyone_until_both_losses_are_known() -> None:
    """D's first move comes before G has any loss."""
    assert loss_ratio().admit(latest(D_loss=0.01), ("D",)) == ("D",)


def test_loss_ratio_may_read_one_term_of_gs_loss() -> None:
    """PPGN's G has terms of pixels and features, by which D would always seem far ahead."""
    now = {**latest(D_loss=1.0, G_loss=20.0), "G/adversarial": torch.tensor(1.0)}
    assert loss_ratio().admit(now, ("D", "G")) == ("G",)
    assert loss_ratio(g_loss="G/adversarial").admit(now, ("D", "G")) == ("D", "G")


@pytest.mark.parametrize("gate", [worse_only(), loss_ratio()], ids=str)
def test_g_of_a_zero_sum_loss_is_compared_by_what_fooling_d_costs(gate: Gate) -> None:
    """Its loss, -L_D, is below any loss of D, so that G would always rest; the cross entropy shows when D is ahead."""
    now = latest(D_loss=1.0, G_loss=-1.0)
    assert gate.admit(now, ("D", "G")) == ("D",)
    assert gate.admit({**now, FOOLING: torch.tensor(11.0)}, ("D", "G")) == ("G",)


def test_the_zero_sum_loss_logs_what_fooling_d_costs() -> None:
    """cost/fooling is the mean of -log D(G(z)), the loss that does not saturate."""
    ctx = sample_latents(moving="G")
    g_minimax(ctx)
    assert ctx.logged[FOOLING].item() == pytest.approx(g_nonsaturating(ctx).item())


def test_a_round_notes_what_equilibrium_looks_at() -> None:
    """cost/real is the mean of -log D(x), cost/fake that of -log(1 - D(G(z))), wherever D moves and answers with logits."""
    game = Game(replace(CATALOGUE["vanilla"], batch=8), load("mnist5k", environ={}), seed=0)
    next(play(game, 1))
    costs = float(game.latest["cost/real"]) + float(game.latest["cost/fake"])
    assert costs == pytest.approx(float(game.latest["D/loss"]), rel=1e-6)


def test_the_command_line_offers_loss_ratio() -> None:
    """``--gate loss-ratio`` is that gate, and says its limits in the run's record."""
    assert RunConfig(recipe="vanilla", gate="loss-ratio").resolve().gate is GATES["loss-ratio"]
    assert str(GATES["loss-ratio"]) == "loss_ratio(0.1, 10)"


@pytest.mark.parametrize("gate", ["worse-only", "equilibrium", "loss-ratio"])
def test_a_gate_is_refused_where_nobody_is_called_d_or_g(gate: str) -> None:
    """It would have no effect: GMAN's discriminators are D1, D2 and so on, the VAE is one player."""
    with pytest.raises(TrainingError, match=f"the gate {gate} needs players D and G; gman_small has D1, D2, D3, D4, D5, G"):
        RunConfig(recipe="gman_small", gate=gate).resolve()
    with pytest.raises(TrainingError, match="vae_small has EG"):
        RunConfig(recipe="vae_small", gate=gate).resolve()
    assert RunConfig(recipe="gman_small", gate="always").resolve().players
