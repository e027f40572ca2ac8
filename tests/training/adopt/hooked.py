"""Generators with weights that a hook computes before each call, in front of a batch normalisation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn.utils import spectral_norm, weight_norm


def chain(hooked: Callable[[nn.Module], nn.Module]) -> nn.Module:
    """z [n,12,1,1] to [n,1,4,4] in [-1,1]."""
    torch.manual_seed(1)
    return nn.Sequential(hooked(nn.ConvTranspose2d(12, 8, 4)), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 1, 1), nn.Tanh())


def spectral() -> nn.Module:
    return chain(spectral_norm)


def weighted() -> nn.Module:
    return chain(weight_norm)


def doubled() -> nn.Module:
    """By a hook of its author's, which keeps the weight as a plain tensor."""
    return chain(_double)


def _double(layer: nn.Module) -> nn.Module:
    layer.half_weight = nn.Parameter(layer.weight.detach() / 2)
    del layer.weight
    _before(layer)
    layer.register_forward_pre_hook(_before)
    return layer


def _before(layer: nn.Module, *_: Any) -> None:
    layer.weight = layer.half_weight.detach() * 2
