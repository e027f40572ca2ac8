"""LAPGAN's nets and the composition of the pyramid against numbers worked out by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from training.data import load
from training.game.step import Batch
from training.nets.pyramid import DetailGenerator, Pyramid, double, halve
from training.recipes import CATALOGUE

IMAGE = torch.tensor([[[[0.0, 4.0, 8.0, 8.0], [4.0, 8.0, 8.0, 8.0], [0.0, 0.0, 2.0, 2.0], [0.0, 0.0, 2.0, 2.0]]]])


def test_half_the_side_is_the_means_of_four_pixels() -> None:
    """(0 + 4 + 4 + 8) / 4 = 4, then 8, 0 and 2; a quarter of the side is the mean of these."""
    assert halve(IMAGE).tolist() == [[[[4.0, 8.0], [0.0, 2.0]]]]
    assert halve(IMAGE, 2).tolist() == [[[[3.5]]]]
    assert halve(IMAGE, 0) is IMAGE


def test_twice_the_side_is_bilinear() -> None:
    """Between 0 and 8 lie 2 and 6, a quarter and three quarters of the way; beyond the edge the last value goes on."""
    assert double(torch.tensor([[[[0.0, 8.0]]]])).tolist() == [[[[0.0, 2.0, 6.0, 8.0]] * 2]]


class Known(nn.Module):
    """A generator of one level that knows the real details."""

    def __init__(self, details: Tensor) -> None:
        super().__init__()
        self.details = details

    def forward(self, z: Tensor, y: Tensor, coarse: Tensor | None = None) -> Tensor:
        return self.details if coarse is None else coarse + self.details


def test_the_pyramid_gives_back_an_image_whose_details_are_known() -> None:
    """h_k = I_k - up(down(I_k)); the lowest image and the h_k make I again, exactly: every number is a multiple of 1/64."""
    x = torch.randint(0, 256, (2, 3, 28, 28), generator=torch.Generator().manual_seed(1)).float()
    levels = [halve(x, 2), halve(x, 1), x]
    details = [levels[0], *(level - double(below) for below, level in zip(levels, levels[1:], strict=False))]
    z = torch.zeros(2, 1)
    made = Pyramid([Known(h) for h in details])(y=torch.zeros(2, dtype=torch.int64), z0=z, z1=z, z2=z)
    assert torch.equal(made, x)


def test_each_level_has_its_own_noise_and_its_own_map_of_a_class() -> None:
    """Details differ with z and with y; with weights of zero nothing is added to the image below."""
    torch.manual_seed(0)
    g = DetailGenerator(10, (1, 4, 4), width=2)
    y, coarse = torch.tensor([3]), torch.full((1, 1, 4, 4), 0.25)
    made = g(torch.zeros(1, 16), y, coarse)
    assert not torch.equal(made, g(torch.ones(1, 16), y, coarse))
    plane = g.label.plane[0]
    assert isinstance(plane, nn.Linear)
    nn.init.ones_(plane.bias)
    assert not torch.equal(g(torch.zeros(1, 16), y, coarse), g(torch.zeros(1, 16), y + 1, coarse))
    for parameter in g.body.parameters():
        nn.init.zeros_(parameter)
    assert torch.equal(g(torch.ones(1, 16), y, coarse), coarse)


@pytest.mark.parametrize(("name", "twin"), [("lapgan", "lapgan_single"), ("lapgan_small", "lapgan_single_small")])
def test_the_twin_of_one_scale_has_as_many_weights(name: str, twin: str) -> None:
    """G and D, each to two thousandths of what the levels have together."""
    nets, other = (CATALOGUE[n].nets((1, 28, 28), CATALOGUE[n].latents(10)) for n in (name, twin))
    for role in "GD":
        ours = sum(p.numel() for n, net in nets.items() if n[0] == role for p in net.parameters())
        assert sum(p.numel() for p in other[role].parameters()) == pytest.approx(ours, rel=2e-3)


def test_sharpness_is_over_the_level_below() -> None:
    """Where the highest level draws no details the gain is 1; its own initial ones add some. Real digits gain more than 2."""
    recipe = CATALOGUE["lapgan_small"]
    torch.manual_seed(0)
    nets = recipe.nets((1, 28, 28), recipe.latents(10))
    data = load("mnist5k", environ={})
    assert data.labels is not None
    test = Batch(data.items[:100].float() / 127.5 - 1, data.labels[:100])
    assert recipe.examine is not None
    with torch.no_grad():
        first = recipe.examine(nets, test)
        for weight in list(nets["G2"].parameters())[-2:]:
            nn.init.zeros_(weight)
        none = recipe.examine(nets, test)
    assert none["sharpness-gain"] == pytest.approx(1)
    assert first["sharpness-gain"] > 1
    assert first["real-gain"] == none["real-gain"] > 2
