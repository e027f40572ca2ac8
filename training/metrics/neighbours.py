"""Measures by nearest neighbours: precision and recall, density and coverage, the 1-NN test error, memorisation.

All distances are Euclidean, in float64, and taken in pieces of a few hundred rows: no N x M table is ever whole.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from training.metrics.images import Estimate, share

CHUNK = 500
"""Rows at a time: 500 x 50,000 float64 distances are 200 MB."""
NEAREST = 5
"""The neighbour whose distance is a point's radius, k of precision, recall, density and coverage."""


@dataclass(frozen=True)
class Manifolds:
    """What the balls around two sets of points say of each other; each around its own k-th neighbour."""

    precision: float
    """Share of fakes inside any real's ball (Kynkäänniemi et al., arXiv:1904.06991, eq. 2)."""
    recall: float
    """Share of reals inside any fake's ball (the same, eq. 3)."""
    density: float
    """Reals' balls that hold a fake, over k; may exceed 1 (Naeem et al., arXiv:2002.09797, eq. 4)."""
    coverage: float
    """Share of reals whose ball holds any fake (the same, eq. 6)."""


def manifolds(real: Tensor, fake: Tensor, *, k: int = NEAREST) -> Manifolds:
    """Precision, recall, density and coverage of features [N,F] and [M,F].

    Raises:
        ValueError: a side has no k-th neighbour.
    """
    if min(len(real), len(fake)) <= k:
        raise ValueError(f"more than k = {k} points a side are needed, got {len(real)} and {len(fake)}")
    radii, fake_radii = _radii(real, k), _radii(fake, k)
    holding = torch.zeros(len(fake), dtype=torch.int64, device=fake.device)
    recalled = covered = 0
    for rows, squares in _squares(real, fake):
        is_held = squares < radii[rows, None]
        holding += is_held.sum(0)
        covered += int(is_held.any(1).sum())
        recalled += int((squares < fake_radii).any(1).sum())
    return Manifolds(
        precision=float((holding > 0).double().mean()),
        recall=recalled / len(real),
        density=float(holding.double().mean()) / k,
        coverage=covered / len(real),
    )


def nearest_error(images: Tensor, labels: Tensor, test: Tensor, truth: Tensor) -> Estimate:
    """Share of test images that a 1-nearest-neighbour classifier of labelled images names wrong, and its standard error.

    The protocol of Radford et al. (arXiv:1511.06434, table 3): the classifier knows only generated images; what they lack
    it gets wrong. Images [N,...] and [M,...] of any type, labels int64 [N] and truth int64 [M].
    """
    _, nearest = nearest_of(test.flatten(1), images.flatten(1))
    return share(labels.to(nearest.device)[nearest] != truth.to(nearest.device))


def memorisation(samples: Tensor, test: Tensor, train: Tensor) -> Estimate:
    """Mean distance of samples to their nearest training image over that of test images, and its standard error.

    About 1: samples lie as far from the training images as unseen ones do. Near 0: they are copies. Above 1: they are unlike
    both. All [N,...] of any type.
    """
    train = train.flatten(1)
    near, usual = (nearest_of(items.flatten(1), train)[0] for items in (samples, test))
    ratio = float(near.mean() / usual.mean())
    variance = float(near.var()) / len(near) + ratio**2 * float(usual.var()) / len(usual)
    return ratio, math.sqrt(variance) / float(usual.mean())


def nearest_of(points: Tensor, among: Tensor) -> tuple[Tensor, Tensor]:
    """Distance to the nearest of ``among`` [M,F], float64 [N], and its index, int64 [N], for each of ``points`` [N,F]."""
    found = [squares.min(1) for _, squares in _squares(points, among)]
    return torch.cat([part.values for part in found]).sqrt(), torch.cat([part.indices for part in found])


def _radii(points: Tensor, k: int) -> Tensor:
    """Squared distance to the k-th neighbour, float64 [N]; the nearest that is found is the point itself."""
    return torch.cat([squares.topk(k + 1, dim=1, largest=False).values[:, k] for _, squares in _squares(points, points)])


def _squares(points: Tensor, among: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Squared distances, float64 [n,M], of a few hundred rows at a time."""
    among = among.double()
    lengths = among.square().sum(1)
    for start in range(0, len(points), CHUNK):
        rows = slice(start, min(start + CHUNK, len(points)))
        part = points[rows].double()
        squares = torch.addmm(lengths, part, among.T, alpha=-2.0) + part.square().sum(1, keepdim=True)
        yield rows, squares.clamp_(min=0)
