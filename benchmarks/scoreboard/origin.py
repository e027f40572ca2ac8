"""Where a run of the scoreboard comes from: by which code it was trained, and on which machines."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from benchmarks.commit import describe_commit, digest_files
from benchmarks.scoreboard.machine import describe_machine
from benchmarks.scoreboard.row import Protocol
from benchmarks.scoreboard.workspace import Stopped, Workspace
from training.files import write_json

ORIGIN = "origin.json"
"""File of a run directory that holds it."""
TRAINS = ("training", "contract")
"""Folders of the code by which a run is trained."""
CODE = (*TRAINS, "benchmarks")
"""Folders of the code that trains and measures."""


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where a run comes from; a result has its commit and its machine."""

    code: str
    """SHA-256 of the code that trains."""
    commit: str
    """The commit at which the run began."""
    machines: tuple[str, ...] = ()
    """Where steps of it were trained, in their order."""
    finished: tuple[str, ...] = ()
    """Trainings that came to their end, by their arguments: a stage is one."""


def begin(runs: Sequence[Path], protocol: Protocol, workspace: Workspace) -> None:
    """Note in run directories by what they are trained; a run that other code began is deleted first.

    Args:
        runs: the directories that the training writes.
        protocol: its script belongs to the code.
        workspace: where it runs.

    Raises:
        Stopped: an end was asked for.
    """
    if workspace.stop:
        raise Stopped
    code = digest_code(protocol, workspace)
    for run in runs:
        origin = read_origin(run)
        if origin is not None and origin.code == code:
            continue
        if run.exists():
            by = "an unknown commit" if origin is None else f"commit {origin.commit}"
            workspace.say(f"{run.name} was begun by other code, of {by}: it is trained anew")
            shutil.rmtree(run)
        run.mkdir(parents=True)
        write_json(run / ORIGIN, asdict(Origin(code=code, commit=describe_commit(workspace.root, *CODE))))


@contextmanager
def noted(runs: Sequence[Path], words: Sequence[str], workspace: Workspace) -> Iterator[None]:
    """Around a training of these arguments: note the machine, unless the training came to its end before."""
    name = " ".join(words)
    machine = describe_machine(has_cuda=workspace.has_cuda and workspace.device != "cpu")

    def note(change: Callable[[Origin], Origin]) -> None:
        for run in runs:
            origin = read_origin(run)
            if origin is not None and name not in origin.finished:
                write_json(run / ORIGIN, asdict(change(origin)))

    note(lambda origin: replace(origin, machines=tuple(dict.fromkeys((*origin.machines, machine)))))
    yield
    note(lambda origin: replace(origin, finished=(*origin.finished, name)))


def commit_of(origin: Origin, protocol: Protocol, workspace: Workspace) -> str:
    """The commit at which a run began, with a plus sign where the code was changed since then."""
    is_same = origin.code == digest_code(protocol, workspace) or origin.commit.endswith("+")
    return origin.commit + ("" if is_same else "+")


def read_origin(run: Path) -> Origin | None:
    """What a run directory says of where it comes from; None where it says nothing, or nothing that can be read."""
    try:
        content = json.loads((run / ORIGIN).read_text())
        lists = {name: tuple(content[name]) for name in ("machines", "finished")}
        return Origin(code=content["code"], commit=content["commit"], **lists)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def digest_code(protocol: Protocol, workspace: Workspace) -> str:
    """SHA-256 over the names and bytes of all source files that train a protocol's runs."""
    folders = (*TRAINS, *([Path(protocol.script).parent] if protocol.script else []))
    return digest_files(workspace.root, (path for folder in folders for path in (workspace.root / folder).rglob("*.py")))
