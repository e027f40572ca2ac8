"""Games with several players of a kind, against numbers worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch

from tests.training.deals import FAKE, REAL, Scaled, sample_latents, softplus
from training.game.objective import with_roles
from training.game.step import StepContext
from training.losses.adversarial import d_nonsaturating, g_nonsaturating
from training.losses.several import against, d_squashed, g_mixed, g_squashed, g_squashed_modified, on_shard, soft_mean
from training.nets.several import Lambda, Mixture
from training.penalties import r1
from training.recipes import CATALOGUE


def s(logit: float) -> float:
    return 0.98 / (1 + math.exp(-logit)) + 0.01


def test_probabilities_are_kept_from_zero_and_one() -> None:
    """The sigmoid brought to [.01,.99] in both objectives of G."""
    assert g_squashed(sample_latents(moving="G")).item() == pytest.approx(sum(math.log(s(-f)) for f in FAKE) / 2)
    assert g_squashed_modified(sample_latents(moving="G")).item() == pytest.approx(-sum(math.log(s(f)) for f in FAKE) / 2)


def test_the_discriminators_loss_is_squashed_as_the_generators() -> None:
    """-log s(D(x)) - log(1 - s(D(G(z)))), s = .98 sigmoid + .01: never more than log 100 a sample."""
    ctx = sample_latents()
    expected = -sum(math.log(s(r)) for r in REAL) / 2 - sum(math.log(1 - s(f)) for f in FAKE) / 2
    assert d_squashed(ctx).item() == pytest.approx(expected, rel=1e-5)


def test_a_discriminator_sees_its_own_slice() -> None:
    """The second half of the batch is the real 3 and the fake 1."""
    assert on_shard(d_nonsaturating, 1, 2)(sample_latents()).item() == pytest.approx(softplus(-4.5) + softplus(1.5))


@pytest.mark.parametrize(("sharpness", "expected"), [(0.0, 2.0), (math.log(2) / 2, (1 + 2 * 3) / 3), (1e4, 3.0)])
def test_lambda_leads_from_the_mean_to_the_greatest(sharpness: float, expected: float) -> None:
    """Of 1 and 3: at 0 the mean, at ln(2)/2 the greater counts twice, at infinity alone."""
    assert soft_mean(torch.tensor([1.0, 3.0]), torch.tensor(sharpness)).item() == pytest.approx(expected)


def mixed_deal() -> StepContext:
    ctx = sample_latents(moving="G")
    return StepContext({**ctx.nets, "mix": Lambda()}, ctx.real, ctx.latents, step=0, moving=frozenset({"G", "mix"}))


VALUES = [on_shard(with_roles(g_squashed, D=role), number, 2) for number, role in enumerate(("D", "D2"))]
V = (math.log(s(3.0)), math.log(s(1.0)))
"""D on the fake -2: logit -3; D2 on the fake 1: logit -1."""


def test_the_generator_mixes_what_its_critics_say_each_of_its_slice() -> None:
    """Mean and maximum of V_1 and V_2, one fake each."""
    assert g_mixed(VALUES, "mean")(mixed_deal()).item() == pytest.approx(sum(V) / 2)
    assert g_mixed(VALUES, "max")(mixed_deal()).item() == pytest.approx(max(V))


def test_a_learned_lambda_starts_at_softplus_of_minus_two_and_has_a_price() -> None:
    """F - c lambda with c = .001; by the chain rule the gradient by p is (var_w(V) - c) sigmoid(p)."""
    lam = softplus(-2.0)
    weights = [math.exp(lam * v) / sum(math.exp(lam * u) for u in V) for v in V]
    mean = sum(w * v for w, v in zip(weights, V, strict=True))
    ctx = mixed_deal()
    value = g_mixed(VALUES, "learned")(ctx)
    assert value.item() == pytest.approx(mean - 0.001 * lam)
    assert ctx.logged["lambda"].item() == pytest.approx(lam)
    variance = sum(w * (v - mean) ** 2 for w, v in zip(weights, V, strict=True))
    (gradient,) = torch.autograd.grad(value, list(ctx.nets["mix"].parameters()))
    assert gradient.item() == pytest.approx((variance - 0.001) / (1 + math.exp(2.0)), rel=1e-4)


def test_the_player_of_the_generator_owns_lambda() -> None:
    """GMAN*'s third net, owned by G; the others have none."""
    owned = {name: CATALOGUE[name].players[-1].nets for name in ("gman", "gman_mean", "gman_max")}
    assert owned == {"gman": ("G", "mix"), "gman_mean": ("G",), "gman_max": ("G",)}


def test_a_players_loss_is_the_mean_over_its_adversaries() -> None:
    """A second generator of weight -1 against the same D: fakes 1 and -.5; its halves are named after the adversaries."""
    first = sample_latents()
    ctx = StepContext({**first.nets, "G2": Scaled(-1.0)}, first.real, first.latents, step=0, moving=frozenset("D"))
    others = (1.5, -0.75)
    expected = sum(softplus(-r) for r in REAL) / 2 + sum(softplus(f) for f in (*FAKE, *others)) / 4
    objective = against(d_nonsaturating, ("G", "G2"), role="G", D="D")
    assert objective(ctx).item() == pytest.approx(expected)
    assert [name for name, _ in objective.parts(ctx)] == ["G", "G2"]


def test_terms_are_told_apart_by_adversary() -> None:
    """Where an objective is a sum, by adversary and term."""
    objective = against(d_nonsaturating + r1(2.0), ("G", "G2"), role="G", D="D")
    names = [term.name for term in objective.terms]
    assert names == ["G d_nonsaturating", "G r1(2)", "G2 d_nonsaturating", "G2 r1(2)"]


def test_two_critics_judge_the_same_samples_of_one_generator() -> None:
    """G's loss against both is the mean of what D and D2 say, and G made its fakes once."""
    ctx = sample_latents(moving="G")
    value = against(g_nonsaturating, ("D", "D2"), role="D", G="G")(ctx)
    by_d, by_d2 = sum(softplus(-f) for f in FAKE) / 2, (softplus(-2.0) + softplus(1.0)) / 2
    assert value.item() == pytest.approx((by_d + by_d2) / 2)


def test_a_mixture_answers_with_the_generator_that_is_asked_for() -> None:
    """Row by row, by the latent g."""
    mixture = Mixture([Scaled(1.0), Scaled(10.0), Scaled(100.0)])
    assert mixture(torch.ones(4, 1), torch.tensor([2, 0, 1, 2])).squeeze(1).tolist() == [100.0, 1.0, 10.0, 100.0]
