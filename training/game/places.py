"""Where the weights and buffers of nets are kept, so that other tensors can stand there for a while."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from torch import Tensor, nn


class Places:
    """The places of all weights and buffers of some nets, in a fixed order."""

    def __init__(self, nets: Iterable[nn.Module]) -> None:
        self._places = [
            (held, name)
            for net in nets
            for module in net.modules()
            for held in (module._parameters, module._buffers)
            for name, value in held.items()
            if value is not None
        ]

    def values(self) -> list[Tensor]:
        """The tensors that are there now."""
        return [held[name] for held, name in self._places]  # type: ignore[misc]

    @contextmanager
    def holding(self, values: Sequence[Tensor]) -> Iterator[None]:
        """Let the nets compute with other tensors: ``torch.func.functional_call`` for several nets and calls."""
        kept = self.values()
        self._put(values)
        try:
            yield
        finally:
            self._put(kept)

    def _put(self, values: Sequence[Tensor]) -> None:
        for (held, name), value in zip(self._places, values, strict=True):
            held[name] = value  # type: ignore[assignment]
