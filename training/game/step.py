"""What a loss may use: one batch of real samples and latents, and everything computed from them, once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from contract.pictures import PICTURE

T = TypeVar("T")
OfStep = Callable[[int], tuple[Tensor, ...]]
"""From a step to tensors, always of the same shapes."""


@dataclass(frozen=True)
class Batch:
    """Real samples in the range that the nets expect."""

    x: Tensor
    """[N,C,H,W] in the recipe's pixel range, or [N,k] points."""
    y: Tensor | None = None
    """Class of each sample, int64 [N]; None where the data has no labels."""


@dataclass(frozen=True)
class DiscriminatorOutput:
    """Output of a discriminator."""

    logit: Tensor
    """[N], or [N,K] for K classes or patches; greater means more real."""
    features: Tensor
    """[N,F], the input of the last layer."""
    heads: Mapping[str, Tensor] = field(default_factory=dict)
    """Further outputs by name: a code, a reconstruction, the parameters of a posterior."""
    threshold: float | None = 0.0
    """The logit from which a sample counts as real; None where only differences between logits have a meaning."""

    def split(self, *sizes: int) -> list[DiscriminatorOutput]:
        """The outputs of batches of these sizes that were joined."""
        heads = {name: head.split(sizes) for name, head in self.heads.items()}
        parts = zip(self.logit.split(sizes), self.features.split(sizes), strict=True)
        return [
            DiscriminatorOutput(logit, features, {name: cut[i] for name, cut in heads.items()}, self.threshold)
            for i, (logit, features) in enumerate(parts)
        ]


class _WithoutValue:
    """Something that cannot be compared, since a graph would keep the answer for other steps."""

    def __eq__(self, other: object) -> bool:
        raise TypeError("the losses depend on the step")

    __hash__ = None  # type: ignore[assignment]


class _Remainder(_WithoutValue):
    """A remainder that may be zero or not, and has no other value."""

    def __init__(self, *, is_left: bool) -> None:
        self._is_left = is_left

    def __bool__(self) -> bool:
        return self._is_left


class AnyStep(_WithoutValue):
    """The step inside a graph that serves many steps.

    It has no number. Whether it is a multiple of a period may be asked, which binds the graph to steps of the same answer; and
    tensors that depend on it become inputs of the graph, where the graph takes such inputs.
    """

    def __init__(self, step: int, *, has_inputs: bool) -> None:
        """Args: ``step`` is the one at which the graph is recorded; ``has_inputs``, whether tensors of the step are inputs."""
        self._step, self._has_inputs = step, has_inputs
        self.remainders: dict[int, bool] = {}
        """By each period that was asked for, whether the step is not its multiple."""
        self.inputs: dict[str, tuple[OfStep, tuple[Tensor, ...]]] = {}
        """What makes the inputs of a step, and the tensors that the graph reads, by name."""

    def __mod__(self, period: int) -> _Remainder:
        """Something that is true where the step is not a multiple of ``period``."""
        self.remainders[period] = bool(self._step % period)
        return _Remainder(is_left=self.remainders[period])

    def input(self, key: str, make: OfStep) -> tuple[Tensor, ...]:
        """The graph's inputs of that name; made when the name is new."""
        if not self._has_inputs:
            raise TypeError("the losses depend on the step")
        if key not in self.inputs:
            self.inputs[key] = make, tuple(value.clone() for value in make(self._step))
        return self.inputs[key][1]

    def suits(self, step: int) -> bool:
        """Whether a graph recorded with this is right for ``step``."""
        return all(bool(step % period) == remainder for period, remainder in self.remainders.items())

    def fill(self, step: int) -> None:
        """Put the values of ``step`` into the inputs."""
        for make, held in self.inputs.values():
            torch._foreach_copy_(held, make(step))

    def __bool__(self) -> bool:
        raise TypeError("the losses depend on the step")


class StepContext:
    """The samples of one update. Losses ask it for fakes and discriminator outputs; each is computed once, on demand.

    The graph is kept only through the nets that ``moving`` names: in an update of the discriminator alone, fakes are constants.
    Real and fake samples are leaves that require a gradient, so that a penalty can differentiate a logit by its input.
    """

    def __init__(
        self,
        nets: Mapping[str, nn.Module],
        real: Batch,
        latents: Mapping[str, Tensor],
        *,
        step: int | AnyStep,
        moving: frozenset[str] = frozenset(),
        conditions: tuple[str, ...] = (),
    ) -> None:
        """Args:
        nets: nets by role; ``G`` takes the latents by name, ``D`` takes samples, and the conditions by name.
        real: real batch, N samples.
        latents: N rows of each declared latent, and the pictures made from the real batch if G changes pictures.
        step: training step, from 0; inside a graph, any.
        moving: names of the nets that this update trains.
        conditions: names of the latents that D receives too; for real samples it receives the label instead.
        """
        self.nets = nets
        self.real = Batch(self.as_leaf(real.x), real.y)
        self.latents = latents
        self.step = step
        self.moving = moving
        self.logged: dict[str, Tensor] = {}
        self._conditions = conditions
        self._cache: dict[str, object] = {}

    @staticmethod
    def as_leaf(samples: Tensor) -> Tensor:
        """The samples as constants by which a penalty can differentiate."""
        return samples.detach().requires_grad_(samples.is_floating_point())

    @property
    def fake(self) -> Tensor:
        """G's samples for this update's latents, shaped as the real ones."""
        return self.cached("fake", self._generate)

    @property
    def on_real(self) -> DiscriminatorOutput:
        """D's output on the real batch."""
        return self.cached("on_real", lambda: self._discriminate("real", self.real.x))

    @property
    def on_fake(self) -> DiscriminatorOutput:
        """D's output on the fakes."""
        return self.cached("on_fake", lambda: self._discriminate("fake", self.fake))

    def conditioning(self, kind: str) -> dict[str, Tensor]:
        """The discriminator's inputs other than the samples, by name; ``kind`` is ``real`` or ``fake``."""
        if kind == "fake":
            return {name: self.latents[name] for name in self._conditions}
        if self.real.y is None and any(name != PICTURE for name in self._conditions):
            raise ValueError(f"the recipe is conditional on {', '.join(self._conditions)}, but the data has no labels")
        return {name: self.latents[name] if name == PICTURE else cast(Tensor, self.real.y) for name in self._conditions}

    def cached(self, key: str, make: Callable[[], T]) -> T:
        """``make()``, computed at the first call with this key; for values that several losses share."""
        if key not in self._cache:
            self._cache[key] = make()
        return cast(T, self._cache[key])

    def of_step(self, key: str, make: OfStep) -> tuple[Tensor, ...]:
        """Tensors that depend on the step alone; the key names what is made."""
        step = self.step
        return self.cached(f"of step:{key}", lambda: step.input(key, make) if isinstance(step, AnyStep) else make(step))

    def log(self, name: str, value: Tensor) -> None:
        """Keep a scalar for the records and the gate."""
        self.logged[name] = value.detach()

    def with_roles(self, **roles: str) -> StepContext:
        """This context with other nets in the roles: ``with_roles(D="D1")`` uses D1 as the discriminator."""
        key = "roles:" + ",".join(f"{role}={name}" for role, name in sorted(roles.items()))
        return self.cached(key, lambda: self._with_roles(roles))

    def shard(self, number: int, of: int) -> StepContext:
        """One of ``of`` nearly equal slices of this context: its reals, its latents, and its part of the same fakes."""
        return self.cached(f"shard:{number}/{of}", lambda: self._shard(number, of))

    def with_samples(self, real: Batch, latents: Mapping[str, Tensor]) -> StepContext:
        """This context on other reals and latents; what is logged there is logged here. Keep it by ``cached``."""
        return self._derive(self.nets, real, latents, self.moving)

    def _derive(
        self, nets: Mapping[str, nn.Module], real: Batch, latents: Mapping[str, Tensor], moving: frozenset[str]
    ) -> StepContext:
        other = type(self)(nets, real, latents, step=self.step, moving=moving, conditions=self._conditions)
        other.logged = self.logged
        return other

    def anew(self, real: Batch, latents: Mapping[str, Tensor], *, step: int | AnyStep) -> StepContext:
        """A context of its own for the same update on other reals and latents, in which nothing is computed or logged yet."""
        return type(self)(self.nets, real, latents, step=step, moving=self.moving, conditions=self._conditions)

    def _with_roles(self, roles: Mapping[str, str]) -> StepContext:
        nets = {**self.nets, **{role: self.nets[name] for role, name in roles.items()}}
        moving = self.moving | {role for role, name in roles.items() if name in self.moving}
        other = self._derive(nets, self.real, self.latents, moving)
        if "G" not in roles:
            other._cache["fake"] = self.fake
        return other

    def _shard(self, number: int, of: int) -> StepContext:
        def cut(rows: Tensor) -> Tensor:
            return rows.tensor_split(of)[number]

        real = Batch(cut(self.real.x), None if self.real.y is None else cut(self.real.y))
        latents = {name: cut(rows) for name, rows in self.latents.items()}
        other = self.with_samples(real, latents)
        other._cache["fake"] = cut(self.fake)
        return other

    def _generate(self) -> Tensor:
        if "G" in self.moving:
            return cast(Tensor, self.nets["G"](**self.latents))
        with torch.no_grad():
            fake = cast(Tensor, self.nets["G"](**self.latents))
        return self.as_leaf(fake)

    def _discriminate(self, kind: str, x: Tensor) -> DiscriminatorOutput:
        output = cast(DiscriminatorOutput, self.nets["D"](x, **self.conditioning(kind)))
        if "D" in self.moving and output.logit.ndim == 1 and output.threshold is not None:
            is_right = output.logit >= output.threshold if kind == "real" else output.logit < output.threshold
            self.log(f"accuracy/{kind}", is_right.float().mean())
            margin = output.logit.detach() - output.threshold
            self.log(f"cost/{kind}", F.softplus(-margin if kind == "real" else margin).mean())
        return output
