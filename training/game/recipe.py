"""A game as data: what a recipe names, and nothing of how it is played."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from contract import Latents
from training.data import Pixels
from training.game.batches import Batches
from training.game.gates import Gate, always
from training.game.objective import Loss
from training.game.optimisers import Optimiser
from training.game.priors import from_priors
from training.game.schedules import Schedule, alternate
from training.game.step import Batch

Nets = dict[str, nn.Module]
Hyperparameters = Callable[[int, int], Mapping[str, float | tuple[float, float]]]
Deal = Callable[[Latents, int, torch.device], dict[str, Tensor]]
Prepare = Callable[[Mapping[str, nn.Module], Batches, int], None]
"""From the nets by role, the training data and the run's seed, to the nets changed in place."""
Examine = Callable[[Mapping[str, nn.Module], Batch], dict[str, float]]
"""From the nets that samples are drawn from, in evaluation mode, and all test samples, to named numbers."""


@dataclass(frozen=True, kw_only=True)
class Player:
    """One side of the game."""

    name: str
    """``D``, ``G``, or what the paper calls it."""
    nets: tuple[str, ...]
    """Names of the nets that it owns; its gradient is taken by their parameters alone."""
    loss: Loss
    """What it minimises."""
    optimiser: Optimiser
    """How it moves."""
    hyperparameters: Hyperparameters | None = None
    """Optimiser settings as a function of the step and of how many there will be; None keeps them."""
    before: Callable[[Mapping[str, nn.Module]], None] | None = None
    """What happens before the losses of a move of its, to the nets in place (weight clipping); None does nothing."""
    after: Callable[[Mapping[str, nn.Module]], None] | None = None
    """What happens after its step, to the nets in place; None does nothing."""


@dataclass(frozen=True)
class Ema:
    """An exponential moving average of some nets, from which samples are drawn: theta' <- decay theta' + (1-decay) theta."""

    decay: float | Callable[[int], float]
    """One number, or a function of the step."""
    nets: tuple[str, ...] = ("G",)

    def at(self, step: int) -> float:
        """The decay of that step."""
        return self.decay(step) if callable(self.decay) else self.decay


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that defines a GAN system, named part by part."""

    name: str
    """What the command line calls it."""
    summary: str
    """One line for the list of recipes."""
    paper: str
    """Where it stands: authors, year, arXiv id or code."""
    data: str
    """The data set that it is played on unless told otherwise."""
    size: int | None = None
    """Side to which images are brought; None leaves them as they are."""
    latents: Callable[[int], Latents]
    """What G is fed, given the number of classes of the data."""
    nets: Callable[[tuple[int, ...], Latents], Nets]
    """The nets by role, freshly initialised, given the shape of one sample and the latents; needs a ``G``."""
    prepare: Prepare | None = None
    """What the fresh nets take from the training data before the first step: statistics for weights, a labelled subset."""
    players: tuple[Player, ...]
    """Who plays."""
    schedule: Schedule = alternate()
    """Who moves when."""
    gate: Gate = always
    """Who is allowed to."""
    ema: Ema | None = None
    """What is averaged; None samples from the nets themselves."""
    batch: int
    """Real samples a deal."""
    steps: int
    """How long, in rounds of the schedule."""
    pixels: Pixels = "tanh"
    """Range in which nets see images: ``unit`` is [0,1], ``tanh`` is [-1,1]."""
    conditions: tuple[str, ...] = ()
    """Latents that D is told too, and that real samples' labels stand in for."""
    sample_latents: Deal = from_priors
    """How latents are drawn in training."""
    transform_real: Callable[[Batch], Batch] | None = None
    """What happens to a real batch before the nets see it; None leaves it."""
    sampler: Callable[[Mapping[str, nn.Module]], nn.Module] = lambda nets: nets["G"]
    """The module from latents to a sample, in the nets' own range, that is exported."""
    examine: Examine | None = None
    """What nets other than G are worth, by name, on test samples; None examines nothing."""
    log_every: int = 50
    """Steps between two records, each the mean over them."""

    @property
    def is_conditional(self) -> bool:
        return bool(self.conditions)
