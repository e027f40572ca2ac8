"""The conditional adversarial autoencoder: ages are angles, codes come from a picture or from the prior."""

from __future__ import annotations

import pytest
import torch

from training.game.step import Batch, StepContext
from training.losses.caae import d_codes
from training.nets.caae import Encoder, Generator, Restyle, code_discriminator
from training.recipes import CATALOGUE
from training.recipes.caae import AGES, CODE, PRIOR_SD, at_random_ages, examine, rotate

SHAPE = (1, 28, 28)


def test_ages_are_angles() -> None:
    """Ages 0 and 9 are mirror images of a symmetric picture; turning keeps the range, and what comes in is black."""
    x = torch.full((2, *SHAPE), -1.0)
    x[..., 4:24, 13:15] = 1
    turned = rotate(x, torch.tensor([0, AGES - 1]))
    assert torch.allclose(turned[0], turned[1].flip(2), atol=1e-5)
    assert turned.min() >= -1 - 1e-6
    assert turned.max() <= 1 + 1e-6
    assert (turned[:, :, :3, :3] == -1).all()


def test_neighbouring_ages_differ_by_18_degrees() -> None:
    """A bar's angle, from its second moments, moves by 18 degrees an age, all in one direction."""
    x = torch.full((AGES, *SHAPE), -1.0)
    x[..., 4:24, 13:15] = 1
    mass = rotate(x, torch.arange(AGES))[:, 0] + 1
    rows, columns = torch.meshgrid(torch.arange(28.0) - 13.5, torch.arange(28.0) - 13.5, indexing="ij")
    xx, yy, xy = ((mass * part).sum((1, 2)) for part in (columns**2, rows**2, rows * columns))
    angles = torch.rad2deg(0.5 * torch.atan2(2 * xy, yy - xx))
    steps = angles.diff()
    assert torch.allclose(steps.abs(), torch.full_like(steps, 18.0), atol=1.5)
    assert (steps.sign() == steps[0].sign()).all()


def test_the_label_of_a_real_sample_is_its_age() -> None:
    """Every age is drawn, and an image is turned as its label says."""
    torch.manual_seed(0)
    real = Batch(torch.randn(200, *SHAPE).clamp(-1, 1), torch.zeros(200, dtype=torch.int64))
    turned = at_random_ages(real)
    assert turned.y is not None
    assert turned.y.unique().tolist() == list(range(AGES))
    assert torch.equal(turned.x, rotate(real.x, turned.y))


def test_a_row_is_made_from_its_picture_or_from_its_latent() -> None:
    """With a picture the latent has no effect; without one the pixels have none."""
    torch.manual_seed(0)
    encoder, generator = Encoder(SHAPE, CODE, width=4), Generator(SHAPE, CODE, AGES, width=4)
    z, age, picture = torch.rand(2, CODE), torch.tensor([3, 7]), torch.randn(2, *SHAPE)
    made = Restyle(encoder, generator)(z, age, picture, torch.tensor([True, False]))
    assert torch.allclose(made[0], generator(encoder(picture), age)[0])
    assert torch.allclose(made[1], generator(z, age)[1])


def test_d_of_codes_sees_how_wide_they_are() -> None:
    """Codes of a tenth of the width get other logits: normalised apart from the prior, both batches would look the same."""
    torch.manual_seed(0)
    wide = 2 * torch.rand(64, CODE) - 1
    nets = {"Dz": code_discriminator(CODE), "E": torch.nn.Identity()}

    def losses(codes: torch.Tensor) -> torch.Tensor:
        ctx = StepContext(nets, Batch(codes), {"z": wide}, step=0)
        return d_codes(ctx).detach()

    assert (losses(0.1 * wide) - losses(wide)).abs() > 1e-3


def test_the_twin_lacks_the_term_that_spreads_the_codes() -> None:
    """Both rebuild and fool D; only one fools D of codes."""
    losses = [{p.name: str(p.loss) for p in CATALOGUE[name].players} for name in ("caae_small", "caae_narrow_small")]
    assert losses[0]["EG"] == "rebuilding + 0.001 fooling_images + 0.1 fooling_codes"
    assert losses[1]["EG"] == "rebuilding + 0.001 fooling_images"
    assert [(loss["D"], loss["Dz"]) for loss in losses] == [("d_images", "d_codes")] * 2


@pytest.mark.parametrize(("gain", "share"), [(1.0, 1.0), (0.1, 0.0)])
def test_the_spread_of_the_codes_is_that_of_each_dimension(gain: float, share: float) -> None:
    """Codes as wide as the prior count, narrow ones do not."""

    class Spread(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return gain * (2 * torch.rand(len(x), CODE) - 1)

    torch.manual_seed(0)
    values = examine({"E": Spread()}, Batch(torch.zeros(2000, *SHAPE)))
    assert values["z-within-20%"] == share
    assert values["z-sd"] == pytest.approx(gain * PRIOR_SD, rel=0.05)


def test_d_sees_ages_and_no_pictures() -> None:
    """D is conditional on the age alone, and samples need no picture."""
    recipe = CATALOGUE["caae_small"]
    assert recipe.conditions == ("age",)
    assert recipe.is_picture_optional
    assert not recipe.needs_picture
