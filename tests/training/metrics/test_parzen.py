"""Parzen windows against scipy and against the formula."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import logsumexp

from training.metrics.parzen import CHUNK, SIGMAS, log_likelihoods, parzen


def test_log_likelihoods_are_those_of_scipy() -> None:
    """gaussian_kde with the same width gives the same, in one dimension, over more points than a chunk."""
    from scipy.stats import gaussian_kde

    dice = np.random.default_rng(0)
    centres, x = dice.normal(size=40), dice.normal(size=CHUNK + 7)
    oracle = gaussian_kde(centres, bw_method=0.3 / centres.std(ddof=1)).logpdf(x)
    ours = log_likelihoods(torch.from_numpy(centres[:, None]), torch.from_numpy(x[:, None]), (0.3,))
    np.testing.assert_allclose(ours[0].numpy(), oracle, rtol=1e-10)


@pytest.mark.parametrize("sigma", [0.1, 1.0])
def test_in_784_dimensions_they_are_the_formula(sigma: float) -> None:
    """log mean exp(-|x - mu|^2 / 2s^2) - D log(s sqrt(2 pi)), to 1e-8 nats, where the density underflows."""
    dice = np.random.default_rng(1)
    centres, x = dice.random((30, 784)), dice.random((9, 784))
    exponents = -((x[:, None] - centres) ** 2).sum(2) / (2 * sigma**2)
    oracle = logsumexp(exponents, axis=1) - np.log(30) - 784 * np.log(sigma * np.sqrt(2 * np.pi))
    ours = log_likelihoods(torch.from_numpy(centres), torch.from_numpy(x), (sigma,))[0].numpy()
    np.testing.assert_allclose(ours, oracle, atol=1e-8)


def test_sigma_is_chosen_on_the_validation_images() -> None:
    """The chosen one is the best of the ten; mean and error are those of the test images at it."""
    dice = torch.Generator().manual_seed(0)
    centres, valid, test = (torch.randint(0, 256, (n, 1, 4, 4), generator=dice, dtype=torch.uint8) for n in (50, 30, 40))
    found = parzen(centres, valid, test)
    flat = [images.flatten(1).double() / 255 for images in (centres, valid, test)]
    best = log_likelihoods(flat[0], flat[1], SIGMAS).mean(1).argmax()
    assert found.sigma == SIGMAS[int(best)]
    values = log_likelihoods(flat[0], flat[2], (found.sigma,))[0]
    assert found.mean == pytest.approx(float(values.mean()))
    assert found.error == pytest.approx(float(values.std(correction=0)) / 40**0.5)


def test_the_ten_widths_are_the_originals() -> None:
    """numpy.logspace(-1, 0, 10)."""
    np.testing.assert_array_equal(SIGMAS, np.logspace(-1, 0, 10))
