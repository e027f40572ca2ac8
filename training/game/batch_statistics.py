"""Batch normalisation by the statistics of a batch that is divided among several processes.

Ioffe and Szegedy, arXiv:1502.03167, with the sums of algorithm 1 and of its gradient taken over all ranks. torch's own
``SyncBatchNorm`` does the same, on CUDA only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm
from torch.overrides import TorchFunctionMode


class Sums(Protocol):
    """What is needed of the ranks."""

    size: int

    def sum(self, tensor: Tensor) -> Tensor:
        """Add the ranks' tensors, in place."""
        ...

    def gather(self, tensor: Tensor) -> Tensor:
        """The ranks' tensors side by side, [ranks, ...]."""
        ...


def with_global_statistics(nets: Mapping[str, nn.Module], ranks: Sums) -> dict[str, nn.Module]:
    """The nets as losses call them; those without batch normalisation as they are."""
    return {
        name: cast(nn.Module, WithGlobalStatistics(net, ranks)) if _has_batch_norm(net) else net for name, net in nets.items()
    }


def _has_batch_norm(net: nn.Module) -> bool:
    return any(isinstance(module, _BatchNorm) for module in net.modules())


class WithGlobalStatistics:
    """A net whose calls normalise by the batches of all ranks together.

    It is no module, so that weights, averages and export see the net alone.
    """

    def __init__(self, net: nn.Module, ranks: Sums) -> None:
        self._net = net
        self._mode = _GlobalStatistics(ranks)

    def __call__(self, *inputs: Any, **named: Any) -> Any:
        with self._mode:
            return self._net(*inputs, **named)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._net, name)


class _GlobalStatistics(TorchFunctionMode):
    """Replaces ``F.batch_norm`` in training."""

    def __init__(self, ranks: Sums) -> None:
        super().__init__()
        self._ranks = ranks

    def __torch_function__(self, function: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function is F.batch_norm and kwargs.get("training"):
            return batch_norm(*args, **kwargs, ranks=self._ranks)
        return function(*args, **(kwargs or {}))


def batch_norm(
    x: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    *,
    training: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
    ranks: Sums,
) -> Tensor:
    """``F.batch_norm`` of a batch of which each rank has an equal part; x [N,C,...], in float32 also where x is not."""
    weight = torch.ones(x.shape[1], device=x.device) if weight is None else weight
    bias = torch.zeros(x.shape[1], device=x.device) if bias is None else bias
    y, mean, variance = _BatchNormOverRanks.apply(x.float(), weight, bias, eps, ranks)  # type: ignore[no-untyped-call]
    if running_mean is not None and running_var is not None:
        count = ranks.size * x.numel() // x.shape[1]
        running_mean.lerp_(mean, momentum)
        running_var.lerp_(variance * (count / (count - 1)), momentum)
    return cast(Tensor, y.to(x.dtype))


class _BatchNormOverRanks(torch.autograd.Function):
    """y = (x - mean) / sqrt(variance + eps) * weight + bias, with the mean and the variance; those two have no gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float, ranks: Sums) -> tuple[Tensor, Tensor, Tensor]:
        means, variances = ranks.gather(torch.stack(_mean_and_variance(x))).unbind(1)
        mean = means.mean(0)
        variance = (variances + (means - mean).square()).mean(0)
        ctx.save_for_backward(x, weight, bias, mean, variance)
        ctx.eps, ctx.ranks = eps, ranks
        ctx.mark_non_differentiable(mean, variance)
        return F.batch_norm(x, mean, variance, weight, bias, eps=eps), mean, variance

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, bias, mean, variance = ctx.saved_tensors
        if torch.is_grad_enabled():  # a penalty differentiates this gradient once more
            wanted = [v for v, is_wanted in zip((x, weight, bias), ctx.needs_input_grad, strict=False) if is_wanted]
            y = _composed(x, weight, bias, ctx.eps, ctx.ranks)
            found = iter(torch.autograd.grad(y, wanted, gradient, create_graph=True))
            return *(next(found) if is_wanted else None for is_wanted in ctx.needs_input_grad[:3]), None, None
        # The gradient by x with mean and variance held, and the sums of dy (x - mean) / deviation and of dy.
        by_x, by_weight, by_bias = torch.ops.aten.native_batch_norm_backward(
            gradient, x, weight, mean, variance, mean, variance, False, ctx.eps, [True, True, True]
        )
        # What x adds by way of mean and variance is linear in x; its two sums run over all ranks.
        total_weight, total_bias = ctx.ranks.sum(torch.stack((by_weight, by_bias))) / (ctx.ranks.size * x.numel() // x.shape[1])
        inverse = torch.rsqrt(variance + ctx.eps)
        slope = -inverse.square() * weight * total_weight
        offset = -inverse * weight * total_bias - slope * mean
        by_x.addcmul_(x, _per_channel(slope, x)).add_(_per_channel(offset, x))
        return by_x, by_weight, by_bias, None, None


class _Sum(torch.autograd.Function):
    """The sum over the ranks; so is its gradient, of all orders."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, ranks: Sums) -> Tensor:
        ctx.ranks = ranks
        return ranks.sum(x.clone())

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return _sum(gradient, ctx.ranks), None


def _sum(x: Tensor, ranks: Sums) -> Tensor:
    return cast(Tensor, _Sum.apply(x, ranks))  # type: ignore[no-untyped-call]


def _composed(x: Tensor, weight: Tensor, bias: Tensor, eps: float, ranks: Sums) -> Tensor:
    """The same function of operations that autograd can differentiate twice; slower."""
    own_mean, own_variance = _mean_and_variance(x)
    mean = _sum(own_mean, ranks) / ranks.size
    variance = _sum(own_variance + (own_mean - mean).square(), ranks) / ranks.size
    scale = torch.rsqrt(variance + eps) * weight
    return torch.addcmul(_per_channel(bias - mean * scale, x), x, _per_channel(scale, x))


def _mean_and_variance(x: Tensor) -> tuple[Tensor, Tensor]:
    variance, mean = torch.var_mean(x, [0, *range(2, x.ndim)], correction=0)
    return mean, variance


def _per_channel(values: Tensor, x: Tensor) -> Tensor:
    """[C] in the shape that is broadcast over x [N,C,...]."""
    return values.view(-1, *[1] * (x.ndim - 2))
