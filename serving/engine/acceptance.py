"""Which of the models that a reload has loaded enter service."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from pathlib import Path

from serving.engine.registry import ModelEntry
from serving.errors import StartError


async def accept(entries: Mapping[Path, ModelEntry], present: Mapping[Path, str]) -> tuple[dict[Path, str], dict[Path, str]]:
    """The names of the models that enter service, and why the others do not, by path; stores the serials of the former.

    Names are compared as they will be after the reload, so that files may exchange their models, and a model may come back in a
    file of another name.

    Args:
        entries: the loaded models.
        present: names of the models that are served from files that are still there.
    """
    accepted, reasons = {path: entry.model.card.name for path, entry in entries.items()}, dict[Path, str]()
    stored = set[Path]()
    while True:
        while taken := _last_conflict({**present, **accepted}, accepted):
            reasons[taken] = f"{taken}: another file has a model named {accepted.pop(taken)!r}"
        path = next((path for path in accepted if path not in stored), None)
        if path is None:
            return accepted, reasons
        stored.add(path)
        try:  # in a thread: a disk may be slow
            await asyncio.get_running_loop().run_in_executor(None, entries[path].model.enter_service, path)
        except StartError as error:
            reasons[path] = str(error)
            del accepted[path]  # its file keeps its old name, which another one may have taken


def _last_conflict(names: Mapping[Path, str], changed: Collection[Path]) -> Path | None:
    """The last changed file whose model has the name of another file's; None if all names differ."""
    taken = [path for path in changed if list(names.values()).count(names[path]) > 1]
    return taken[-1] if taken else None
