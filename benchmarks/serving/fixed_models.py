"""The models that are served: seeded, untrained weights, through the project's own exporter, so that all have the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from contract import Card, Image, Latents, Uniform
from training.data import Pixels
from training.export.samplers import ImageSampler
from training.export.to_onnx import export, package_versions
from training.nets import conv, mlp
from training.nets.layers import initialise, uniform

SEED = 7
ROWS = 256
"""Batch of latents from which batch normalisation takes its statistics: without any, every pixel were the same grey."""


@dataclass(frozen=True, kw_only=True)
class FixedModel:
    """A generator and what its card says."""

    recipe: str
    net: Callable[[], nn.Module]
    latents: Latents
    image: Image
    pixels: Pixels


MODELS = {
    "mlp28": FixedModel(
        recipe="renom",
        image=Image(28, 28, 1),
        latents={"z": Uniform(100, 0.0, 1.0)},
        pixels="unit",
        net=lambda: initialise(mlp.generator_norm_first(100, [1200, 1200], (1, 28, 28)), uniform(0.05)),
    ),
    "dcgan64": FixedModel(
        recipe="dcgan64",
        image=Image(64, 64, 3),
        latents={"z": Uniform(100)},
        pixels="tanh",
        net=lambda: conv.dcgan_generator(100, (3, 64, 64), width=64, last=nn.Tanh()),
    ),
    "slow": FixedModel(
        recipe="dcgan64",
        image=Image(64, 64, 3),
        latents={"z": Uniform(100)},
        pixels="tanh",
        net=lambda: conv.dcgan_generator(100, (3, 64, 64), width=128, last=nn.Tanh()),
    ),
}
"""By name: a multilayer perceptron of 2.5 million weights, DCGAN with 64 channels before the image, and with 128.

The last is so slow that one client process can ask ten times what two cores give. A perceptron is never that slow in batches.
"""
CONTEST = ("mlp28", "dcgan64")
"""Those that servers are compared with."""


def build(name: str, path: Path, *, seed: int = SEED) -> Path:
    """The model in a file, made unless it is there already; other weights by another seed."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        model = MODELS[name]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            net = _settled(model.net(), model.latents["z"])
        export(ImageSampler(net, tuple(model.latents), model.pixels), _card(name, model), path)
    return path


def _settled(net: nn.Module, z: object) -> nn.Module:
    """The net with the statistics of batch normalisation that one batch gives."""
    assert isinstance(z, Uniform)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.momentum = None  # the mean of all batches seen, here one
    with torch.no_grad():
        net.train()(z=torch.rand(ROWS, z.size) * (z.high - z.low) + z.low)
    return net.eval()


def _card(name: str, model: FixedModel) -> Card:
    return Card(
        name=name,
        recipe=model.recipe,
        paper="none: fixed weights",
        latents=model.latents,
        output=model.image,
        data="none",
        data_licence="none",
        steps=0,
        images=0,
        versions=package_versions(),
        runtime="",
    )
