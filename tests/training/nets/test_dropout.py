"""Dropout by 16 random bits a value does what torch's own does."""

from __future__ import annotations

import pytest
import torch

from training.nets.layers import Dropout


@pytest.mark.parametrize("p", [0.1, 0.2, 0.5, 0.75])
def test_the_share_that_is_dropped_is_asked_for_and_the_mean_stays(p: float) -> None:
    """Of 400,000 ones: zeros and one other value, within five standard deviations of the share, with a mean of one."""
    torch.manual_seed(0)
    out = Dropout(p)(torch.ones(1000, 401)[:, :400])
    kept = round((1 - p) * 2**16) / 2**16
    assert out.unique().tolist() == pytest.approx([0, 1 / kept])
    deviation = (p * (1 - p) / out.numel()) ** 0.5
    assert (out == 0).double().mean().item() == pytest.approx(p, abs=5 * deviation)
    assert (out == 0).double().mean(0).std().item() == pytest.approx((p * (1 - p) / 1000) ** 0.5, rel=0.2)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 7, 13])
def test_any_number_of_values_has_a_mask(size: int) -> None:
    """Four values share a random word; the last word may be of fewer."""
    torch.manual_seed(size)
    found = torch.stack([Dropout(0.5)(torch.ones(size)) for _ in range(60)])
    assert found.shape == (60, size)
    assert all(column.unique().tolist() == [0, 2] for column in found.T)


def test_the_gradient_is_the_mask() -> None:
    """In bfloat16, too; a seed gives the mask again."""
    x = torch.rand(64, 30, dtype=torch.bfloat16, requires_grad=True)
    torch.manual_seed(3)
    out = Dropout(0.5)(x)
    (gradient,) = torch.autograd.grad(out.sum(), x)
    torch.manual_seed(3)
    assert torch.equal(gradient, Dropout(0.5)(torch.ones_like(x)))
    assert torch.equal(out, x * gradient)
    assert out.dtype == torch.bfloat16


def test_images_keep_their_order_in_memory() -> None:
    """Channels last in, channels last out, and no two values of a picture share their bits."""
    torch.manual_seed(0)
    out = Dropout(0.5)(torch.ones(2, 3, 40, 50).to(memory_format=torch.channels_last))
    assert out.is_contiguous(memory_format=torch.channels_last)
    flat = out.flatten(2).flatten(0, 1)
    assert all(not torch.equal(flat[i], flat[j]) for i in range(6) for j in range(i))


def test_without_training_or_a_share_nothing_is_dropped() -> None:
    """The tensor itself."""
    x = torch.rand(5, 5)
    assert torch.equal(Dropout(0.5).eval()(x), x)
    assert torch.equal(Dropout(0.0)(x), x)
    assert not Dropout(1.0)(x).any()
