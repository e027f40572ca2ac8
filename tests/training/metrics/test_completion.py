"""Completion where the answer is known."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pytest
import torch
from torch import Tensor

from contract import Categorical, Latents, Normal, Uniform
from training.errors import ScoreError
from training.metrics.completion import (
    NORMAL_BOX,
    Completion,
    complete,
    fill,
    fill_with_mean,
    hole_psnr,
    make_mask,
)

SIDE, PIXELS = 4, 16
QUICK = Completion(steps=400, rate=0.02, weight=0.0, batch=3)


def linear(size: int, classes: int = 0) -> Mapping[str, Tensor]:
    """Weights from latents to 4x4 images, and an image for each class."""
    torch.manual_seed(0)
    return {"z": torch.randn(size, PIXELS) / 8, "y": torch.rand(max(classes, 1), PIXELS)}


def maker(weights: Mapping[str, Tensor]):  # type: ignore[no-untyped-def]
    """A generator: half a grey image plus a linear function of z, and the image of the class."""

    def make(z: Mapping[str, Tensor]) -> Tensor:
        images = 0.5 + z["z"] @ weights["z"]
        images = images + weights["y"][z["y"]] if "y" in z else images
        return images.reshape(-1, 1, SIDE, SIDE)

    return make


@pytest.mark.parametrize(("kind", "known"), [("center", 784 - 196), ("left", 392), ("grid", 49)])
def test_masks_hide_what_their_name_says(kind: str, known: int) -> None:
    """On 28x28: the middle 14x14, the left 14 columns, all but 7x7 pixels."""
    mask = make_mask(kind, 28, 28)  # type: ignore[arg-type]
    assert int(mask.sum()) == known
    assert {"center": not mask[14, 14] and mask[0, 0], "left": not mask[5, 13] and mask[5, 14], "grid": mask[4, 8]}[kind]


def test_the_random_mask_hides_a_fifth_by_its_seed() -> None:
    """The same seed hides the same pixels, another one others."""
    first, again, other = (make_mask("random", 100, 100, seed=seed) for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert float(first.float().mean()) == pytest.approx(0.8, abs=0.02)


@pytest.mark.slow
def test_the_hole_of_an_image_that_g_can_make_is_found() -> None:
    """Two latents, sixteen pixels, eight of them hidden: they are as they were, in every batch of pictures."""
    make, latents = maker(linear(2)), {"z": Uniform(2)}
    truth = make({"z": torch.tensor([[0.3, -0.7], [0.9, 0.1], [-0.5, -0.2], [0.0, 0.6]])}).detach()
    found = complete(make, latents, truth, make_mask("left", SIDE, SIDE), QUICK)
    torch.testing.assert_close(found.images, truth, atol=0.02, rtol=0)
    assert (found.loss < found.first_loss).all()


def test_hidden_pixels_are_not_read() -> None:
    """With other pixels in the hole the same image is found."""
    make, latents, mask = maker(linear(3)), {"z": Normal(3)}, make_mask("left", SIDE, SIDE)
    pictures = torch.rand(2, 1, SIDE, SIDE)
    others = torch.where(mask, pictures, torch.rand_like(pictures))
    first, second = (complete(make, latents, x, mask, Completion(steps=30, weight=0.0)) for x in (pictures, others))
    assert torch.equal(first.images, second.images)


@pytest.mark.parametrize(("latent", "bound"), [(Uniform(2, -0.5, 0.5), 0.5), (Normal(2), NORMAL_BOX)])
def test_latents_stay_in_the_box_of_their_prior(latent: Uniform | Normal, bound: float) -> None:
    """A picture far beyond what the prior reaches pulls the latents to its edge and not over it."""
    seen: list[float] = []

    def make(z: Mapping[str, Tensor]) -> Tensor:
        seen.append(float(z["z"].detach().abs().max()))
        return z["z"].reshape(-1, 1, 1, 2)

    how = Completion(steps=60, rate=0.2, weight=0.0)
    complete(make, {"z": latent}, torch.full((1, 1, 1, 2), 100.0), torch.ones(1, 2, dtype=torch.bool), how)
    assert seen[-1] == pytest.approx(bound)
    assert max(seen) <= bound + 1e-6


def test_the_class_that_fits_is_found_by_a_start_for_each() -> None:
    """Of four classes each picture gets its own, though no label is given."""
    weights = linear(1, classes=4)
    latents: Latents = {"z": Uniform(1), "y": Categorical(4)}
    truth = maker(weights)({"z": torch.zeros(4, 1), "y": torch.tensor([2, 0, 3, 1])})
    how = Completion(steps=200, weight=0.0, starts=4)
    found = complete(maker(weights), latents, truth, make_mask("left", SIDE, SIDE), how)
    torch.testing.assert_close(found.images, truth, atol=0.02, rtol=0)


def test_the_discriminator_decides_where_nothing_is_known() -> None:
    """With an empty mask only its opinion is left: it wants dark images, and gets them; with weight 0 nothing moves."""
    make, latents = maker(linear(2)), {"z": Uniform(2)}
    pictures, mask = torch.rand(2, 1, SIDE, SIDE), torch.zeros(SIDE, SIDE, dtype=torch.bool)
    dark, still = (
        complete(
            make,
            latents,
            pictures,
            mask,
            Completion(steps=100, weight=weight),
            doubt=lambda images, z: images.flatten(1).sum(1),
        )
        for weight in (1.0, 0.0)
    )
    assert (dark.images.flatten(1).sum(1) < still.images.flatten(1).sum(1)).all()
    assert torch.equal(still.first_loss, still.loss)


def test_known_pixels_stay_as_they_are() -> None:
    """Only the hole takes G's pixels, rounded."""
    pictures, mask = torch.randint(0, 256, (2, 3, 4, 4), dtype=torch.uint8), make_mask("center", 4, 4)
    filled = fill(pictures, mask, torch.full((2, 3, 4, 4), 0.5))
    assert torch.equal(filled[:, :, mask], pictures[:, :, mask])
    assert (filled[:, :, ~mask] == 128).all()


def test_the_mean_is_that_of_the_known_pixels_channel_by_channel() -> None:
    """Known pixels of 10 and 30 fill the hole with 20."""
    pictures = torch.tensor([[[[10, 200], [30, 200]]]], dtype=torch.uint8)
    mask = torch.tensor([[True, False], [True, False]])
    assert fill_with_mean(pictures, mask).tolist() == [[[[10, 20], [30, 20]]]]


def test_the_ratio_is_over_the_hole_alone() -> None:
    """Off by 51 levels in the hole: 20 log10(255 / 51); equal images: infinite."""
    picture, mask = torch.zeros(1, 1, 2, 2, dtype=torch.uint8), torch.tensor([[True, True], [True, False]])
    made = torch.tensor([[[[9, 9], [9, 51]]]], dtype=torch.uint8)
    assert hole_psnr(made, picture, mask) == pytest.approx(20 * math.log10(5))
    assert hole_psnr(picture, picture, mask) == math.inf


@pytest.mark.parametrize("steps", [1, 5])
def test_a_search_that_diverges_is_refused(steps: int) -> None:
    """A loss that is infinite at the start, in between or at the end gives no image."""
    make, mask, weight = maker(linear(2)), make_mask("left", SIDE, SIDE), 1e38
    how = Completion(steps=steps, rate=1e30, weight=weight)
    for doubt in (lambda images, z: images.flatten(1).sum(1) * 1e3, lambda images, z: (z["z"].abs() > 1).sum(1) * math.inf):
        with pytest.raises(ScoreError, match=r"loss of the search is not finite \(the rate is 1e\+30, the weight .* 1e\+38\)"):
            complete(make, {"z": Normal(2)}, torch.rand(2, 1, SIDE, SIDE), mask, how, doubt=doubt)
