"""What differentiable augmentation does to images, and when."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from training.nets import conv
from training.nets.augment import Augmented, augment, recolour, translate


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(6, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_a_translation_moves_whole_pixels(images: torch.Tensor) -> None:
    """Each image is itself moved by at most an eighth of its side, with zeros where nothing was."""
    for before, after in zip(images, translate(images, 1 / 8), strict=True):
        framed = torch.nn.functional.pad(before, (2, 2, 2, 2))
        moved = [framed[:, y : y + 16, x : x + 16] for y in range(5) for x in range(5)]
        assert sum(torch.equal(after, one) for one in moved) == 1


def test_colours_keep_the_shapes(images: torch.Tensor) -> None:
    """Brightness, saturation and contrast are linear: equal pixels stay equal, and grey stays grey."""
    grey = images[:, :1].expand(-1, 3, -1, -1).clone()
    grey[:, :, :4] = 0.25
    after = recolour(grey)
    assert torch.allclose(after[:, 0], after[:, 2], atol=1e-6)
    assert (after[:, :, :4].amax((1, 2, 3)) - after[:, :, :4].amin((1, 2, 3))).max() < 1e-6


def test_only_training_augments(images: torch.Tensor) -> None:
    """In evaluation mode D sees the images as they are."""
    net = Augmented(conv.small_unlabelled_discriminator((3, 16, 16), width=2))
    assert torch.equal(net.eval()(images).logit, net.net(images).logit)
    assert not torch.equal(net.train()(images).logit, net.net(images).logit)


@pytest.mark.parametrize("channels", [1, 3])
def test_gradients_and_their_gradients_pass(images: torch.Tensor, channels: int) -> None:
    """R1 differentiates D's gradient by the images once more."""
    x = images[:, :channels].clone().requires_grad_()
    net = nn.Sequential(nn.Flatten(), nn.Linear(channels * 256, 4), nn.Tanh())
    (gradient,) = torch.autograd.grad(net(augment(x)).sum(), x, create_graph=True)
    weight = net[1].weight
    assert isinstance(weight, torch.Tensor)
    assert torch.autograd.grad(gradient.square().sum(), weight)[0].abs().max() > 0
