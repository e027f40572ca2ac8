"""Reloading models without a restart: when a model file is replaced, or by ``/admin/reload``.

A file is loaded and checked in a thread while the old model answers, then swapped in on the event loop by one assignment. Each
response therefore comes entirely from the old or entirely from the new model. A refused file changes nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from serving.engine.kept_files import FileStamp, GoodFile, KeptFiles, stamp_of
from serving.engine.lease import LeasedModel
from serving.engine.registry import ModelEntry, Registry
from serving.errors import Nondeterministic, StartError
from serving.model.signatures import signature_file
from serving.observability.logs import Log
from serving.observability.metrics import Metrics
from serving.settings import Settings, find_model_files

POLL_SECONDS = 0.25
"""Seconds between checks for a reload requested of another worker, and for models whose engine has ended."""
RETRY_SECONDS = 2.0
"""Seconds between two attempts to load the files of lost models, when one was refused."""

Stamp = tuple[FileStamp, FileStamp | None]
"""Stamps of a model file and of its signature file, which may be written later."""

Served = Callable[[Path, str | None, FileStamp | None], None]
"""Takes a path, the digest that is served from it, and the stamp of its file; None for both if it has no model any longer."""

NEVER = ()
"""In place of the stamp of a file that was not loaded yet; a link to nothing has None, as a missing file."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The result of reloading one file."""

    file: str
    result: Literal["swapped", "unchanged", "refused", "restored"]
    """``unchanged``: the file, or the model in it; ``restored``: the same model after a restart of the worker or the engine."""
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
        loaded: stamps of the files at their paths before they were loaded.
        refused: why a file was refused at the start.
        good: files of an earlier worker, from which the models of refused and missing files were loaded.
        load: reads and checks a file; called in a thread; any exception refuses the file.
        settings: model paths, and the interval of the checks.
        metrics: counts outcomes.
        announce: called with each model put into service.
        log: writes outcomes.
        reload_count: number of reload requests so far, to any worker.
        on_served: called for each file whose model is in service.
    """

    def __init__(
        self,
        registry: Registry,
        names: dict[Path, str],
        load: Callable[[Path], ModelEntry],
        *,
        loaded: Mapping[Path, Stamp | None],
        refused: Mapping[Path, StartError],
        good: Mapping[Path, GoodFile],
        settings: Settings,
        metrics: Metrics,
        announce: Callable[[ModelEntry], None],
        log: Log,
        reload_count: Callable[[], int] = lambda: 0,
        on_served: Served = lambda path, digest, stamp: None,
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
        self._loaded = {path: loaded.get(path) for path in (*names, *refused)}
        self._refused: dict[Path, str | None] = {}
        """Files that were refused when they were last loaded; for those that were nondeterministic, the model in the metric."""
        self._known_count = reload_count()
        """Number of reload requests that this worker has followed."""
        self._kept = KeptFiles()
        """The files of models in the engine."""
        for path, error in refused.items():
            self._refuse(path, error)
        for path, name in names.items():
            if path in refused or not loaded.get(path):
                self._keep(path, good[path].address)
                self._report(Outcome(file=path.name, result="restored", model=name, digest=good[path].digest))
            else:
                self._keep(path)
        self._lock = asyncio.Lock()

    async def reload_all(self) -> list[Outcome]:
        """Follow a reload request: as ``reload``, and refused files are tried again, since the reason may be gone."""
        self._known_count = self._reload_count()
        for path in self._refused:
            self._loaded.pop(path, None)
        return await self.reload()

    async def reload(self) -> list[Outcome]:
        """Load each file that has changed since it was last loaded; concurrent calls run one after the other."""
        async with self._lock:
            files, wrong = find_model_files(self._settings)
            for path in self._refused.keys() - set(files):
                self._forget_refusal(path)
            missing = [self._report(Outcome(file="GAN_MODELS", result="refused", reason=reason)) for reason in wrong]
            results = {path: await self._load_changed(path) for path in files}
            entries = {path: result for path, result in results.items() if isinstance(result, ModelEntry)}
            lost = {entry.model.digest for entry in self._registry.all() if entry.is_lost}
            before = {path: self._registry[name].model.digest for path, name in self._names.items()}
            reasons = self._put_all(entries, files)
            return missing + [
                result
                if isinstance(result, Outcome)
                else self._report_loaded(path, result, lost, before.get(path), reasons.get(path))
                for path, result in results.items()
            ]

    async def watch(self) -> None:
        """Endless: reload when another worker was asked to, a changed file is the same for one interval, or models are lost."""
        watch_seconds = self._settings.watch_seconds
        known, waited, retry_at = dict(self._loaded), 0.0, 0.0
        while True:
            await asyncio.sleep(POLL_SECONDS)
            waited += POLL_SECONDS
            now = time.monotonic()
            if now >= retry_at and (lost := self._registry.lost()):
                retry_at = now + RETRY_SECONDS
                await self._restore(lost)
            elif self._reload_count() != self._known_count:
                await self.reload_all()
            elif watch_seconds and waited >= watch_seconds:
                waited = 0.0
                found = stamps(self._settings)
                is_changed = any(self._loaded.get(path, NEVER) != current for path, current in found.items())
                if found == known and (is_changed or self._refused.keys() - found.keys()):
                    await self.reload()
                known = found

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
                entry = await asyncio.get_running_loop().run_in_executor(None, self._load, address)
            except Exception:  # it was overwritten in place, or is signed; the refusal of the file at the path is logged
                return
            if entry.model.digest == self._registry[name].model.digest:
                self._registry.put(entry)
                self._announce(entry)
                self._report(Outcome(file=path.name, result="restored", model=name, digest=entry.model.digest))

    def _keep(self, path: Path, address: Path | None = None) -> None:
        """Hold the file of a model in the engine, for a new engine; report a file at its path, for a new worker."""
        model, current = self._registry[self._names[path]].model, self._loaded[path]
        loaded = current[0] if current and not address else None
        if isinstance(model, LeasedModel):
            self._kept.keep(path, loaded, address=address)
        if loaded:
            self._on_served(path, model.digest, loaded)

    async def _load_changed(self, path: Path) -> ModelEntry | Outcome:
        """Load a file that has changed; the outcome if it has not, or is refused."""
        current = stamp(path)
        if current == self._loaded.get(path, NEVER):
            return Outcome(file=path.name, result="unchanged", model=self._names.get(path))
        self._loaded[path] = current  # a refused file is not loaded again until it changes
        try:
            return await asyncio.get_running_loop().run_in_executor(None, self._load, path)
        except Exception as error:  # also one that is no refusal, such as a lack of descriptors: `watch` must go on
            return self._refuse(path, error)

    def _refuse(self, path: Path, error: Exception) -> Outcome:
        self._forget_refusal(path)
        name = self._names.get(path, path.stem) if isinstance(error, Nondeterministic) else None
        self._refused[path] = name
        if name is not None:
            self._metrics.record_determinism(name, is_ok=False)
        reason = str(error) if isinstance(error, StartError) else f"{path}: {error!r}"
        return self._report(Outcome(file=path.name, result="refused", model=self._names.get(path), reason=reason))

    def _put_all(self, entries: dict[Path, ModelEntry], files: list[Path]) -> dict[Path, str]:
        """Serve loaded models, except those whose name another file has; the reasons of the exceptions.

        Names are compared as they will be after the reload, so that files may exchange their models, and a model may come back
        in a file of another name.
        """
        present = {path: name for path, name in self._names.items() if path in files}
        accepted, reasons = {path: entry.model.card.name for path, entry in entries.items()}, {}
        while taken := _last_conflict(present | accepted, accepted):
            reasons[taken] = f"{taken}: another file has a model named {accepted.pop(taken)!r}"
        names = present | accepted
        vacated = [name for path, name in present.items() if path in accepted and name not in names.values()]
        for path, name in accepted.items():
            old_name = None
            if name not in self._registry and vacated:
                old_name = vacated.pop(vacated.index(present[path]) if present.get(path) in vacated else 0)
                self._metrics.forget_model(old_name)
            self._registry.put(entries[path], instead_of=old_name)
            self._announce(entries[path])
        known = self._names.keys()
        self._names = {path: name for path, name in self._names.items() if path in names or name not in names.values()} | names
        for path in known - self._names.keys():
            self._on_served(path, None, None)
        self._loaded = {path: current for path, current in self._loaded.items() if path in self._names or path in files}
        self._kept.forget(self._kept.paths() - self._names.keys())
        for path in accepted:
            self._keep(path)
        return reasons

    def _report_loaded(
        self, path: Path, entry: ModelEntry, lost: Collection[str], before: str | None, reason: str | None
    ) -> Outcome:
        self._forget_refusal(path)
        if reason:
            self._refused[path] = None
            return self._report(Outcome(file=path.name, result="refused", model=self._names.get(path), reason=reason))
        model, digest = entry.model.card.name, entry.model.digest
        if digest == before and digest not in lost:  # the file has another date only
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


def _last_conflict(names: dict[Path, str], changed: Collection[Path]) -> Path | None:
    """The last changed file whose model has the name of another file's; None if all names differ."""
    taken = [path for path in changed if list(names.values()).count(names[path]) > 1]
    return taken[-1] if taken else None


def stamp(path: Path) -> Stamp | None:
    """The stamp by which a change of a model file is detected; None if the file is missing."""
    model = _file_stamp(path)
    return None if model is None else (model, _file_stamp(signature_file(path)))


def _file_stamp(path: Path) -> FileStamp | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return stamp_of(status)


def stamps(settings: Settings) -> dict[Path, Stamp | None]:
    """Stamps of all model files that are there."""
    return {path: stamp(path) for path in find_model_files(settings)[0]}
