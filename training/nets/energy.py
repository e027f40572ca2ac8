"""EBGAN's nets: a discriminator that is an auto-encoder, and a generator, both of dense layers."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn

from training.game.step import DiscriminatorOutput
from training.nets import mlp
from training.nets.layers import Dropout, initialise, normal


class AutoEncoder(nn.Module):
    """Samples [N,...] to minus the Euclidean distance to their reconstruction, [N]; the features are the code [N,F].

    There is no energy from which a sample is taken for real: where the game ends well both kinds lie about the margin.
    """

    def __init__(self, encoder: nn.Sequential, decoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder

    def forward(self, x: Tensor) -> DiscriminatorOutput:
        flat = x.flatten(1)
        code: Tensor = self.encoder(flat)
        energy = torch.linalg.vector_norm(self.decoder(code) - flat, dim=1)
        return DiscriminatorOutput(-energy, code, threshold=None)


def generator(z: int, shape: tuple[int, ...], *, layers: int, size: int) -> mlp.Generator:
    """``layers`` dense layers of ``size``, batch normalisation and ReLU after all but the last, tanh after that."""
    sizes = [z] + [size] * (layers - 1)
    body = [layer for a, b in pairwise(sizes) for layer in (nn.Linear(a, b), nn.BatchNorm1d(b), nn.ReLU())]
    net = mlp.Generator(nn.Sequential(*body, nn.Linear(sizes[-1], math.prod(shape)), nn.Tanh()), shape)
    initialise(net, normal(0.02))
    return net


def auto_encoder(shape: tuple[int, ...], *, layers: int, size: int, dropout: float) -> AutoEncoder:
    """``layers`` dense layers, the last of them the decoder."""
    encoder = _dense(math.prod(shape), layers - 1, size, dropout)
    net = AutoEncoder(encoder, nn.Linear(size, math.prod(shape)))
    initialise(net, normal(0.002))
    return net


def discriminator(shape: tuple[int, ...], *, layers: int, size: int, dropout: float) -> mlp.Discriminator:
    """The same net with one logit in the place of the decoder: the plain GAN of the comparison."""
    net = mlp.Discriminator(_dense(math.prod(shape), layers - 1, size, dropout), size)
    initialise(net, normal(0.002))
    return net


def _dense(inputs: int, layers: int, size: int, dropout: float) -> nn.Sequential:
    """Dense layers, each with ReLU and dropout, batch normalisation in all but the first."""
    parts: list[nn.Module] = []
    for number, (a, b) in enumerate(pairwise([inputs] + [size] * layers)):
        norm = [nn.BatchNorm1d(b)] if number else []
        parts += [nn.Linear(a, b), *norm, nn.ReLU(), *([Dropout(dropout)] if dropout else [])]
    return nn.Sequential(*parts)
