"""Optimisers as values: each is made when its player's parameters are known."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Optimiser:
    """A named way to make an optimiser."""

    name: str
    make: Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]

    def __str__(self) -> str:
        return self.name


def adam(
    rate: float, betas: tuple[float, float] = (0.9, 0.999), *, weight_decay: float = 0.0, epsilon: float = 1e-8
) -> Optimiser:
    """Kingma and Ba, arXiv:1412.6980; ``weight_decay`` is an l2 term in the gradient, ``epsilon`` stands outside the root."""
    extra = (f", l2={weight_decay:g}" if weight_decay else "") + (f", eps={epsilon:g}" if epsilon != 1e-8 else "")
    name = f"adam({rate:g}, {betas}{extra})"
    return Optimiser(name, lambda p: torch.optim.Adam(p, rate, betas, epsilon, weight_decay=weight_decay, fused=True))


def sgd(rate: float, momentum: float) -> Optimiser:
    """Gradient descent with momentum."""
    return Optimiser(f"sgd({rate:g}, {momentum:g})", lambda p: torch.optim.SGD(p, rate, momentum, fused=True))


@dataclass(frozen=True)
class GeometricDecay:
    """A player's ``hyperparameters``: divide the rate by ``divisor`` each step down to ``least``, raise the momentum linearly.

    pylearn2's schedule in goodfeli/adversarial, mnist.yaml.
    """

    rate: float
    divisor: float
    least: float
    momentum: tuple[float, float]
    rise: int
    """Steps over which the momentum goes from the first value to the second."""

    def __call__(self, step: int, steps: int) -> dict[str, float]:
        """Rate and momentum of the step after ``step``."""
        low, high = self.momentum
        rate = max(self.least, self.rate * self.divisor**-step)
        return {"lr": rate, "momentum": low + (high - low) * min(1.0, step / self.rise)}


@dataclass(frozen=True)
class StaircaseDecay:
    """A player's ``hyperparameters``: the rate times ``factor`` for every ``every`` steps that are over."""

    rate: float
    factor: float
    every: int

    def __call__(self, step: int, steps: int) -> dict[str, float]:
        """The rate of the step after ``step``."""
        return {"lr": self.rate * self.factor ** (step // self.every)}


@dataclass(frozen=True)
class LinearDecay:
    """A player's ``hyperparameters``: ``rate`` for a share ``hold`` of the steps, then linearly to zero at the last."""

    rate: float
    hold: float = 0.5

    def __call__(self, step: int, steps: int) -> dict[str, float]:
        """The rate of the step after ``step`` of ``steps``."""
        left = (steps - step) / (steps * (1 - self.hold))
        return {"lr": self.rate * min(1.0, max(0.0, left))}


def rmsprop(rate: float, *, decay: float = 0.99, epsilon: float = 1e-8) -> Optimiser:
    """RMSProp as torch has it: g / (sqrt(v) + epsilon)."""
    return Optimiser(f"rmsprop({rate:g}, {decay:g})", lambda p: torch.optim.RMSprop(p, rate, alpha=decay, eps=epsilon))


@dataclass(frozen=True)
class PowerDecay:
    """A player's ``hyperparameters``: start - progress ** power * (start - stop), progress the share of steps done."""

    start: float
    stop: float
    power: float

    def __call__(self, step: int, steps: int) -> dict[str, float]:
        """The rate of the step after ``step`` of ``steps``."""
        return {"lr": self.start - min(1.0, step / steps) ** self.power * (self.start - self.stop)}


@dataclass(frozen=True)
class Clip:
    """A player's ``before`` or ``after`` hook: clip every weight of a net to [-bound, bound]."""

    bound: float
    net: str = "D"

    def __call__(self, nets: Mapping[str, nn.Module], step: int) -> None:
        """Clip in place, batch normalisation's gains and biases too; ``step`` is not used."""
        with torch.no_grad():
            for parameter in nets[self.net].parameters():
                parameter.clamp_(-self.bound, self.bound)


def rmsprop_tf(rate: float, *, decay: float = 0.9, epsilon: float = 1e-10) -> Optimiser:
    """RMSProp as TensorFlow 1 has it: epsilon inside the root, mean square starting at 1."""
    return Optimiser(f"rmsprop_tf({rate:g}, {decay:g})", lambda p: RMSpropTF(p, rate, decay, epsilon))


def adam_inside(rate: float, betas: tuple[float, float], *, epsilon: float = 1e-8) -> Optimiser:
    """Adam with ``epsilon`` inside the root, as openai/improved-gan has it."""
    return Optimiser(f"adam_inside({rate:g}, {betas})", lambda p: AdamInside(p, rate, betas, epsilon))


class WithMoments(torch.optim.Optimizer):
    """An optimiser that keeps tensors of the shape of each parameter."""

    def moments(self, name: str, parameters: list[Tensor], initial: Callable[[Tensor], Tensor]) -> list[Tensor]:
        """The tensor of that name of each parameter, made by ``initial`` the first time."""
        states = [self.state[parameter] for parameter in parameters]
        for state, parameter in zip(states, parameters, strict=True):
            if name not in state:
                state[name] = initial(parameter)
        return [state[name] for state in states]


class AdamInside(WithMoments):
    """m / sqrt(v + epsilon) with both moments corrected for their start, where torch divides by sqrt(v) + epsilon."""

    def __init__(self, params: Iterable[nn.Parameter], rate: float, betas: tuple[float, float], epsilon: float) -> None:
        super().__init__(params, {"lr": rate, "betas": betas, "epsilon": epsilon, "updates": 0})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One update from the gradients that the parameters hold."""
        for group in self.param_groups:
            updated: list[Tensor] = [p for p in group["params"] if p.grad is not None]
            gradients: list[Tensor] = [p.grad for p in updated if p.grad is not None]
            first, second = group["betas"]
            group["updates"] += 1
            means = self.moments("mean", updated, torch.zeros_like)
            squares = self.moments("mean_square", updated, torch.zeros_like)
            torch._foreach_lerp_(means, gradients, 1 - first)
            torch._foreach_mul_(squares, second)
            torch._foreach_addcmul_(squares, gradients, gradients, 1 - second)
            roots = torch._foreach_div(squares, 1 - second ** group["updates"])
            torch._foreach_add_(roots, group["epsilon"])
            torch._foreach_sqrt_(roots)
            torch._foreach_addcdiv_(updated, means, roots, -group["lr"] / (1 - first ** group["updates"]))


class RMSpropTF(WithMoments):
    """g / sqrt(v + epsilon), where torch divides by sqrt(v) + epsilon; v starts at 1 (tf.train.RMSPropOptimizer)."""

    def __init__(self, params: Iterable[nn.Parameter], rate: float, decay: float, epsilon: float) -> None:
        super().__init__(params, {"lr": rate, "decay": decay, "epsilon": epsilon})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Update the parameters from their gradients."""
        for group in self.param_groups:
            updated: list[Tensor] = [p for p in group["params"] if p.grad is not None]
            gradients: list[Tensor] = [p.grad for p in updated if p.grad is not None]
            squares = self.moments("mean_square", updated, torch.ones_like)
            torch._foreach_mul_(squares, group["decay"])
            torch._foreach_addcmul_(squares, gradients, gradients, 1 - group["decay"])
            roots = torch._foreach_sqrt(torch._foreach_add(squares, group["epsilon"]))
            torch._foreach_addcdiv_(updated, gradients, roots, -group["lr"])


def clipped(optimiser: Optimiser, norm: float) -> Optimiser:
    """An optimiser whose gradients, all together, are scaled down to that norm where they are longer."""

    def make(parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        weights = list(parameters)
        made = optimiser.make(weights)

        def clip(*_: Any) -> None:
            nn.utils.clip_grad_norm_(weights, norm)

        made.register_step_pre_hook(clip)
        return made

    return Optimiser(f"{optimiser.name} clipped to {norm:g}", make)


def with_strides_of(parameter: Tensor, value: Tensor) -> Tensor:
    """The same numbers with the parameter's strides.

    Fused optimisers walk a parameter, its gradient and its moments in the order of memory: on the CPU they ignore strides, on
    CUDA they refuse unequal ones. ``torch.autograd.grad`` returns the strides that the backward pass made; behind a gradient
    penalty they differ from the parameter's.
    """
    return value if value.stride() == parameter.stride() else torch.empty_like(parameter).copy_(value)


def align_moments(optimiser: torch.optim.Optimizer) -> None:
    """Give loaded moments the strides of their parameters: a checkpoint of another device has other ones."""
    for parameter, moments in optimiser.state.items():
        for name, value in moments.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                moments[name] = with_strides_of(parameter, value)
