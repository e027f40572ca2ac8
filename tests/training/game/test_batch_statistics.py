"""Batch normalisation over several ranks."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from training.game.batch_statistics import WithGlobalStatistics, with_global_statistics


class Twice:
    """Two ranks with the same samples: every sum is twice one's own."""

    size = 2

    def sum(self, tensor: Tensor) -> Tensor:
        return tensor.mul_(2)

    def gather(self, tensor: Tensor) -> Tensor:
        return torch.stack((tensor, tensor))


def net_of(norm: nn.Module, shape: tuple[int, ...]) -> nn.Module:
    first = nn.Linear(shape[0], shape[0]) if len(shape) == 1 else nn.Conv2d(shape[0], shape[0], 3, padding=1)
    return nn.Sequential(first, norm, nn.Flatten())


CASES = {
    "points": (nn.BatchNorm1d(3), (3,)),
    "images": (nn.BatchNorm2d(3), (3, 4, 4)),
    "no weights of its own": (nn.BatchNorm2d(3, affine=False), (3, 4, 4)),
    "mean of all batches": (nn.BatchNorm1d(3, momentum=None), (3,)),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("is_penalised", [False, True], ids=["once", "twice"])
def test_it_is_batch_norm_of_all_samples(case: str, is_penalised: bool) -> None:
    """Outputs, running statistics and gradients, also of a penalty, are those of both ranks' samples in one batch."""
    torch.manual_seed(0)
    norm, shape = CASES[case]
    alone = net_of(copy.deepcopy(norm), shape)
    shared = copy.deepcopy(alone)
    x = torch.randn(6, *shape)
    results = []
    for net, samples in ((alone, torch.cat((x, x))), (with_global_statistics({"D": shared}, Twice())["D"], x.clone())):
        samples.requires_grad_()
        y = net(samples)
        value = y.cos().mean()
        if is_penalised:
            # The penalty of each sample: its gradient counts half in a batch of twice the size, and squares twice that.
            (slope,) = torch.autograd.grad(y.sin().sum(), samples, create_graph=True)
            value = value + slope.square().flatten(1).sum(1).mean()
        gradients = torch.autograd.grad(value, [samples, *net.parameters()])
        results.append((y[:6], gradients[0][:6] * len(samples), *gradients[1:], *net.state_dict().values()))
    assert isinstance(with_global_statistics({"D": shared}, Twice())["D"], WithGlobalStatistics)
    torch.testing.assert_close(results[0], results[1], rtol=1e-4, atol=1e-5)


def test_other_nets_and_evaluation_are_left_alone() -> None:
    """A net without batch normalisation is itself; in evaluation nothing is asked of the ranks."""
    plain, norm = nn.Linear(2, 2), nn.BatchNorm1d(2).eval()
    nets = with_global_statistics({"G": plain, "D": norm}, Twice())
    assert nets["G"] is plain
    x = torch.randn(1, 2)
    assert torch.equal(nets["D"](x), norm(x))
    assert nets["D"](x.bfloat16()).dtype == norm(x.bfloat16()).dtype


def test_bfloat16_is_normalised_in_float32() -> None:
    """The output has the input's type; the statistics are those of float32."""
    norm = nn.BatchNorm1d(2)
    x = 100 + torch.randn(64, 2).bfloat16()
    y = with_global_statistics({"D": norm}, Twice())["D"](x)
    assert y.dtype == torch.bfloat16
    assert y.float().std(0).sub(1).abs().max() < 0.05
    torch.testing.assert_close(norm.running_mean, 0.1 * x.float().mean(0))
