"""The models that are served: by name the current one, by digest also those that were replaced and are still kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from serving.engine.batcher import Batcher
from serving.errors import Gone, NotFound, shown
from serving.model.load import Model

LEAST_DIGITS = 12
"""Hexadecimal digits of a digest that an address must have at least."""


@dataclass(frozen=True)
class Served:
    """A model and the queue in front of it."""

    model: Model
    batcher: Batcher


class Registry(Mapping[str, Served]):
    """Current models by name, the default one first.

    Args:
        models: what is served at first.
        make_batcher: the queue in front of a model.
        keep: how many replaced models stay at hand for their digest addresses.
    """

    def __init__(self, models: Iterable[Model], make_batcher: Callable[[Model], Batcher], *, keep: int) -> None:
        self._make_batcher = make_batcher
        self._keep = keep
        self._current = {model.card.name: Served(model, make_batcher(model)) for model in models}
        self._replaced: list[Served] = []
        self._gone: set[str] = set()

    def __getitem__(self, name: str) -> Served:
        return self._current[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._current)

    def __len__(self) -> int:
        return len(self._current)

    def by_digest(self, digits: str) -> Served:
        """The model whose digest begins with these hexadecimal digits.

        Raises:
            NotFound: there never was one, or the digits are too few or fit several.
            Gone: it has been replaced and is kept no longer.
        """
        found = [served for served in self.all() if served.model.digest.startswith(digits)]
        if len(digits) >= LEAST_DIGITS and len(found) == 1:
            return found[0]
        if len(digits) >= LEAST_DIGITS and any(digest.startswith(digits) for digest in self._gone):
            raise Gone(f"model {shown(digits)} has been replaced and is kept no longer")
        raise NotFound(f"no model {shown(digits)}; a digest's address has {LEAST_DIGITS} to 64 of its hexadecimal digits")

    def all(self) -> list[Served]:
        """Current and kept ones."""
        return [*self._current.values(), *self._replaced]

    def put(self, model: Model, instead_of: str | None = None) -> None:
        """Serve a model from now on, in the place of the one of that name, else of its own name, else as the last one.

        What it replaces is kept for its digest address, for a while. One that is kept no longer is not closed: requests that
        hold it still end on it, and it goes with the last of them.
        """
        place = instead_of if instead_of in self._current else model.card.name
        old = self._current.get(place)
        if old is not None and old.model.digest == model.digest:
            return
        returning = [served for served in self._replaced if served.model.digest == model.digest]
        self._replaced = [served for served in self._replaced if served not in returning]
        new = returning[0] if returning else Served(model, self._make_batcher(model))
        self._current = {(model.card.name if name == place else name): served for name, served in self._current.items()}
        self._current[model.card.name] = new
        self._gone.discard(model.digest)
        if old is not None:
            self._replaced.append(old)
        surplus = max(0, len(self._replaced) - self._keep)
        dropped, self._replaced = self._replaced[:surplus], self._replaced[surplus:]
        self._gone.update(served.model.digest for served in dropped)
