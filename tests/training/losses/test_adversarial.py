"""Losses and penalties against numbers worked out by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from tests.training.deals import FAKE, REAL, Linear, sample_latents, softplus
from training.game.objective import Loss, loss, with_roles
from training.game.step import Batch, DiscriminatorOutput, StepContext
from training.losses.adversarial import (
    d_cross_entropy,
    d_log,
    d_log_clamped,
    d_nonsaturating,
    d_other_classes,
    g_cross_entropy,
    g_log,
    g_log_clamped,
    g_minimax,
    g_nonsaturating,
)
from training.nets.conv import small_discriminator
from training.penalties import r1

D = sum(softplus(-r) for r in REAL) / 2 + sum(softplus(f) for f in FAKE) / 2
G = sum(softplus(-f) for f in FAKE) / 2
BY_HAND = [
    (d_nonsaturating, D),
    (d_cross_entropy, D),
    (d_log, D),
    (d_log_clamped, D),
    (g_nonsaturating, G),
    (g_cross_entropy, G),
    (g_log, G),
    (g_log_clamped, G),
    (g_minimax, -D),
]


@pytest.mark.parametrize(("objective", "expected"), BY_HAND, ids=[str(o) for o, _ in BY_HAND])
def test_a_loss_has_the_value_worked_out_by_hand(objective: Loss, expected: float) -> None:
    """Two reals, two fakes, logits known: every formulation gives its formula's value."""
    assert objective(sample_latents()).item() == pytest.approx(expected, rel=1e-6)


def test_both_formulations_have_the_same_gradient() -> None:
    """Kristiadi's two forms differ in how they are written, not in what they teach."""
    gradients = []
    for objective in (d_log, d_cross_entropy):
        ctx = sample_latents()
        gradients.append(torch.autograd.grad(objective(ctx), list(ctx.nets["D"].parameters()))[0])
    assert torch.allclose(gradients[0], gradients[1], rtol=1e-6)


def test_the_clamped_logarithm_stops_at_one_hundred_thousandth() -> None:
    """A verdict of e^-40 counts as 1e-5 and teaches nothing."""
    ctx = sample_latents(moving="G")
    ctx.nets["D"].weight.data.fill_(-40.0 / 1.0)
    value = g_log_clamped(StepContext(ctx.nets, ctx.real, {"z": torch.ones(2, 1)}, step=0, moving=frozenset("G")))
    assert value.item() == pytest.approx(-math.log(1e-5), rel=1e-6)


def test_r1_is_half_gamma_times_the_squared_gradient() -> None:
    """The gradient of w x by x is w for every x: gamma/2 w^2, and its derivative by w is gamma w."""
    ctx = sample_latents()
    value = r1(3.0)(ctx)
    assert value.item() == pytest.approx(1.5 * 1.5**2)
    assert torch.autograd.grad(value, list(ctx.nets["D"].parameters()))[0].item() == pytest.approx(3 * 1.5)


def test_lazy_r1_is_zero_between_and_larger_when_due() -> None:
    """Every eighth step it counts eight times, in between not at all."""
    assert [r1(2.0, every=8)(sample_latents(step=step)).item() for step in (0, 1, 7, 8)] == pytest.approx(
        [8 * 2.25, 0, 0, 8 * 2.25]
    )


def test_losses_add_up_and_are_weighed() -> None:
    """``a + 2 * b`` is that sum, and says so."""

    @loss
    def one(ctx: StepContext) -> Tensor:
        return torch.tensor(1.0)

    objective = g_nonsaturating + 2.0 * one
    assert objective(sample_latents()).item() == pytest.approx(G + 2)
    assert str(objective) == "g_nonsaturating + 2 one"


def test_a_verdict_is_asked_for_once() -> None:
    """However many losses look at it, D sees the reals once and the fakes once."""
    ctx = sample_latents()
    (d_nonsaturating + d_log + r1(1.0))(ctx)
    assert ctx.nets["D"].asked == 2


def test_fakes_are_constants_while_the_discriminator_moves() -> None:
    """No graph leads to G unless G moves; then one does."""
    assert sample_latents(moving="D").fake.grad_fn is None
    assert sample_latents(moving="G").fake.grad_fn is not None


def test_an_objective_can_be_played_against_another_net() -> None:
    """With D2 in D's role the logits are -x: the same fakes, another discriminator."""
    ctx = sample_latents(moving="G")
    value = with_roles(g_nonsaturating, D="D2")(ctx)
    assert value.item() == pytest.approx(F.softplus(torch.tensor([-2.0, 1.0])).mean().item())
    assert ctx.nets["D"].asked == 0


def test_accuracies_are_noted_while_the_discriminator_moves() -> None:
    """Both reals are above 0 and one fake of two below: 1 and .5; their costs add up to the loss."""
    ctx = sample_latents()
    value = d_nonsaturating(ctx)
    noted = {name: value.item() for name, value in ctx.logged.items()}
    assert noted["cost/real"] + noted["cost/fake"] == pytest.approx(value.item())
    assert (noted["accuracy/real"], noted["accuracy/fake"]) == (1.0, 0.5)


def test_accuracies_are_counted_from_the_threshold_that_the_discriminator_names() -> None:
    """From a logit of 2 one real of two is right and both fakes are; costs are those of the logits above it.

    Where there is no threshold, nothing is noted.
    """

    class Named(Linear):
        threshold: float | None = 2.0

        def forward(self, x: Tensor) -> DiscriminatorOutput:
            return replace(super().forward(x), threshold=self.threshold)

    def noted(threshold: float | None) -> dict[str, float]:
        first, judge = sample_latents(), Named(1.5)
        judge.threshold = threshold
        ctx = StepContext({**first.nets, "D": judge}, first.real, first.latents, step=0, moving=first.moving)
        d_nonsaturating(ctx)
        return {name: value.item() for name, value in ctx.logged.items()}

    overrides = noted(2.0)
    assert (overrides["accuracy/real"], overrides["accuracy/fake"]) == (0.5, 1.0)
    assert overrides["cost/real"] == pytest.approx((softplus(0.5) + softplus(-2.5)) / 2)
    assert overrides["cost/fake"] == pytest.approx((softplus(-5.0) + softplus(-0.5)) / 2)
    assert noted(None) == {}


def test_a_part_of_a_round_is_a_slice_of_the_same_deal() -> None:
    """Two halves: one real, one fake each, G asked once, gradients reaching it, and notes in the one place."""
    ctx = sample_latents(moving="G")
    halves = [ctx.shard(0, 2), ctx.shard(1, 2)]
    assert [half.real.x.tolist() for half in halves] == [[[1.0]], [[3.0]]]
    assert [half.fake.tolist() for half in halves] == [[[-2.0]], [[1.0]]]
    assert torch.autograd.grad(halves[1].fake.sum(), list(ctx.nets["G"].parameters()))[0].item() == 0.5
    assert ctx.shard(0, 2) is halves[0]
    assert halves[0].logged is ctx.logged


def test_a_conditional_discriminator_needs_labels() -> None:
    """Without labels the round says so, and not with a crash inside a net."""
    ctx = StepContext(sample_latents().nets, Batch(torch.ones(2, 1)), {"y": torch.zeros(2)}, step=0, conditions=("y",))
    with pytest.raises(ValueError, match="the data has no labels"):
        ctx.conditioning("real")


def test_each_wrong_label_of_a_real_sample_is_a_fake() -> None:
    """The mean over a sample's other classes of the softplus of the logit that D gives it with that class."""
    torch.manual_seed(0)
    d = small_discriminator(4, (1, 8, 8), width=2)
    x, y = torch.rand(3, 1, 8, 8), torch.tensor([0, 3, 3])
    ctx = StepContext({"D": d}, Batch(x, y), {}, step=0, moving=frozenset("D"), conditions=("y",))
    expected = [softplus(d(x[i : i + 1], torch.tensor([c])).logit.item()) for i in range(3) for c in range(4) if c != y[i]]
    assert d_other_classes(ctx).item() == pytest.approx(sum(expected) / len(expected), rel=1e-5)


def test_of_one_class_no_label_is_wrong() -> None:
    """A folder of one folder of pictures: the loss is 0, and so is its gradient."""
    d = small_discriminator(1, (1, 8, 8), width=4)
    ctx = StepContext(
        {"D": d}, Batch(torch.rand(3, 1, 8, 8), torch.zeros(3).long()), {}, step=0, moving=frozenset("D"), conditions=("y",)
    )
    loss = d_other_classes(ctx)
    loss.backward()
    assert loss.item() == 0
    assert all(weight.grad is None or not weight.grad.any() for weight in d.parameters())
