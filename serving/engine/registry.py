"""The models that are served: by name the current one, by digest also those that were replaced and are still kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from serving.engine.batcher import Batcher
from serving.engine.golden_files import GoldenFiles
from serving.errors import Gone, NotFound, shown
from serving.model.load import Model

LEAST_DIGITS = 12
"""Hexadecimal digits of a digest that an address must have at least."""


@dataclass(frozen=True)
class ModelEntry:
    """A model in service: its queue, and the hashes of its golden files."""

    model: Model
    batcher: Batcher
    golden_files: GoldenFiles


class Registry(Mapping[str, ModelEntry]):
    """Current models by name, the default one first.

    Args:
        models: what is served at first.
        make_entry: puts a queue in front of a model; safe to call in a thread.
        keep: how many replaced models stay at hand for their digest addresses.
    """

    def __init__(self, models: Iterable[Model], make_entry: Callable[[Model], ModelEntry], *, keep: int) -> None:
        self.make_entry = make_entry
        self._keep = keep
        self._current = {model.card.name: make_entry(model) for model in models}
        self._replaced: list[ModelEntry] = []
        self._gone: set[str] = set()

    def __getitem__(self, name: str) -> ModelEntry:
        return self._current[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._current)

    def __len__(self) -> int:
        return len(self._current)

    def by_digest(self, digits: str) -> ModelEntry:
        """The model whose digest begins with these hexadecimal digits.

        Raises:
            NotFound: there never was one, or the digits are too few or fit several.
            Gone: it has been replaced and is kept no longer.
        """
        found = [entry for entry in self.all() if entry.model.digest.startswith(digits)]
        if len(digits) >= LEAST_DIGITS and len(found) == 1:
            return found[0]
        if len(digits) >= LEAST_DIGITS and any(digest.startswith(digits) for digest in self._gone):
            raise Gone(f"model {shown(digits)} has been replaced and is kept no longer")
        raise NotFound(f"no model {shown(digits)}; a digest's address has {LEAST_DIGITS} to 64 of its hexadecimal digits")

    def all(self) -> list[ModelEntry]:
        """Current and kept ones."""
        return [*self._current.values(), *self._replaced]

    def put(self, entry: ModelEntry, instead_of: str | None = None) -> None:
        """Serve a model from now on, in the place of the one of that name, else of its own name, else as the last one.

        What it replaces is kept for its digest address, for a while. One that is kept no longer is not closed: requests that
        hold it still end on it, and it goes with the last of them.
        """
        model = entry.model
        place = instead_of if instead_of in self._current else model.card.name
        old = self._current.get(place)
        if old is not None and old.model.digest == model.digest:
            return
        returning = [kept for kept in self._replaced if kept.model.digest == model.digest]
        self._replaced = [kept for kept in self._replaced if kept not in returning]
        self._current = {(model.card.name if name == place else name): kept for name, kept in self._current.items()}
        self._current[model.card.name] = returning[0] if returning else entry
        self._gone.discard(model.digest)
        if old is not None:
            self._replaced.append(old)
        surplus = max(0, len(self._replaced) - self._keep)
        dropped, self._replaced = self._replaced[:surplus], self._replaced[surplus:]
        self._gone.update(kept.model.digest for kept in dropped)
