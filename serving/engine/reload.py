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

from serving.errors import ModelError, Nondeterministic, SettingError
from serving.generation.generate import Service
from serving.model.load import Model, load_model
from serving.model.runtime import Device
from serving.model.signatures import Trust, signature_file
from serving.observability.logs import Log
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
        service: whose registry is changed.
        names: what is served at the start, by file.
        device: where models run.
        announce: told every model that is put in place.
        log: where outcomes go.
        generation: a number that all workers share and that grows when one of them was told to reload.
        trust: whose signature a file needs, if any.
    """

    def __init__(
        self,
        service: Service,
        names: dict[Path, str],
        device: Device,
        *,
        announce: Callable[[Model], None],
        log: Log,
        generation: Callable[[], int] = lambda: 0,
        trust: Trust | None = None,
    ) -> None:
        self._service = service
        self._names = names
        self._device = device
        self._announce = announce
        self._log = log
        self._generation = generation
        self._trust = trust
        self._loaded = {path: stamp(path) for path in names}
        self._lock = asyncio.Lock()

    async def reload(self) -> list[Outcome]:
        """Load every file that is not the one that was loaded last; calls at the same time come one after the other."""
        async with self._lock:
            try:
                files = model_files(self._service.settings)
            except SettingError as error:
                return [self._tell(Outcome(file="GAN_MODELS", result="refused", reason=str(error)))]
            return [await self._reload_file(path) for path in files]

    async def watch(self) -> None:
        """For ever: reload when another worker was told to, and when a file has changed and stayed so for one look."""
        settings = self._service.settings
        seen_generation, seen, waited = self._generation(), dict(self._loaded), 0.0
        while True:
            await asyncio.sleep(POLL_SECONDS)
            waited += POLL_SECONDS
            generation = self._generation()
            if generation != seen_generation:
                seen_generation = generation
                await self.reload()
            elif settings.watch_seconds and waited >= settings.watch_seconds:
                waited = 0.0
                now = stamps(settings)
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
            model = await loop.run_in_executor(None, self._load, path, self._service.settings)
            self._put(path, model)
        except ModelError as error:
            if isinstance(error, Nondeterministic):
                self._service.metrics.record_nondeterminism(self._names.get(path, path.stem))
            return self._tell(Outcome(file=path.name, result="refused", model=self._names.get(path), reason=str(error)))
        return self._tell(Outcome(file=path.name, result="swapped", model=model.card.name, digest=model.digest))

    def _load(self, path: Path, settings: Settings) -> Model:
        return load_model(
            path, self._device, intra_op_threads=settings.intra_op_threads, max_batch=settings.max_batch, trust=self._trust
        )

    def _put(self, path: Path, model: Model) -> None:
        name, old_name = model.card.name, self._names.get(path)
        if any(other != path and taken == name for other, taken in self._names.items()):
            raise ModelError(f"{path}: another file's model is called {name!r}, too")
        self._service.registry.put(model, instead_of=old_name)
        if old_name not in (None, name):
            self._service.metrics.forget_model(str(old_name))
        self._names[path] = name
        self._announce(model)

    def _tell(self, outcome: Outcome) -> Outcome:
        self._service.metrics.swaps.labels(outcome.result).inc()
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
