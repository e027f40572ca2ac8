"""Discriminators of several samples at once."""

from __future__ import annotations

import pytest
import torch

from training.game.step import DiscriminatorOutput
from training.nets.judges import Packed
from training.nets.mlp import discriminator_maxout
from training.recipes import CATALOGUE


class Telling(torch.nn.Module):
    """Answers with the sum of what it was shown, and shows it."""

    def forward(self, x: torch.Tensor) -> DiscriminatorOutput:
        return DiscriminatorOutput(x.flatten(1).sum(1), x)


@pytest.mark.parametrize(("shape", "packed"), [((7, 2), (3, 4)), ((7, 3, 5, 5), (3, 6, 5, 5))])
def test_samples_are_joined_along_their_first_axis(shape: tuple[int, ...], packed: tuple[int, ...]) -> None:
    """Seven samples are three packs of two, neighbours together, and one left out; points and images alike."""
    x = torch.arange(float(torch.tensor(shape).prod())).reshape(shape)
    output = Packed(Telling(), 2)(x)
    assert output.features.shape == packed
    assert torch.equal(output.features[0], torch.cat([x[0], x[1]]))
    assert output.logit.shape == (3,)


def test_a_pack_of_one_is_the_plain_discriminator() -> None:
    """The same net, the same verdict."""
    net = discriminator_maxout((2,), [4], pieces=3, dropout=0.0)
    x = torch.randn(5, 2)
    assert torch.equal(Packed(net, 1)(x).logit, net(x).logit)


def test_a_batch_is_a_hundred_packs() -> None:
    """100 points for the plain GAN, 400 in packs of four, as in the authors' code."""
    assert [CATALOGUE[name].batch for name in ("gan_ring8", "pacgan2_ring8", "pacgan4_grid25")] == [100, 200, 400]
