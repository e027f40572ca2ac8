"""GMAM: two finished games compared by evaluating each one's discriminators on the other's generator.

Durugkar et al. (arXiv:1611.01673, eq. 8), after GAM of Im et al. (arXiv:1602.05110). V is the value of the game, never above 0,
and the lower the better for the generator, so that each quotient below says how much better the second's is.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from contract import draw
from training.data import DataSet
from training.errors import ScoreError
from training.export.sample_grid import evaluating, sampler_of
from training.game.loop import Game
from training.game.step import Batch

BATCH = 100
"""Samples at a time."""
_DISCRIMINATOR = re.compile(r"D\d*")


@dataclass(frozen=True, kw_only=True)
class Contestant:
    """One finished game."""

    game: Game
    data: DataSet
    """What it was trained on."""
    lam: float | None = None
    """How its discriminators' values are weighted: softmax of lam V_i; 0 is their mean, infinity the greatest. None is what the
    game learned, the answer of its net ``mix``, and 0 where it has none."""

    @property
    def sharpness(self) -> float:
        """The lambda that counts."""
        mix = self.game.nets.get("mix")
        return self.lam if self.lam is not None else 0.0 if mix is None else float(mix().detach())


@dataclass(frozen=True)
class Comparison:
    """How much better the second game's generator is, by the discriminators of either."""

    by_first: float
    """log of F1(G2) / F1(G1)."""
    by_second: float
    """log of F2(G2) / F2(G1)."""

    @property
    def value(self) -> float:
        """GMAM: positive where the second's generator is the better, negative where the first's is."""
        return self.by_first + self.by_second

    @property
    def is_agreed(self) -> bool:
        """Whether both sets of discriminators prefer the same generator; where not, the value says which of them is surer.

        A game whose discriminators take everything for real speaks loudly for its own generator.
        """
        return self.by_first * self.by_second > 0


def gmam(first: Sequence[float], second: Sequence[float]) -> Comparison:
    """GMAM of the second game over the first, from each one's aggregated value against (the other's G, its own G).

    Raises:
        ScoreError: a value is not below 0 and finite.
    """
    if not all(-math.inf < value < 0 for value in (*first, *second)):
        raise ScoreError(f"values of a game must be below 0 and finite, got {[*first, *second]}")
    return Comparison(math.log(first[0] / first[1]), math.log(second[1] / second[0]))


def value_of(on_real: Tensor, on_fake: Tensor) -> float:
    """V = E log D(x) + E log(1 - D(G(z))) of logits [N] and [M], with D = .98 sigmoid + .01, as iDurugkar/GMAN has it.

    So V is never 0, and one sample of which a discriminator is too sure does not decide it.
    """
    return float(_squashed(on_real).log().mean() + _squashed(-on_fake).log().mean())


def _squashed(logit: Tensor) -> Tensor:
    return 0.98 * logit.double().sigmoid() + 0.01


def aggregated(values: Sequence[float], lam: float) -> float:
    """Values of several discriminators as one, weighted by softmax(lam V): GMAN's F (section 4.1)."""
    if math.isinf(lam):
        return max(values)
    all_values = torch.tensor(values, dtype=torch.float64)
    return float((all_values * (lam * all_values).softmax(0)).sum())


def compare(first: Contestant, second: Contestant, real: DataSet, *, samples: int) -> Comparison:
    """GMAM of the second over the first, on samples of seeds 0, 1, 2, ... and as many real ones.

    Discriminators run in evaluation mode, without dropout; the authors' code leaves it on.

    Raises:
        ScoreError: the games are of other data or conditions, or have no discriminator that gives one logit a sample.
    """
    if first.data.name != second.data.name or first.data.shape != second.data.shape:
        raise ScoreError(f"both games must be of the same data, got {_about(first)} and {_about(second)}")
    if first.game.recipe.conditions != second.game.recipe.conditions:
        raise ScoreError("both discriminators must be told the same conditions, or none")
    fakes = [fakes_of(contestant, samples) for contestant in (first, second)]
    own, others = fakes[0], fakes[1]
    return gmam(
        [_value_by(first, fake, real, samples) for fake in (others, own)],
        [_value_by(second, fake, real, samples) for fake in (own, others)],
    )


@dataclass(frozen=True)
class Fakes:
    """Samples before rounding and what they were drawn from."""

    items: Tensor
    """float32 [N,C,H,W] in 0..255, or points [N,k]."""
    latents: Mapping[str, Tensor]


@torch.no_grad()
def fakes_of(contestant: Contestant, samples: int) -> Fakes:
    """Samples of seeds 0..N-1, as training saw them: not rounded."""
    game, data = contestant.game, contestant.data
    drawn = {name: torch.from_numpy(rows).to(game.device) for name, rows in draw(game.latents, range(samples)).items()}
    sampler = sampler_of(game, data)
    with evaluating(sampler):
        parts = [sampler.levels(*rows) for rows in zip(*(t.split(BATCH) for t in drawn.values()), strict=True)]
    items = torch.cat(parts)
    return Fakes(items.permute(0, 3, 1, 2).contiguous() if data.is_image else items, drawn)


@torch.no_grad()
def _value_by(contestant: Contestant, fakes: Fakes, real: DataSet, samples: int) -> float:
    game = contestant.game
    conditioning = {name: fakes.latents[name] for name in game.recipe.conditions}
    on_fake = Batch(game.batches.scale(fakes.items))
    on_real = Batch(game.batches.scale(real.items[:samples].to(game.device)), _labels(real, samples, game))
    reals = game.recipe.transform_real(on_real) if game.recipe.transform_real else on_real
    known = dict.fromkeys(game.recipe.conditions, reals.y)
    values = []
    for name, net in _discriminators(game).items():
        with evaluating(net):
            values.append(value_of(_logits(name, net, reals.x, known), _logits(name, net, on_fake.x, conditioning)))
    return aggregated(values, contestant.sharpness)


def _labels(real: DataSet, samples: int, game: Game) -> Tensor | None:
    return None if real.labels is None else real.labels[:samples].to(game.device)


def _discriminators(game: Game) -> dict[str, nn.Module]:
    """D, or D0, D1, ...: the nets of those names."""
    found = {name: net for name, net in game.nets.items() if _DISCRIMINATOR.fullmatch(name)}
    if not found:
        raise ScoreError(f"{game.recipe.name} has no net called D or D1, D2, ...: {', '.join(game.nets)}")
    return found


def _logits(name: str, net: nn.Module, x: Tensor, conditioning: Mapping[str, Any]) -> Tensor:
    given = zip(x.split(BATCH), *(rows.split(BATCH) for rows in conditioning.values()), strict=True)
    parts = [net(part, **dict(zip(conditioning, rows, strict=True))).logit for part, *rows in given]
    if parts[0].ndim != 1:
        raise ScoreError(f"{name} gives {parts[0].shape[1]} logits a sample; GMAM needs one")
    return torch.cat(parts)


def _about(contestant: Contestant) -> str:
    return f"{contestant.data.name} {list(contestant.data.shape)}"
