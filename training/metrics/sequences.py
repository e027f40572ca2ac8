"""Measures of sequences of tokens that were drawn from an oracle. All take int64 [N,t]."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from training.data.oracle import Oracle


def oracle_nll(samples: Tensor, oracle: Oracle) -> tuple[float, float]:
    """Mean negative log-likelihood under the oracle, nats a token, and its standard error (SeqGAN, equation 9).

    It measures quality alone: one likely sequence, repeated, would score well.
    """
    values = torch.from_numpy(oracle.nll(samples.cpu().numpy()))
    return float(values.mean()), float(values.std()) / math.sqrt(len(values))


def distinct(samples: Tensor) -> float:
    """Share of the sequences that are left when repeated ones count once."""
    return len(torch.unique(samples, dim=0)) / len(samples)
