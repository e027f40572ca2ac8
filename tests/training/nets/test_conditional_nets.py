"""Where the label enters the nets."""

from __future__ import annotations

from typing import cast

import pytest
import torch
from torch import nn

from contract import draw
from training.data import load
from training.game.batches import Batches
from training.nets import conditional
from training.nets.layers import Maxout
from training.recipes import CATALOGUE
from training.recipes.vanilla import begin_at_the_mean


def test_a_label_becomes_maps_where_the_input_is_maps() -> None:
    """Constant ones in the map of the class, zeros in the others, behind what was there."""
    label = torch.tensor([[0.0, 1.0]])
    joined = conditional.join(torch.full((1, 3, 2, 2), 5.0), label)
    assert joined.shape == (1, 5, 2, 2)
    assert joined[0, :, 0, 0].tolist() == [5, 5, 5, 0, 1]
    assert torch.equal(joined, joined[..., :1, :1].expand_as(joined))
    assert conditional.join(torch.full((1, 2), 5.0), label).tolist() == [[5, 5, 0, 1]]


def test_every_layer_is_told_the_label() -> None:
    """Each weight that meets a layer's input has a part for the ten classes, in G and in D, as the authors' sizes say."""
    g = conditional.every_layer_generator(100, 10, (1, 28, 28), width=64, dense=1024)
    d = conditional.every_layer_discriminator(10, (1, 28, 28), width=64, dense=1024)
    assert [tuple(p.shape) for p in g.parameters()] == [(1024, 110), (6272, 1034), (138, 64, 5, 5), (74, 1, 5, 5)]
    assert [tuple(p.shape) for p in d.parameters()] == [(64, 11, 5, 5), (128, 74, 5, 5), (1024, 6282), (1, 1034)]


def test_the_first_conditional_nets_have_the_sizes_of_the_paper() -> None:
    """z 200 and y 1000 to 1200; maxout 240 of 5, 50 of 5 and 240 of 4."""
    g = conditional.joint_generator(100, 10, (1, 28, 28))
    assert [(m.in_features, m.out_features) for m in g.modules() if isinstance(m, nn.Linear)] == [
        (100, 200),
        (10, 1000),
        (1200, 1200),
        (1200, 784),
    ]
    d = conditional.joint_discriminator(10, (1, 28, 28))
    maxouts = [m for m in d.modules() if isinstance(m, Maxout)]
    assert [(m.linear.in_features, m.linear.out_features // m.pieces, m.pieces) for m in maxouts] == [
        (784, 240, 5),
        (10, 50, 5),
        (290, 240, 4),
    ]


@pytest.mark.parametrize("kind", ["joint", "every layer"])
def test_another_label_gives_another_image_and_another_verdict(kind: str) -> None:
    """The same z as a three and as a four; the same image as either."""
    torch.manual_seed(0)
    if kind == "joint":
        g: nn.Module = conditional.joint_generator(100, 10, (1, 28, 28)).eval()
        d: nn.Module = conditional.joint_discriminator(10, (1, 28, 28)).eval()
    else:
        g = conditional.every_layer_generator(100, 10, (1, 28, 28), width=4, dense=16).eval()
        d = conditional.every_layer_discriminator(10, (1, 28, 28), width=4, dense=16).eval()
    images = g(torch.rand(1, 100).expand(2, -1), torch.tensor([3, 4]))
    assert images.shape == (2, 1, 28, 28)
    assert not torch.equal(images[0], images[1])
    logits = d(images[:1].expand(2, -1, -1, -1), torch.tensor([3, 4])).logit
    assert logits[0] != logits[1]


def test_the_first_conditional_generator_begins_at_the_mean_image() -> None:
    """For any latents: with its last weights at 0, G gives the mean of the samples."""
    digits = load("digits", environ={})
    batches = Batches(digits, 100, seed=0, pixels="unit")
    g = conditional.joint_generator(100, 10, digits.shape)
    begin_at_the_mean({"G": g}, batches, 0)
    nn.init.zeros_(cast(nn.Linear, g.joint[-2]).weight)
    made = g.eval()(torch.zeros(1, 100), torch.tensor([3]))
    assert torch.allclose(made[0], (digits.items / 255).mean(0), atol=1e-3)


def test_units_behind_the_latents_are_pushed_both_ways() -> None:
    """z is around 0, with variance 1: from [0,1] a unit's weights all have gradients of one sign, and it ends shut."""
    z = draw(CATALOGUE["cgan"].latents(10), range(1000))["z"]
    assert abs(z.mean()) < 0.01
    assert z.var() == pytest.approx(1.0, abs=0.02)
