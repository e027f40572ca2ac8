"""Measures of points of the toy games, whose distributions are known. All take float [N,k] in the units of the data."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
import scipy
import torch
from torch import Tensor

PROJECTIONS = 128
"""Directions of the sliced distance."""
HIGH_QUALITY = 3.0
"""Standard deviations from the nearest mode within which a point is of high quality (PacGAN, arXiv:1712.04086, section 4.1)."""
BINS = 20
"""Of x, over -50..50, in the parabola's coverage."""


def mean(values: Tensor) -> tuple[float, float]:
    """Mean of [N] and its standard error."""
    values = values.double()
    return float(values.mean()), float(values.std()) / math.sqrt(len(values))


def deviation(values: Tensor) -> tuple[float, float]:
    """Standard deviation of [N] and the standard error that it has for normal values."""
    sd = float(values.double().std())
    return sd, sd / math.sqrt(2 * len(values))


def w1(samples: Tensor, real: Tensor) -> float:
    """Wasserstein-1 distance of points on a line, [N,1] and [M,1]."""
    return float(scipy.stats.wasserstein_distance(samples[:, 0].cpu().numpy(), real[:, 0].cpu().numpy()))


def sliced_w2(samples: Tensor, real: Tensor) -> float:
    """Square root of the mean, over fixed directions, of the squared Wasserstein-2 distance (Bonneel et al. 2015).

    Both need the same count N: on a line, the distance then pairs the sorted points.
    """
    if len(samples) != len(real):
        raise ValueError(f"as many samples as real points are needed, {len(real)}, got {len(samples)}")
    directions = _directions(samples.shape[1]).to(samples.device)
    first = (samples.double() @ directions).sort(0).values
    second = (real.double().to(samples.device) @ directions).sort(0).values
    return float((first - second).square().mean().sqrt())


def _directions(size: int) -> Tensor:
    """Unit vectors, float64 [size,P]: one on a line, evenly turned in the plane, random but fixed elsewhere."""
    if size == 1:
        return torch.ones(1, 1, dtype=torch.float64)
    if size == 2:
        angles = torch.arange(PROJECTIONS, dtype=torch.float64) * (math.pi / PROJECTIONS)
        return torch.stack([angles.cos(), angles.sin()])
    normal = torch.from_numpy(np.random.RandomState(0).standard_normal((size, PROJECTIONS)))
    return normal / normal.square().sum(0).sqrt()


def curve_distance(samples: Tensor) -> float:
    """Median |y - (10 + x^2)| relative to 2500, of [N,2]: how far from the parabola."""
    x, y = samples.double().T
    return float((y - (10 + x * x)).abs().median()) / 2500


def x_coverage(samples: Tensor) -> int:
    """How many of 20 equal bins of x over -50..50 hold a sample, of [N,2]."""
    x = samples[:, 0].double()
    inside = x[(x >= -50) & (x <= 50)]
    bins = ((inside + 50) * (BINS / 100)).long().clamp(max=BINS - 1)
    return len(torch.unique(bins))


def modes_hit(samples: Tensor, modes: Tensor, sd: float) -> int:
    """How many modes [m,k] have at least one sample within 3 sd."""
    nearest, distance = _nearest(samples, modes)
    return len(torch.unique(nearest[distance <= HIGH_QUALITY * sd]))


def high_quality(samples: Tensor, modes: Tensor, sd: float) -> float:
    """Share of samples within 3 sd of their nearest mode; real points on a plane have 1 - exp(-4.5) = .989."""
    return float((_nearest(samples, modes)[1] <= HIGH_QUALITY * sd).double().mean())


def reverse_kl(samples: Tensor, modes: Tensor) -> float:
    """KL(q || uniform) in nats, q the share of samples whose nearest mode is each of m; from 0 to ln m."""
    return uneven(_nearest(samples, modes)[0], len(modes))


def uneven(modes: Tensor, count: int) -> float:
    """KL(q || uniform) in nats, q the shares of ``count`` modes in int64 [N]; from 0 to ln of the count."""
    q = torch.bincount(modes, minlength=count).double() / len(modes)
    q = q[q > 0]
    return float((q * (q * count).log()).sum())


def _nearest(samples: Tensor, modes: Tensor) -> tuple[Tensor, Tensor]:
    """Index of the nearest mode, int64 [N], and the distance to it, float64 [N]."""
    distances = (samples.double()[:, None] - modes.double().to(samples.device)).norm(dim=2)
    found = distances.min(1)
    return found.indices, found.values


PARABOLAS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "parabola": lambda points: points,
    "parabola-norm": lambda points: points.double() * torch.tensor([50.0, 1250.0]) + torch.tensor([0.0, 1260.0]),
}
"""Data set to how its points are brought to the parabola's own units."""
