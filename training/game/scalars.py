"""The scalars that a game logs: their means between two records. Each costs nothing but a reference until it is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor


class Means:
    """Sum and count of each scalar since the last record.

    Sums are float64, added one value after the other, so that a run that was saved in between records the same bytes.
    """

    def __init__(self) -> None:
        self._sums: dict[str, tuple[Any, int]] = {}
        self._waiting: dict[str, list[Tensor]] = {}

    def add(self, name: str, value: Tensor) -> None:
        """Count a value: a scalar, or one for each of several games [S]."""
        self._waiting.setdefault(name, []).append(value)

    def replace(self, name: str, value: Tensor) -> None:
        """Count a value in place of those since the last record: a mean of two evaluations would be the score of no nets."""
        self._sums.pop(name, None)
        self._waiting[name] = [value]

    def take(self) -> dict[str, Any]:
        """The mean of every scalar, float or float64 [S]; nothing is kept."""
        sums = self._added()
        self._sums = {}
        return {name: total / count for name, (total, count) in sums.items()}

    def state(self) -> dict[str, tuple[Tensor, int]]:
        """Float64 sums and counts by name."""
        return {name: (torch.as_tensor(total, dtype=torch.float64), count) for name, (total, count) in self._added().items()}

    def load(self, state: Mapping[str, tuple[Tensor, int]]) -> None:
        """Continue from ``state``."""
        self._sums = {name: (total.double().cpu().numpy()[()], count) for name, (total, count) in state.items()}
        self._waiting = {}

    def merge(self, state: Mapping[str, tuple[Tensor, int]], index: int) -> None:
        """Add one game's part of the state of several games."""
        sums = self._added()
        for name, (totals, count) in state.items():
            total, counted = sums.get(name, (np.float64(0), 0))
            sums[name] = total + totals[index].item(), counted + count

    def _added(self) -> dict[str, tuple[Any, int]]:
        """Add what waits."""
        for name, values in self._waiting.items():
            total, count = self._sums.get(name, (np.float64(0), 0))
            for value in torch.stack(values).double().cpu().numpy():
                total = total + value
            self._sums[name] = total, count + len(values)
        self._waiting = {}
        return self._sums
