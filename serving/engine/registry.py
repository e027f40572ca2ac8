"""The models in service: current ones by name, and by digest also replaced ones that are still kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, ValuesView
from dataclasses import dataclass

from serving.engine.batcher import Batcher
from serving.engine.golden_files import GoldenFiles
from serving.engine.lease import LeasedModel
from serving.errors import Gone, NotFound, shown
from serving.model.load import ModelFacts

MIN_DIGITS = 12
"""Minimum number of hexadecimal digits of a digest in an address."""


@dataclass(frozen=True)
class ModelEntry:
    """A model in service: its queue, and the hashes of its golden files."""

    model: ModelFacts
    batcher: Batcher
    golden_files: GoldenFiles

    @property
    def is_lost(self) -> bool:
        """Whether the engine that had the model has ended."""
        return isinstance(self.model, LeasedModel) and self.model.lease.is_lost()


class Registry(Mapping[str, ModelEntry]):
    """Current models by name, the default one first.

    Args:
        models: models at the start.
        make_entry: creates the batcher of a model; thread-safe.
        keep: number of replaced models that stay available by digest.
    """

    def __init__(self, models: Iterable[ModelFacts], make_entry: Callable[[ModelFacts], ModelEntry], *, keep: int) -> None:
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

    def values(self) -> ValuesView[ModelEntry]:
        """The models of this moment, also for a thread that iterates over them during a reload."""
        return self._current.values()

    def by_name(self, name: str) -> ModelEntry:
        """The current model of that name; raises ``NotFound``."""
        if name not in (current := self._current):
            raise NotFound(f"no model {shown(name)}; there are {', '.join(current)}")
        return current[name]

    def by_digest(self, digits: str) -> ModelEntry:
        """The model whose digest begins with these hexadecimal digits.

        Raises:
            NotFound: no such model was served, the digits are too few, or several models match.
            Gone: the model has been replaced and is no longer kept.
        """
        found = [entry for entry in self.all() if entry.model.digest.startswith(digits)]
        if len(digits) >= MIN_DIGITS and len(found) == 1:
            return found[0]
        if len(digits) >= MIN_DIGITS and any(digest.startswith(digits) for digest in self._gone):
            raise Gone(f"model {shown(digits)} has been replaced and is no longer kept")
        raise NotFound(f"no model {shown(digits)}; a digest's address has {MIN_DIGITS} to 64 of its hexadecimal digits")

    def all(self) -> list[ModelEntry]:
        """Current models, then kept ones."""
        return [*self._current.values(), *self._replaced]

    def arrange(self, names: Sequence[str]) -> None:
        """Put the current models, of which these are all names, in this order; the first is the default one."""
        self._current = {name: self._current[name] for name in names}

    def lost(self) -> list[str]:
        """Names of the current models whose engine has ended."""
        return [name for name, entry in self._current.items() if entry.is_lost]

    def put(self, entry: ModelEntry, instead_of: str | None = None) -> None:
        """Serve a model instead of the one named ``instead_of``, else of its own name, else as an additional one.

        The replaced model is kept for its digest address until ``keep`` newer ones are. A dropped model is not closed:
        running requests hold a reference to it and finish on it. A lost one is not kept.
        """
        model = entry.model
        replaced = instead_of if instead_of in self._current else model.card.name
        old = self._current.get(replaced)
        if old is not None and old.model.digest == model.digest and not old.is_lost:
            return
        self._gone.update(other.model.digest for other in self.all() if other.is_lost)
        self._replaced = [other for other in self._replaced if not other.is_lost]
        returning = [other for other in self._replaced if other.model.digest == model.digest]
        self._replaced = [other for other in self._replaced if other not in returning]
        current = {(model.card.name if name == replaced else name): other for name, other in self._current.items()}
        current[model.card.name] = returning[0] if returning else entry
        self._current = current  # as a whole: threads may be iterating over the old one
        self._gone.discard(model.digest)
        if old is not None and not old.is_lost:
            self._replaced.append(old)
        surplus = max(0, len(self._replaced) - self._keep)
        dropped, self._replaced = self._replaced[:surplus], self._replaced[surplus:]
        self._gone.update(other.model.digest for other in dropped)
