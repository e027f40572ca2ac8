"""Reloading models without a restart: when a model file is replaced, or by ``/admin/reload``.

A file is loaded and checked in a thread while the old model answers, then swapped in on the event loop by one assignment. Each
response therefore comes entirely from the old or entirely from the new model. A refused file changes nothing.
"""

from __future__ import annotations

import asyncio
import secrets
import time
import traceback
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from serving.engine.acceptance import accept
from serving.engine.kept_files import KeptFiles, ServedFile, close, open_file
from serving.engine.registry import ModelEntry, Registry
from serving.engine.stamps import Stamp, stamp
from serving.errors import Nondeterministic, StartError
from serving.observability.logs import Log
from serving.observability.metrics import Metrics
from serving.settings import Settings, find_model_files

POLL_SECONDS = 0.25
"""Seconds between checks for a reload requested of another worker, and for models whose engine has ended."""
RETRY_SECONDS = 2.0
"""Seconds between two attempts to load the files of lost models, when one was refused."""

Known = dict[Path, Stamp | None]
"""Stamps of files by their paths."""

NEVER = ()
"""In place of the stamp of a file that was not loaded yet; a link to nothing has None, as a missing file."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The result of reloading one file."""

    file: str
    result: Literal["swapped", "unchanged", "refused", "restored"]
    """``unchanged``: the file, or the model in it; ``restored``: the same model again, after a restart of the engine."""
    model: str | None = None
    digest: str | None = None
    reason: str | None = None

    def facts(self) -> dict[str, str]:
        """The known fields, for the log and the response."""
        return {name: value for name, value in asdict(self).items() if value is not None}


class Reloader:
    """Reloads the models of one worker; used on the event loop.

    Args:
        registry: the models in service.
        names: name of the model in each file, as loaded at the start.
        load: reads and checks a file; called in a thread; any exception refuses the file. With a ``digest`` it accepts no other
            bytes, and needs no signature.
        stamps: of the files from which the models were loaded; another file, of none of them, is loaded by the next reload.
        kept: the files of the models.
        settings: model paths, and the interval of the checks.
        metrics: counts outcomes.
        announce: called with each model put into service.
        log: writes outcomes.
        reload_count: number of reload requests so far, to any worker.
        on_served: called with the models in service, in their order, whenever they or their files have changed.
    """

    def __init__(
        self,
        registry: Registry,
        names: dict[Path, str],
        load: Callable[..., ModelEntry],
        *,
        stamps: Mapping[Path, Stamp | None],
        kept: KeptFiles,
        settings: Settings,
        metrics: Metrics,
        announce: Callable[[ModelEntry], None],
        log: Log,
        reload_count: Callable[[], int] = lambda: 0,
        on_served: Callable[[Sequence[ServedFile]], None] = lambda table: None,
    ) -> None:
        self._registry = registry
        self._names = names
        self._load = load
        self._settings = settings
        self._metrics = metrics
        self._announce = announce
        self._log = log
        self._reload_count = reload_count
        self._on_served = on_served
        self._loaded = dict(stamps)
        self._refused: dict[Path, str | None] = {}
        """Files that were refused when they were last loaded; for those that were nondeterministic, the model in the metric."""
        self._known_count = reload_count()
        """Number of reload requests that this worker has followed."""
        self._kept = kept
        self._opened: dict[Path, int | None] = {}
        """Descriptors of files that are being loaded."""
        self._retry_at = 0.0
        """When lost models are tried again, by the monotonic clock."""
        self._lock = asyncio.Lock()
        self._report_served()

    async def reload_all(self) -> list[Outcome]:
        """Follow a reload request: as ``reload``, and refused files are tried again, since the reason may be gone."""
        self._known_count = self._reload_count()
        return await self.reload(with_refused=True)

    async def reload(self, *, with_refused: bool = False) -> list[Outcome]:
        """Load each file that has changed since it was last loaded; concurrent calls run one after the other."""
        async with self._lock:
            for path in self._refused if with_refused else ():
                self._loaded.pop(path, None)
            files, wrong = find_model_files(self._settings)
            for path in self._refused.keys() - set(files):
                self._forget_refusal(path)
            missing = [self._report(Outcome(file="GAN_MODELS", result="refused", reason=reason)) for reason in wrong]
            results = {path: await self._load_changed(path) for path in files}
            entries = {path: result for path, result in results.items() if isinstance(result, ModelEntry)}
            lost = {entry.model.digest for entry in self._registry.all() if entry.is_lost}
            before = {path: self._registry[name].model.digest for path, name in self._names.items()}
            present = {path: name for path, name in self._names.items() if path in files}
            accepted, reasons = await accept(entries, present)
            self._put_all(entries, accepted, present, files)
            outcomes = missing + [
                result if isinstance(result, Outcome) else self._report_loaded(path, result, lost, before, reasons.get(path))
                for path, result in results.items()
            ]
            self._metrics.refused_files.set(len(self._refused) + len(wrong))
            return outcomes

    async def watch(self) -> None:
        """Endless: reload when another worker was asked to, a changed file is the same for one interval, or models are lost."""
        known, waited = dict(self._loaded), 0.0
        while True:
            await asyncio.sleep(POLL_SECONDS)
            try:
                known, waited = await self._look(known, waited + POLL_SECONDS)
            except Exception as error:  # a worker must not serve on without following changes
                self._log("fault", id=f"{secrets.randbits(64):016x}", error="".join(traceback.format_exception(error)))

    async def _look(self, known: Known, waited: float) -> tuple[Known, float]:
        """One look of ``watch``: the stamps that it found, and the seconds since then."""
        watch_seconds, now = self._settings.watch_seconds, time.monotonic()
        if now >= self._retry_at and (lost := self._registry.lost()):
            self._retry_at = now + RETRY_SECONDS
            await self._restore(lost)
        elif self._reload_count() != self._known_count:
            await self.reload_all()
        elif watch_seconds and waited >= watch_seconds:
            found, wrong = stamps(self._settings)
            self._metrics.refused_files.set(len(self._refused) + len(wrong))
            is_changed = any(self._loaded.get(path, NEVER) != current for path, current in found.items())
            if found == known and (is_changed or self._refused.keys() - found.keys()):
                await self.reload()
            return found, 0.0
        return known, waited

    async def _restore(self, lost: Collection[str]) -> None:
        """Load the files of models whose engine has ended; returns when its successor has them."""
        self._metrics.ready.set(0)
        self._loaded.update({path: None for path, name in self._names.items() if name in lost})
        await self.reload()
        for path, name in list(self._names.items()):
            if name in self._registry.lost():
                await self._restore_kept(path, name)
        if not self._registry.lost():
            self._metrics.ready.set(1)

    async def _restore_kept(self, path: Path, name: str) -> None:
        """Load the last good file of a lost model: the one at its path is refused, or gone."""
        async with self._lock:
            address = self._kept.address(path)
            if address is None:
                return
            try:
                load = partial(self._load, address, digest=self._registry[name].model.digest)
                entry = await asyncio.get_running_loop().run_in_executor(None, load)
            except Exception:  # it was overwritten in place; the refusal of the file at the path is logged
                return
            self._registry.put(entry)
            self._announce(entry)
            self._report(Outcome(file=path.name, result="restored", model=name, digest=entry.model.digest))

    def _report_served(self) -> None:
        paths = {name: path for path, name in self._names.items()}
        self._on_served(
            [
                ServedFile(
                    path=paths[name],
                    name=name,
                    digest=entry.model.digest,
                    descriptor=self._kept.descriptor(paths[name]),
                )
                for name, entry in self._registry.items()
            ]
        )

    async def _load_changed(self, path: Path) -> ModelEntry | Outcome:
        """Load a file that has changed; the outcome if it has not, or is refused."""
        current = stamp(path)
        if current == self._loaded.get(path, NEVER):
            return Outcome(file=path.name, result="unchanged", model=self._names.get(path))
        self._loaded[path] = current  # a refused file is not loaded again until it changes
        self._opened[path] = open_file(path)
        try:
            return await asyncio.get_running_loop().run_in_executor(None, self._load, path)
        except Exception as error:  # also one that is no refusal, such as a lack of descriptors: `watch` must go on
            close(self._opened.pop(path))
            self._forget_refusal(path)
            name = self._names.get(path, path.stem) if isinstance(error, Nondeterministic) else None
            self._refused[path] = name
            if name is not None:
                self._metrics.record_determinism(name, is_ok=False)
            reason = str(error) if isinstance(error, StartError) else f"{path}: {error!r}"
            return self._report(Outcome(file=path.name, result="refused", model=self._names.get(path), reason=reason))

    def _put_all(
        self, entries: dict[Path, ModelEntry], accepted: dict[Path, str], present: dict[Path, str], files: list[Path]
    ) -> None:
        """Serve those of the loaded models that are ``accepted``."""
        names = present | accepted
        vacated = [name for path, name in present.items() if path in accepted and name not in names.values()]
        for path, name in accepted.items():
            old_name = None
            if name not in self._registry and vacated:
                old_name = vacated.pop(vacated.index(present[path]) if present.get(path) in vacated else 0)
                self._metrics.forget_model(old_name)
            self._registry.put(entries[path], instead_of=old_name)
            self._announce(entries[path])
        self._names = {path: name for path, name in self._names.items() if path in names or name not in names.values()} | names
        self._registry.arrange([self._names[path] for path in sorted(self._names, key=partial(_place_of, self._settings))])
        self._loaded = {path: current for path, current in self._loaded.items() if path in self._names or path in files}
        self._kept.forget(self._kept.paths() - self._names.keys())
        for path in entries:
            descriptor = self._opened.pop(path)
            if path in accepted:
                self._kept.hold(path, descriptor)
            else:
                close(descriptor)
        if entries:
            self._report_served()

    def _report_loaded(
        self, path: Path, entry: ModelEntry, lost: Collection[str], before: Mapping[Path, str], reason: str | None
    ) -> Outcome:
        """Report a loaded file; ``before`` has the digests that were served before, by path."""
        self._forget_refusal(path)
        if reason:
            self._refused[path] = None
            return self._report(Outcome(file=path.name, result="refused", model=self._names.get(path), reason=reason))
        model, digest = entry.model.card.name, entry.model.digest
        is_same = digest == before.get(path) or (path not in before and digest in before.values())
        if is_same and digest not in lost:  # the file has another date, or another name
            return Outcome(file=path.name, result="unchanged", model=model)
        return self._report(
            Outcome(file=path.name, result="restored" if digest in lost else "swapped", model=model, digest=digest)
        )

    def _forget_refusal(self, path: Path) -> None:
        """Forget that a file was refused: it is loaded now, or gone."""
        name = self._refused.pop(path, None)
        if name is not None:
            self._metrics.record_determinism(name, is_ok=True)

    def _report(self, outcome: Outcome) -> Outcome:
        self._metrics.swaps.labels(outcome.result).inc()
        self._log("reload", **outcome.facts())
        return outcome


def _place_of(settings: Settings, path: Path) -> tuple[int, Path]:
    """Sorts model files as ``find_model_files`` gives them, also those that are gone."""
    named = list(map(Path, settings.models))
    return min((index for index, at in enumerate(named) if at in (path, path.parent)), default=len(named)), path


def stamps(settings: Settings) -> tuple[Known, list[str]]:
    """Stamps of all model files that are there, and what is wrong with each path of the settings that gives none."""
    files, wrong = find_model_files(settings)
    return {path: stamp(path) for path in files}, wrong
