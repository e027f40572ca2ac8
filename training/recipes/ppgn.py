"""PPGN: a generator of images from a classifier's features, sampled by climbing to a class."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from contract import Categorical, Latents, Normal
from contract.latents import classes_of
from training.game.batches import Batches
from training.game.gates import loss_ratio
from training.game.optimisers import adam
from training.game.recipe import Nets, Player, Recipe, Variant
from training.losses.plug_and_play import d_on_reconstructions, g_on_reconstructions, layer_error, pixel_error
from training.metrics.rows import PARITY
from training.nets.plug_and_play import FeatureClassifier, FeatureGenerator, PlugAndPlay, UnconditionalDiscriminator

EPOCHS = 4
"""Passes over the data, in which each classifier is trained."""
CLASSIFIER_BATCH = 100
NOISE = 0.3
"""Deviation of the noise on the pixels that the classifiers learn from: it makes their gradients those of shapes."""


@dataclass(frozen=True, kw_only=True)
class Chain:
    """A recipe's ``sampler``: the chain on the trained nets."""

    steps: int
    prior: float
    rate: tuple[float, float]
    """Of the first and of the last step; it falls by the same factor from step to step."""
    classifier: str = "C"
    """Net of the likelihood that is climbed; features are always those of ``C``."""

    def __call__(self, nets: Mapping[str, nn.Module]) -> nn.Module:
        """The module from start features and classes to images."""
        g = cast(FeatureGenerator, nets["G"])
        encoder, c = (cast(FeatureClassifier, nets[name]) for name in ("C", self.classifier))
        first, last = self.rate
        rates = [first * (last / first) ** (step / max(1, self.steps - 1)) for step in range(self.steps)]
        return PlugAndPlay(g, encoder, c, rates=rates, prior=self.prior)


def prepare(nets: Mapping[str, nn.Module], batches: Batches, seed: int) -> None:
    """Train the classifiers, of the class and of its parity, and freeze them."""
    _fit(nets["C"], batches, seed, lambda y: y)
    _fit(nets["P"], batches, seed, lambda y: y % 2)


def _fit(net: nn.Module, batches: Batches, seed: int, label: Callable[[Tensor], Tensor]) -> None:
    net.requires_grad_(True)
    optimiser = torch.optim.Adam(net.parameters(), 1e-3)
    dice = torch.Generator().manual_seed(seed)
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(batches), generator=dice).split(CLASSIFIER_BATCH):
            known = batches.rows(rows.to(batches.data.items.device))
            assert known.y is not None
            optimiser.zero_grad()
            noise = NOISE * torch.randn(known.x.shape, generator=dice).to(known.x.device)
            F.cross_entropy(net(known.x + noise), label(known.y)).backward()
            optimiser.step()
    net.requires_grad_(False)


def ppgn(name: str, *, summary: str, width: int, steps: int, chain: Chain) -> Recipe:
    """The noiseless joint PPGN-h with dense nets.

    Args:
        name: name of the recipe.
        summary: one line.
        width: units of the hidden layers.
        steps: training steps.
        chain: how samples are drawn.
    """
    features = 128

    def nets(shape: tuple[int, ...], latents: Latents) -> Nets:
        counts = classes_of(latents), len(PARITY)
        c, parity = (FeatureClassifier(shape, count, hidden=width, features=features) for count in counts)
        return {
            "G": FeatureGenerator(features, [width, width], shape),
            "D": UnconditionalDiscriminator(shape, [width, width // 2]),
            "C": c.requires_grad_(False),
            "P": parity.requires_grad_(False),
        }

    return Recipe(
        name=name,
        summary=summary,
        paper="Nguyen et al. 2017, arXiv:1612.00005; Evolving-AI-Lab/ppgn",
        data="mnist",
        latents=lambda classes: {"h": Normal(features), "y": Categorical(classes)},
        nets=nets,
        prepare=prepare,
        players=(
            Player(name="D", nets=("D",), loss=d_on_reconstructions, optimiser=adam(2e-4, (0.5, 0.999))),
            Player(
                name="G",
                nets=("G",),
                loss=0.2 * pixel_error + 0.02 * layer_error + g_on_reconstructions,
                optimiser=adam(1e-3, (0.9, 0.999)),
            ),
        ),
        gate=loss_ratio(g_loss="G/g_on_reconstructions"),
        batch=64,
        steps=steps,
        pixels="unit",
        conditions=("y",),
        sampler=chain,
        variants=(
            Variant(
                name="parity",
                summary="the same nets, a classifier of parity in the place of that of the class",
                sampler=replace(chain, classifier="P"),
                latents=lambda classes: {"h": Normal(features), "y": Categorical(len(PARITY))},
                classes=PARITY,
            ),
            Variant(
                name="no-prior",
                summary="the same nets, without the reconstruction of features (DGN-AM)",
                sampler=replace(chain, prior=0.0),
                latents=lambda classes: {"h": Normal(features), "y": Categorical(classes)},
            ),
        ),
    )


RECIPES = (
    ppgn(
        "ppgn",
        summary="digits from a classifier's features; sampling climbs to a class, the gradient inside the exported graph",
        width=1_024,
        steps=40_000,
        chain=Chain(steps=50, prior=0.01, rate=(0.2, 0.02)),
    ),
    ppgn(
        "ppgn_small",
        summary="the same, a quarter as wide, 30 steps of sampling",
        width=256,
        steps=16_000,
        chain=Chain(steps=30, prior=0.01, rate=(0.3, 0.03)),
    ),
)
