"""PPGN's losses against values computed by hand."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from training.game.step import Batch, StepContext
from training.losses.plug_and_play import d_on_reconstructions, g_on_reconstructions, layer_error, pixel_error
from training.nets.plug_and_play import FeatureClassifier, FeatureGenerator, UnconditionalDiscriminator

SHAPE = (1, 4, 4)


def context(moving: str) -> StepContext:
    torch.manual_seed(0)
    nets = {
        "G": FeatureGenerator(6, [7], SHAPE),
        "C": FeatureClassifier(SHAPE, 3, hidden=9, features=6).requires_grad_(False),
        "D": UnconditionalDiscriminator(SHAPE, [5]),
    }
    return StepContext(nets, Batch(torch.rand(4, *SHAPE)), {}, step=0, moving=frozenset({moving}))


def test_g_reconstructs_a_real_image_from_the_classifiers_features() -> None:
    """Squared errors of pixels and of the earlier layer, summed over an image, and the non-saturating cost."""
    ctx = context("G")
    g, c, d = (ctx.nets[name] for name in "GCD")
    hidden, features = c.encode(ctx.real.x)
    made = g(features)
    assert pixel_error(ctx).item() == pytest.approx(((made - ctx.real.x) ** 2).sum().item() / 4, rel=1e-5)
    assert layer_error(ctx).item() == pytest.approx(((c.encode(made)[0] - hidden) ** 2).sum().item() / 4, rel=1e-5)
    assert g_on_reconstructions(ctx).item() == pytest.approx(F.softplus(-d(made).logit).mean().item(), rel=1e-5)
    total = pixel_error(ctx) + layer_error(ctx) + g_on_reconstructions(ctx)
    assert all(w.abs().sum() > 0 for w in torch.autograd.grad(total, tuple(g.parameters())))


def test_d_sees_reals_and_reconstructions_and_none_of_its_gradient_reaches_g() -> None:
    """Two cross entropies; the reconstruction is a constant."""
    ctx = context("D")
    g, c, d = (ctx.nets[name] for name in "GCD")
    made = g(c.encode(ctx.real.x)[-1])
    expected = F.softplus(-d(ctx.real.x).logit).mean() + F.softplus(d(made).logit).mean()
    value = d_on_reconstructions(ctx)
    assert value.item() == pytest.approx(expected.item(), rel=1e-5)
    assert set(torch.autograd.grad(value, tuple(g.parameters()), allow_unused=True)) == {None}
