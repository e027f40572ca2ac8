"""Measures of StackedMNIST: how many of its 1,000 modes the samples show, and how evenly.

PacGAN's protocol (arXiv:1712.04086, section 4.2): a classifier names the digit of each channel, three digits are a mode, and
26,000 samples are drawn.
"""

from __future__ import annotations

import numpy as np
import scipy
import torch
from torch import Tensor

from training.data.stacked import MODES
from training.metrics.classifier import Classifier
from training.metrics.points import uneven

SAMPLES = 26_000
"""What the published figures are taken on."""


def modes_of(images: Tensor, classifier: Classifier) -> Tensor:
    """The mode of each image uint8 [N,3,H,W], int64 [N] in 0..999: the digits of its channels, read as one number."""
    digits = classifier.features_of(images.flatten(0, 1).unsqueeze(1)).classes.reshape(len(images), -1)
    return (digits * torch.tensor([100, 10, 1])).sum(1)


def count_modes(modes: Tensor) -> int:
    """How many different modes int64 [N] holds."""
    return len(torch.unique(modes))


def mode_kl(modes: Tensor) -> float:
    """KL(p_g || uniform) in nats of the modes int64 [N], from 0 to ln 1000."""
    return uneven(modes, MODES)


def least_kl(samples: int) -> float:
    """What a perfect generator is expected to score with so few samples: .0193 nats with 26,000.

    Exact, by the binomial count of one mode; (m - 1) / 2N, the first order of it (Miller 1955), is .0192 there.
    """
    counts = np.arange(1, samples + 1)
    shares = counts / samples
    return float(MODES * (scipy.stats.binom.pmf(counts, samples, 1 / MODES) * shares * np.log(shares * MODES)).sum())
