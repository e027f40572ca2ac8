"""The processes that play one game together: each computes its part of every batch, and all of them take the same steps."""

from __future__ import annotations

import statistics
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from training.errors import LostRank, TrainingError
from training.game.batch_statistics import with_global_statistics

Gradient = tuple[Tensor | None, ...]
"""The gradient by each of a player's weights, None for idle ones."""

TIMED_EVERY = 8
"""Steps between two that are timed; a GPU is synchronised only in those."""
TIMINGS = 5
"""Timed steps of which the median counts, so that a record or a checkpoint of rank 0 does not."""
SLOW, SLOW_S = 1.5, 0.005
"""A rank is slow whose computation takes this many times as long as the others', and this much longer a step."""


class Ranks:
    """One process that plays alone: the whole batch is its own."""

    rank = 0
    size = 1

    def callable_nets(self, nets: Mapping[str, nn.Module]) -> dict[str, nn.Module]:
        """The nets as losses call them: their batch statistics are those of all ranks together."""
        return dict(nets)

    def mean(self, scalars: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Each scalar's mean over the ranks."""
        return scalars

    def mean_gradient(self, player: str, gradient: Gradient, weights: Sequence[Tensor]) -> Gradient:
        """A player's gradient, averaged over the ranks by one all-reduce; its tensors live until the player's next one."""
        return gradient

    def name_first(self, found: str) -> str:
        """What was found on the first rank that gives a text, and of several ranks on which; empty where none does."""
        return found

    def any(self, *flags: bool) -> tuple[bool, ...]:
        """Whether each flag is set on any rank; called once a step."""
        return flags

    def broadcast(self, make: Callable[[], bytes]) -> bytes | None:
        """What ``make`` returns on rank 0; None on rank 0 itself."""
        return None

    def require_same(self, what: str, describe: Callable[[], str]) -> None:
        """Check that every rank gives the same description.

        Raises:
            TrainingError: two ranks differ; the message has both descriptions.
        """

    def warnings(self) -> list[str]:
        """What has been noticed about the ranks since the last call."""
        return []

    def __deepcopy__(self, memo: object) -> Ranks:
        return self


ALONE = Ranks()


class Several(Ranks):
    """The ranks of torch's default process group. Every method is called by all of them, in the same order."""

    def __init__(self, device: torch.device) -> None:
        self.rank, self.size = dist.get_rank(), dist.get_world_size()
        self._device = device
        self._flat: dict[str, tuple[Tensor, list[Tensor]]] = {}
        self._steps = 0
        self._computed_s, self._resumed_s = 0.0, time.perf_counter()
        self._timings = [deque[float](maxlen=TIMINGS) for _ in range(self.size)]
        self._slow: int | None = None
        self._warnings: list[str] = []

    def callable_nets(self, nets: Mapping[str, nn.Module]) -> dict[str, nn.Module]:
        return with_global_statistics(nets, self)

    def mean(self, scalars: Mapping[str, Tensor]) -> dict[str, Tensor]:
        values = self.sum(torch.stack([value.float() for value in scalars.values()])) / self.size
        return dict(zip(scalars, values.unbind(), strict=True))

    def mean_gradient(self, player: str, gradient: Gradient, weights: Sequence[Tensor]) -> Gradient:
        if player not in self._flat:
            self._flat[player] = _flat_like(weights)
        flat, parts = self._flat[player]
        used = [(part, value) for part, value in zip(parts, gradient, strict=True) if value is not None]
        torch._foreach_copy_([part for part, _ in used], [value for _, value in used])
        self.sum(flat).div_(self.size)
        return tuple(None if value is None else part for part, value in zip(parts, gradient, strict=True))

    def name_first(self, found: str) -> str:
        return next((f"{text} on rank {rank}" for rank, text in enumerate(self._gather(found)) if text), "")

    def any(self, *flags: bool) -> tuple[bool, ...]:
        mine = torch.tensor([*flags, self._computed_s], dtype=torch.float64)
        everyone = self.gather(mine)
        if self._is_timed:
            self._compare(everyone[:, -1].tolist())
        self._steps += 1
        self._computed_s = 0.0
        return tuple((everyone[:, : len(flags)] > 0).any(0).tolist())

    def broadcast(self, make: Callable[[], bytes]) -> bytes | None:
        payload = make() if self.rank == 0 else b""
        length = int(self.sum(torch.tensor([len(payload)])))
        content = torch.frombuffer(bytearray(payload or bytes(length)), dtype=torch.uint8)
        self._talk(dist.broadcast, content, src=0)
        return content.numpy().tobytes() if self.rank else None

    def require_same(self, what: str, describe: Callable[[], str]) -> None:
        described = self._gather(describe())
        for rank, description in enumerate(described):
            if description != described[0]:
                raise TrainingError(
                    f"{what} must be the same on every rank: {described[0]} on rank 0, {description} on rank {rank}"
                )

    def warnings(self) -> list[str]:
        noticed, self._warnings = self._warnings, []
        return noticed

    def sum(self, tensor: Tensor) -> Tensor:
        """Add the ranks' tensors, in place; the result has the same bits on every rank."""
        self._talk(dist.all_reduce, tensor)
        return tensor

    def gather(self, tensor: Tensor) -> Tensor:
        """The ranks' tensors side by side, [ranks, ...]."""
        everyone = tensor.new_zeros(self.size, *tensor.shape)
        everyone[self.rank] = tensor
        return self.sum(everyone)

    @property
    def _is_timed(self) -> bool:
        return self._steps % TIMED_EVERY == TIMED_EVERY - 1

    def _talk(self, collective: Callable[..., Any], *arguments: Any, **named: Any) -> None:
        """Run a collective operation, and count the time since the last one as computation."""
        if self._is_timed and self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        self._computed_s += time.perf_counter() - self._resumed_s
        try:
            collective(*arguments, **named)
        except RuntimeError as error:
            raise LostRank(error) from None
        self._resumed_s = time.perf_counter()

    def _gather(self, text: str) -> list[str]:
        """The ranks' texts, in their order."""
        encoded = text.encode()
        length = int(self.gather(torch.tensor(len(encoded))).max())
        padded = torch.frombuffer(bytearray(encoded.ljust(length or 1, b"\0")), dtype=torch.uint8)
        return [bytes(row.tolist()).rstrip(b"\0").decode() for row in self.gather(padded)]

    def _compare(self, computed_s: list[float]) -> None:
        """Take the time that each rank computed in a step; note the slowest when it has become slow, or is no longer."""
        for timings, seconds in zip(self._timings, computed_s, strict=True):
            timings.append(seconds)
        medians = [statistics.median(timings) for timings in self._timings]
        slowest = max(range(self.size), key=medians.__getitem__)
        usual_s = statistics.median(s for rank, s in enumerate(medians) if rank != slowest)
        is_slow = len(self._timings[0]) == TIMINGS and medians[slowest] > max(SLOW * usual_s, usual_s + SLOW_S)
        if is_slow and self._slow != slowest:
            spent = f"{1e3 * medians[slowest]:.0f} ms a step, the others {1e3 * usual_s:.0f} ms and wait for it"
            self._warnings.append(f"rank {slowest} is slow: it computes for {spent}")
        elif not is_slow and self._slow is not None:
            self._warnings.append(f"rank {self._slow} is no longer slow")
        self._slow = slowest if is_slow else None


def _flat_like(weights: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
    """One tensor that holds a value for every weight, and its parts, each of a weight's shape and strides."""
    starts = [0]
    for weight in weights:
        starts.append(starts[-1] + weight.numel())
    flat = torch.zeros(starts[-1], dtype=weights[0].dtype, device=weights[0].device)
    return flat, [flat.as_strided(w.shape, w.stride(), start) for w, start in zip(weights, starts, strict=False)]
