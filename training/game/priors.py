"""Latents in training: drawn from the declared priors, by torch, on the device."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from contract import Categorical, Latent, Latents, Normal, Uniform


def from_priors(latents: Latents, n: int, device: torch.device) -> dict[str, Tensor]:
    """n independent rows of each latent: float32 [n,size] or int64 [n]."""
    return {name: _rows(latent, n, device) for name, latent in latents.items()}


def stratified(latents: Latents, n: int, device: torch.device) -> dict[str, Tensor]:
    """n rows spread evenly, in order: linspace(low, high, n) plus U(0, .01), as gan-intro draws its noise."""
    return {name: _spread(latent, n, device) for name, latent in latents.items()}


def _rows(latent: Latent, n: int, device: torch.device) -> Tensor:
    match latent:
        case Normal(size):
            return torch.randn(n, size, device=device)
        case Uniform(size, low, high):
            return torch.empty(n, size, device=device).uniform_(low, high)
        case Categorical(classes):
            return torch.randint(classes, (n,), device=device)


def _spread(latent: Latent, n: int, device: torch.device) -> Tensor:
    if not isinstance(latent, Uniform):
        raise TypeError(f"only a uniform latent can be stratified, got {latent!r}")
    return _line(latent.low, latent.high, n, device) + 0.01 * torch.rand(n, latent.size, device=device)


@lru_cache(maxsize=16)
def _line(low: float, high: float, n: int, device: torch.device) -> Tensor:
    """n values from low to high, [n,1], made once."""
    return torch.linspace(low, high, n, device=device)[:, None]
