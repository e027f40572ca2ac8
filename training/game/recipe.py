"""A recipe: a GAN system as data. The loop that trains it is in ``training.game.loop``."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, replace
from typing import Literal, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from contract import Latents
from contract.pictures import PICTURE
from training.data import Pixels
from training.game.batches import Batches
from training.game.gates import Gate, always
from training.game.objective import Loss
from training.game.optimisers import Optimiser
from training.game.priors import from_priors
from training.game.schedules import Schedule, alternate
from training.game.step import Batch

Nets = dict[str, nn.Module]
Choice = Literal["best", "last"]
"""Weights of a run: of the evaluation with the lowest KID, or of the last step."""
ToPicture = Callable[[Tensor], Tensor]
"""From real images [N,C,H,W] in the recipe's range to the pictures that G changes, of the same shape and range."""
Hyperparameters = Callable[[int, int], Mapping[str, float | tuple[float, float]]]
SampleLatents = Callable[[Latents, int, torch.device], dict[str, Tensor]]
Prepare = Callable[[Mapping[str, nn.Module], Batches, int], None]
"""From the nets by role, the training data and the run's seed; it changes the nets in place."""
Hook = Callable[[Mapping[str, nn.Module], int], None]
"""From the nets by role and the step; it changes the nets in place."""


@runtime_checkable
class PhasedHook(Protocol):
    """A hook that also decides which operations the nets compute; on a GPU each phase has graphs of its own."""

    def __call__(self, nets: Mapping[str, nn.Module], step: int, /) -> None:
        """As every hook."""

    def phase(self, nets: Mapping[str, nn.Module], /) -> Hashable:
        """What the operations depend on, as the nets are now."""


Examine = Callable[[Mapping[str, nn.Module], Batch], dict[str, float]]
"""From the nets that samples are drawn from, in evaluation mode, and all test samples, to numbers by name."""


@dataclass(frozen=True, kw_only=True)
class Player:
    """One side of the game."""

    name: str
    """``D``, ``G``, or the paper's name for it."""
    nets: tuple[str, ...]
    """Names of the nets that it trains; no other player may train them, unless it shares them."""
    shares_nets: bool = False
    """Whether its nets are another player's too, in other updates: a pre-training has an optimiser of its own."""
    loss: Loss
    """Loss that it minimises."""
    optimiser: Optimiser
    """Optimiser of its nets."""
    hyperparameters: Hyperparameters | None = None
    """Optimiser settings as a function of the step and of the number of steps; None keeps them constant."""
    before: Hook | None = None
    """Hook before the losses of its update: weight clipping, the growth of the nets."""
    after: Hook | None = None
    """Hook after its update; on a GPU it may change tensors in place only, since graphs read them where they are."""
    has_idle_weights: bool = False
    """Whether an update may use only some of its weights; the others keep their values and their optimiser states."""


def d_and_g(d: Loss, g: Loss, optimiser: Optimiser, hyperparameters: Hyperparameters | None = None) -> tuple[Player, Player]:
    """The usual two players: ``D`` and ``G``, each with the net of its name, by one kind of optimiser."""
    return (
        Player(name="D", nets=("D",), loss=d, optimiser=optimiser, hyperparameters=hyperparameters),
        Player(name="G", nets=("G",), loss=g, optimiser=optimiser, hyperparameters=hyperparameters),
    )


@dataclass(frozen=True)
class Ema:
    """Exponential moving average of some nets, from which samples are drawn: theta' <- decay theta' + (1-decay) theta."""

    decay: float | Callable[[int], float]
    """A number, or a function of the step."""
    nets: tuple[str, ...] = ("G",)

    def at(self, step: int) -> float:
        """The decay of that step."""
        return self.decay(step) if callable(self.decay) else self.decay

    @torch.no_grad()
    def update(self, averages: Mapping[str, nn.Module], nets: Mapping[str, nn.Module], step: int) -> None:
        """Move the averages towards the weights of their nets; buffers are copied."""
        share = 1 - self.at(step)
        for name, average in averages.items():
            torch._foreach_lerp_(list(average.parameters()), list(nets[name].parameters()), share)
            for kept, current in zip(average.buffers(), nets[name].buffers(), strict=True):
                kept.copy_(current)


@dataclass(frozen=True, kw_only=True)
class Variant:
    """Another sampler of a recipe's nets, exported as a file of its own by ``export --variant``; nothing is trained again."""

    name: str
    """Name of the variant."""
    summary: str
    """One line for the list of recipes."""
    sampler: Callable[[Mapping[str, nn.Module]], nn.Module]
    """The module from latents to a sample."""
    latents: Callable[[int], Latents]
    """Its inputs, given the number of classes of the data."""
    classes: tuple[str, ...] = ()
    """Names of the values of the latent ``y``; empty for those of the data."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that defines a GAN system, named part by part."""

    name: str
    """Name on the command line."""
    summary: str
    """One line for the list of recipes."""
    paper: str
    """Source: authors, year, arXiv id or code."""
    data: str
    """Default data set."""
    size: int | None = None
    """Side of the images; None keeps the data's own."""
    latents: Callable[[int], Latents]
    """G's inputs, given the number of classes of the data."""
    nets: Callable[[tuple[int, ...], Latents], Nets]
    """The nets by role, freshly initialised, given a sample's shape and the latents: ``G`` (or ``G1``, ``G2``), ``D`` ..."""
    prepare: Prepare | None = None
    """What the new nets take from the training data before the first step: statistics for weights, a labelled subset."""
    players: tuple[Player, ...]
    """The players."""
    schedule: Schedule = alternate()
    """Which players update at each step, in which order."""
    gate: Gate = always
    """Which of them may update, given the latest losses."""
    ema: Ema | None = None
    """Average of nets; None samples from the nets themselves."""
    batch: int
    """Real samples per batch."""
    least_batch: int = 1
    """Fewest real samples of a batch, on each rank, with which its losses have a value."""
    steps: int
    """Number of training steps; each is one pass of the schedule."""
    pixels: Pixels = "tanh"
    """Range in which the nets see images: ``unit`` is [0,1], ``tanh`` is [-1,1]."""
    conditions: tuple[str, ...] = ()
    """Names of the inputs of G that D receives too; for real samples it receives their labels instead of latents."""
    are_labels_optional: bool = False
    """Whether it also trains on data without labels; there it has no conditions but a picture."""
    picture: ToPicture | None = None
    """Makes the pictures that are changed from real images: the input ``picture`` of G, and of D if ``conditions`` names it."""
    is_picture_optional: bool = False
    """Whether samples need no picture: G takes none then, and the exported module ``has_picture``, bool [N], as well."""
    sample_latents: SampleLatents = from_priors
    """How latents are drawn in training."""
    transform_real: Callable[[Batch], Batch] | None = None
    """Applied to a real batch before the nets see it; None changes nothing."""
    sampler: Callable[[Mapping[str, nn.Module]], nn.Module] = lambda nets: nets["G"]
    """The module from latents to a sample, in the nets' own range, that is exported."""
    variants: tuple[Variant, ...] = ()
    """Other samplers of the same nets."""
    examine: Examine | None = None
    """Measures of nets other than G on test samples; None measures nothing."""
    bfloat16: Literal["untested", "equal", "forbidden"] = "untested"
    """What computing its nets in bfloat16 does: nothing that its measure sees over three seeds (equal), or harm."""
    export: Choice = "last"
    """The weights that are exported: ``best`` where a run of this length collapses late."""
    log_every: int = 50
    """Steps between two records, each the mean over them."""

    @property
    def is_conditional(self) -> bool:
        """Whether it needs the labels of the real samples."""
        return "y" in self.conditions

    def for_data(self, has_labels: bool) -> Recipe:
        """This recipe, without the conditions that are labels where they are optional and the data has none."""
        if has_labels or not self.are_labels_optional:
            return self
        return replace(self, conditions=tuple(name for name in self.conditions if name == PICTURE))

    @property
    def needs_picture(self) -> bool:
        """Whether no sample can be made without a picture."""
        return self.picture is not None and not self.is_picture_optional
