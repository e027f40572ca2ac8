"""Whether a service that has worked for a while is as it was: its memory, its files, its threads, its answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

MIB = 2**20
TEN_MINUTES = 600.0
MAX_SLOPE = 1.0
"""MiB in ten minutes."""
SETTLED_SECONDS = 300.0
"""Memory counts from here on, or from a sixth of a shorter run."""


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """What was seen at one moment."""

    at: float
    """Seconds after the load began."""
    pids: tuple[int, ...]
    resident: int
    """Bytes, all processes summed."""
    threads: int
    files: int
    """Descriptors that are no sockets: how many connections are open is the clients' affair."""
    sockets: int


@dataclass(frozen=True, kw_only=True)
class Course:
    """A whole run."""

    seconds: float
    """How long the load lasted."""
    before: Snapshot
    """Before any client came."""
    looks: Sequence[Snapshot]
    """While they were there."""
    after: Snapshot
    """When the last one had gone."""
    wrong: Sequence[str]
    """Answers that were not what the model makes of their seed."""


def slope(course: Course) -> float:
    """MiB in ten minutes, by least squares over what was seen after the beginning."""
    begin = min(SETTLED_SECONDS, course.seconds / 6)
    settled = [look for look in course.looks if look.at >= begin]
    if len(settled) < 2:
        return 0.0
    at = np.array([look.at for look in settled])
    return float(np.polyfit(at, [look.resident / MIB for look in settled], 1)[0] * TEN_MINUTES)


def complaints(course: Course) -> list[str]:
    """What is not constant, a sentence each; nothing where all is well.

    Threads and files must not be more in the last third of the run than they have been in the third before: a pool grows to
    what was needed at once, and then it does not.
    """
    found = list(course.wrong)
    if (steep := slope(course)) >= MAX_SLOPE:
        found.append(f"memory must grow by less than {MAX_SLOPE:g} MiB in ten minutes, grew by {steep:.2f}")
    if any(look.pids != course.before.pids for look in (*course.looks, course.after)):
        found.append("a process has ended or begun")
    middle, last = _third(course, 1), _third(course, 2)
    for name in ("threads", "files"):
        was, is_now = (max((getattr(look, name) for look in looks), default=0) for looks in (middle, last))
        if is_now > was > 0:
            found.append(f"{name} must not become more, became {is_now} from {was}")
    if course.after.sockets > course.before.sockets:
        found.append(f"without clients there must be {course.before.sockets} sockets as before, are {course.after.sockets}")
    return found


def _third(course: Course, number: int) -> list[Snapshot]:
    begin, end = number * course.seconds / 3, (number + 1) * course.seconds / 3
    return [look for look in course.looks if begin <= look.at < end]
