"""The usual PyTorch training loop for the nets and the batch of a recipe: what our loop's speed is compared with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from training.data import DataSet
from training.game.batches import Batches
from training.game.priors import from_priors
from training.game.recipe import Recipe
from training.nets.layers import Dropout
from training.recipes.dcgan import WRONG_LABELS

Nets = Mapping[str, nn.Module]
Latents = Mapping[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class Samples:
    """What the losses of one step see."""

    real: Tensor
    label: Tensor
    fake: Tensor
    z: Latents
    step: int
    is_conditional: bool

    def judge(self, nets: Nets, samples: Tensor, label: Tensor) -> Any:
        """D's output; D takes the label too where the recipe is conditional."""
        return nets["D"](samples, label) if self.is_conditional else nets["D"](samples)

    def on_real(self, nets: Nets) -> Any:
        return self.judge(nets, self.real, self.label)

    def on_fake(self, nets: Nets, fake: Tensor) -> Any:
        return self.judge(nets, fake, self.z.get("y", self.label))


def bce(logit: Tensor, target: float) -> Tensor:
    return F.binary_cross_entropy_with_logits(logit, torch.full_like(logit, target))


def d_plain(nets: Nets, s: Samples) -> Tensor:
    return bce(s.on_real(nets).logit, 1.0) + bce(s.on_fake(nets, s.fake.detach()).logit, 0.0)


def g_plain(nets: Nets, s: Samples) -> Tensor:
    return bce(s.on_fake(nets, s.fake).logit, 1.0)


def d_r1(nets: Nets, s: Samples) -> Tensor:
    """With real samples of wrong labels, and R1 at one step of eight, as ``cdcgan_r1`` has it."""
    s.real.requires_grad_(s.step % 8 == 0)
    real = s.on_real(nets)
    classes = real.heads["classes"]
    is_own = F.one_hot(s.label, classes.shape[1]).bool()
    wrong = F.softplus(classes).masked_fill(is_own, 0).sum(1).mean() / (classes.shape[1] - 1)
    total = bce(real.logit, 1.0) + bce(s.on_fake(nets, s.fake.detach()).logit, 0.0) + WRONG_LABELS * wrong
    if s.step % 8 == 0:
        (slope,) = torch.autograd.grad(real.logit.sum(), s.real, create_graph=True)
        total = total + 4 * slope.flatten(1).square().sum(1).mean()
    return total


def information(heads: Mapping[str, Tensor], z: Latents) -> Tensor:
    return F.cross_entropy(heads["y"], z["y"]) + F.mse_loss(heads["c"], z["c"])


def d_infogan(nets: Nets, s: Samples) -> Tensor:
    fake = nets["D"](s.fake.detach())
    return bce(s.on_real(nets).logit, 1.0) + bce(fake.logit, 0.0) + information(fake.heads, s.z)


def g_infogan(nets: Nets, s: Samples) -> Tensor:
    fake = nets["D"](s.fake)
    return bce(fake.logit, 1.0) + information(fake.heads, s.z)


def d_salimans(nets: Nets, s: Samples) -> Tensor:
    """The batch's own labels stand for the labelled samples."""
    labelled = F.cross_entropy(nets["D"](s.real).logit, s.label)
    real, fake = nets["D"](s.real).logit.logsumexp(1), nets["D"](s.fake.detach()).logit.logsumexp(1)
    return labelled + (bce(real, 1.0) + bce(fake, 0.0)) / 2


def g_salimans(nets: Nets, s: Samples) -> Tensor:
    with torch.no_grad():  # no gradient of G goes through real samples
        wanted = nets["D"](s.real).features.mean(0)
    return F.mse_loss(nets["D"](s.fake).features.mean(0), wanted)


LossFunction = Callable[[Nets, Samples], Tensor]
LOSSES: Mapping[str, tuple[LossFunction, LossFunction]] = {
    "cdcgan_r1": (d_r1, g_plain),
    "infogan": (d_infogan, g_infogan),
    "salimans": (d_salimans, g_salimans),
}
"""D's and G's loss of the recipes whose losses are not the plain ones."""


def with_torch_dropout(net: nn.Module) -> nn.Module:
    """The net with ``nn.Dropout`` where it has our own, which is faster."""
    for module in list(net.modules()):
        for name, part in module.named_children():
            if isinstance(part, Dropout):
                setattr(module, name, nn.Dropout(part.p))
    return net


def usual_loop(recipe: Recipe, data: DataSet) -> Iterator[float]:
    """Train without end, a step of the recipe's length at a time; yields G's loss.

    A DataLoader makes the batches, each loss is read by ``.item()``, both players have torch's Adam, and the samples of D's
    update serve G's where the recipe updates both at once. The data are floats already: decoding is not measured.
    """
    latents = recipe.latents(len(data.classes))
    nets = {name: with_torch_dropout(net) for name, net in recipe.nets(data.shape, latents).items()}
    d_loss, g_loss = LOSSES.get(recipe.name, (d_plain, g_plain))
    optimizers = {name: torch.optim.Adam(nets[name].parameters(), lr=2e-4, betas=(0.5, 0.999)) for name in ("D", "G")}
    scaled = Batches(data, recipe.batch, seed=0, pixels=recipe.pixels).scale(data.items)
    labels = torch.zeros(len(data), dtype=torch.int64) if data.labels is None else data.labels
    loader = DataLoader(TensorDataset(scaled, labels), batch_size=recipe.batch, shuffle=True, drop_last=True)
    updates = recipe.schedule.updates(10**6)
    d_updates, is_joint = sum("D" in update.players for update in updates), len(updates) == 1
    batch = 0
    while True:
        for real, label in loader:
            z = from_priors(latents, recipe.batch, real.device)
            fake = nets["G"](**z)
            step = batch // d_updates
            s = Samples(real=real, label=label, fake=fake, z=z, step=step, is_conditional=recipe.is_conditional)
            optimizers["D"].zero_grad()
            loss = d_loss(nets, s)
            loss.backward()
            optimizers["D"].step()
            loss.item()
            batch += 1
            if batch % d_updates:
                continue
            if not is_joint:
                z = from_priors(latents, recipe.batch, real.device)
                fake = nets["G"](**z)
                s = Samples(real=real, label=label, fake=fake, z=z, step=step, is_conditional=recipe.is_conditional)
            optimizers["G"].zero_grad()
            loss = g_loss(nets, s)
            loss.backward()
            optimizers["G"].step()
            yield loss.item()
