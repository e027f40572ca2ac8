"""Parzen window log-likelihood by the original protocol (Goodfellow et al., arXiv:1406.2661, section 5; their parzen_ll.py).

A Gaussian of width sigma stands on each sample. sigma is the one of ten that suits validation images best; the figure is the
mean log-likelihood of the test images. It can be gamed (Theis et al., arXiv:1511.01844: k-means centres beat real images), so
it is only shown next to the same figure with training images as the samples.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

CENTRES = 10_000
"""Samples that the protocol stands Gaussians on."""
VALIDATION = 1_000
"""Images that choose sigma: the first of the last sixth of the training images, of MNIST 50,000 to 51,000."""
SIGMAS = tuple(float(sigma) for sigma in np.logspace(-1, 0, 10))
CHUNK = 500
"""Images at a time: 500 x 10,000 float64 distances are 40 MB."""


@dataclass(frozen=True)
class LogLikelihood:
    """The figure of one set of centres, in nats."""

    mean: float
    error: float
    """Standard deviation over the test images / sqrt(their count)."""
    sigma: float


def parzen(centres: Tensor, validation: Tensor, test: Tensor) -> LogLikelihood:
    """Choose sigma on the validation images, measure on the test images; all uint8 [N,C,H,W], any counts."""
    centres, validation, test = map(_flat, (centres, validation, test))
    means = [float(row.mean()) for row in log_likelihoods(centres, validation, SIGMAS)]
    sigma = SIGMAS[int(np.argmax(means))]
    values = log_likelihoods(centres, test, (sigma,))[0]
    return LogLikelihood(float(values.mean()), float(values.std(correction=0)) / math.sqrt(len(values)), sigma)


def log_likelihoods(centres: Tensor, points: Tensor, sigmas: tuple[float, ...]) -> Tensor:
    """Log of the mean over j of N(x; mu_j, sigma^2 I), float64 [S,N], for float64 centres [M,D] and points [N,D].

    Distances are |x|^2 - 2 x.mu + |mu|^2 in float64: at D = 784 and pixels in [0,1] off by less than 1e-12 of |x|^2.
    """
    count, width = centres.shape
    lengths = centres.square().sum(1)
    parts = []
    for part in torch.split(points, CHUNK):
        squares = torch.addmm(lengths, part, centres.T, alpha=-2.0) + part.square().sum(1, keepdim=True)
        parts.append(torch.stack([(squares / (-2 * sigma * sigma)).logsumexp(1) for sigma in sigmas]))
    norms = [math.log(count) + width * math.log(sigma * math.sqrt(2 * math.pi)) for sigma in sigmas]
    return torch.cat(parts, 1) - torch.tensor(norms, dtype=torch.float64, device=centres.device)[:, None]


def _flat(images: Tensor) -> Tensor:
    """uint8 [N,...] as float64 [N,D] in [0,1]."""
    return images.flatten(1).double() / 255
