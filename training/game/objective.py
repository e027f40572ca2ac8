"""How losses and penalties compose: ``d_nonsaturating + r1(0.5)``, ``g_nonsaturating + 100 * l1``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from training.game.step import StepContext


@dataclass(frozen=True)
class Term:
    """One summand of a loss."""

    name: str
    value: Callable[[StepContext], Tensor]
    """Function from a step context to a scalar."""
    weight: float = 1.0


@dataclass(frozen=True)
class Loss:
    """A weighted sum of terms that one player minimises."""

    terms: tuple[Term, ...]

    def __call__(self, ctx: StepContext) -> Tensor:
        """The scalar loss of this update."""
        return torch.stack([value for _, value in self.parts(ctx)]).sum() if len(self.terms) > 1 else self.parts(ctx)[0][1]

    def parts(self, ctx: StepContext) -> list[tuple[str, Tensor]]:
        """Each term's name and weighted value, computed once per update."""
        return ctx.cached(f"loss:{id(self)}", lambda: [(t.name, t.weight * t.value(ctx)) for t in self.terms])

    def __add__(self, other: Loss) -> Loss:
        return Loss(self.terms + other.terms)

    def __rmul__(self, weight: float) -> Loss:
        return Loss(tuple(replace(term, weight=weight * term.weight) for term in self.terms))

    def __str__(self) -> str:
        return " + ".join(t.name if t.weight == 1 else f"{t.weight:g} {t.name}" for t in self.terms)


def loss(value: Callable[[StepContext], Tensor]) -> Loss:
    """Decorator: make a function from a step context to a scalar a loss of one term, named after the function."""
    return Loss((Term(value.__name__, value),))


def with_roles(objective: Loss, **roles: str) -> Loss:
    """An objective with other nets in the roles: ``with_roles(d_nonsaturating, D="D1")``."""
    return on_view(objective, lambda ctx: ctx.with_roles(**roles))


def on_view(objective: Loss, view: Callable[[StepContext], StepContext]) -> Loss:
    """An objective on what ``view`` makes of each step: other nets in the roles, a shard of the batch, one level."""
    return Loss(tuple(replace(term, value=_on_view(term.value, view)) for term in objective.terms))


def _on_view(
    value: Callable[[StepContext], Tensor], view: Callable[[StepContext], StepContext]
) -> Callable[[StepContext], Tensor]:
    return lambda ctx: value(view(ctx))
