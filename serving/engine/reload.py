"""Other models without a restart: a file that is renamed into place, or a call to ``/admin/reload``, swaps one reference.

A file is loaded, checked and proven in a thread while the old model answers; only then is it put in its place, on the event
loop. Each answer is therefore wholly the old model's or wholly the new one's. A file that is refused changes nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from serving.engine.registry import ModelEntry, Registry
from serving.errors import ModelError, Nondeterministic, SettingError
from serving.model.signatures import signature_file
from serving.observability.logs import Log
from serving.observability.metrics import Metrics
from serving.settings import Settings, model_files

POLL_SECONDS = 0.25
"""How often a worker looks whether another one was told to reload."""

FileStamp = tuple[int, int, int]
"""Inode, time of change in nanoseconds, size."""

Stamp = tuple[FileStamp, FileStamp | None]
"""Of a model file and of its signature, which may come later or change alone."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of one file."""

    file: str
    result: Literal["swapped", "unchanged", "refused"]
    model: str | None = None
    digest: str | None = None
    reason: str | None = None

    def facts(self) -> dict[str, str]:
        """Without what is not known."""
        return {name: value for name, value in asdict(self).items() if value is not None}


class Reloader:
    """The files of one worker's models, and how they are exchanged; used on the event loop.

    Args:
        registry: the models in service.
        names: name of the model in each file, as loaded at the start.
        load: reads and checks a file; called in a thread; raises ``ModelError``.
        settings: which files there are, and how often they are checked.
        metrics: counts outcomes.
        announce: called with every model put into service.
        log: where outcomes go.
        reload_count: how many reloads were requested of any worker.
    """

    def __init__(
        self,
        registry: Registry,
        names: dict[Path, str],
        load: Callable[[Path], ModelEntry],
        *,
        settings: Settings,
        metrics: Metrics,
        announce: Callable[[ModelEntry], None],
        log: Log,
        reload_count: Callable[[], int] = lambda: 0,
    ) -> None:
        self._registry = registry
        self._names = names
        self._load = load
        self._settings = settings
        self._metrics = metrics
        self._announce = announce
        self._log = log
        self._reload_count = reload_count
        self._loaded = {path: stamp(path) for path in names}
        self._lock = asyncio.Lock()

    async def reload(self) -> list[Outcome]:
        """Load every file that is not the one that was loaded last; calls at the same time come one after the other."""
        async with self._lock:
            try:
                files = model_files(self._settings)
            except SettingError as error:
                return [self._tell(Outcome(file="GAN_MODELS", result="refused", reason=str(error)))]
            return [await self._reload_file(path) for path in files]

    async def watch(self) -> None:
        """For ever: reload when another worker was told to, and when a file has changed and stayed so for one look."""
        watch_seconds = self._settings.watch_seconds
        seen_count, seen, waited = self._reload_count(), dict(self._loaded), 0.0
        while True:
            await asyncio.sleep(POLL_SECONDS)
            waited += POLL_SECONDS
            count = self._reload_count()
            if count != seen_count:
                seen_count = count
                await self.reload()
            elif watch_seconds and waited >= watch_seconds:
                waited = 0.0
                now = stamps(self._settings)
                if now == seen and any(self._loaded.get(path) != found for path, found in now.items()):
                    await self.reload()
                seen = now

    async def _reload_file(self, path: Path) -> Outcome:
        found = stamp(path)
        if found == self._loaded.get(path):
            return Outcome(file=path.name, result="unchanged", model=self._names.get(path))
        self._loaded[path] = found  # a refused file is not tried again until it changes
        loop = asyncio.get_running_loop()
        try:
            entry = await loop.run_in_executor(None, self._load, path)
            self._put(path, entry)
        except ModelError as error:
            if isinstance(error, Nondeterministic):
                self._metrics.record_nondeterminism(self._names.get(path, path.stem))
            return self._tell(Outcome(file=path.name, result="refused", model=self._names.get(path), reason=str(error)))
        return self._tell(Outcome(file=path.name, result="swapped", model=entry.model.card.name, digest=entry.model.digest))

    def _put(self, path: Path, entry: ModelEntry) -> None:
        name, old_name = entry.model.card.name, self._names.get(path)
        if any(other != path and taken == name for other, taken in self._names.items()):
            raise ModelError(f"{path}: another file's model is called {name!r}, too")
        self._registry.put(entry, instead_of=old_name)
        if old_name not in (None, name):
            self._metrics.forget_model(str(old_name))
        self._names[path] = name
        self._announce(entry)

    def _tell(self, outcome: Outcome) -> Outcome:
        self._metrics.swaps.labels(outcome.result).inc()
        self._log("reload", **outcome.facts())
        return outcome


def stamp(path: Path) -> Stamp | None:
    """By what a change of a model is seen; None where there is none."""
    found = _file_stamp(path)
    return None if found is None else (found, _file_stamp(signature_file(path)))


def _file_stamp(path: Path) -> FileStamp | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size


def stamps(settings: Settings) -> dict[Path, Stamp | None]:
    """Of all model files that there are now."""
    try:
        return {path: stamp(path) for path in model_files(settings)}
    except SettingError:
        return {}
