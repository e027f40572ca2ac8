"""What the service's processes use together, read from /proc when somebody asks (proc(5)).

prometheus_client's own collector says nothing where several processes share their metrics, since each would speak for itself.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

PROC = Path("/proc")
TRIES = 8
"""How often the processes are counted anew because one ended meanwhile."""


@dataclass(frozen=True, kw_only=True)
class Used:
    """What one process, or several, have used."""

    cpu_ticks: int
    resident_pages: int
    open_files: int

    def __add__(self, other: Used) -> Used:
        return Used(
            cpu_ticks=self.cpu_ticks + other.cpu_ticks,
            resident_pages=self.resident_pages + other.resident_pages,
            open_files=self.open_files + other.open_files,
        )


class ProcessCollector(Collector):
    """A process and its children; of them all only the crashes are told where there is no /proc.

    Args:
        root: process id of the service's first process; None is this one.
        crashes: how many workers have ended that nobody told to end; whoever starts them knows.
        proc: where the kernel shows processes.
    """

    def __init__(self, root: int | None = None, *, crashes: Callable[[], int] = lambda: 0, proc: Path = PROC) -> None:
        self._root = root or os.getpid()
        self._crashes = crashes
        self._proc = proc

    def describe(self) -> list[Metric]:
        """The families without values, so that a registry knows their names unasked."""
        return [self._crash_counter(), *self._of_proc()]

    def _crash_counter(self) -> CounterMetricFamily:
        return CounterMetricFamily("gan_worker_crashes", "Workers that ended without having been told to.", self._crashes())

    def _of_proc(self) -> list[Metric]:
        return [
            CounterMetricFamily("gan_process_cpu_seconds", "CPU time of all processes of the service, ended ones too."),
            GaugeMetricFamily("gan_process_resident_memory_bytes", "Resident memory of all processes of the service."),
            GaugeMetricFamily("gan_process_open_fds", "Open files of all processes of the service."),
            GaugeMetricFamily("gan_processes", "Processes of the service: the launcher, its workers, Python's helpers."),
            GaugeMetricFamily("gan_process_start_time_seconds", "When the service began, in seconds since the epoch."),
        ]

    def collect(self) -> Iterator[Metric]:
        """The families with what is used now."""
        yield self._crash_counter()
        try:
            used, count = self._count()
            started = _boot_time(self._proc) + _fields(self._proc / str(self._root))[19] / os.sysconf("SC_CLK_TCK")
        except OSError:
            return
        numbers = (
            used.cpu_ticks / os.sysconf("SC_CLK_TCK"),
            used.resident_pages * os.sysconf("SC_PAGE_SIZE"),
            used.open_files,
            count,
            started,
        )
        for family, number in zip(self._of_proc(), numbers, strict=True):
            family.add_sample(f"{family.name}_total" if family.type == "counter" else family.name, {}, number)
            yield family

    def _count(self) -> tuple[Used, int]:
        """All together, and how many they are.

        The time of a child that has ended is its parent's (cutime, cstime) once it has been waited for, so that the sum never
        falls; a child that is buried while we count would be missed or counted twice, and then we count again.
        """
        root = self._proc / str(self._root)
        for _ in range(TRIES):
            before = _buried_ticks(root)
            living = [_used(self._proc / pid) for pid in _children(root)]
            parent = _used(root)
            if _buried_ticks(root) == before and parent and all(living):
                ended = Used(cpu_ticks=before, resident_pages=0, open_files=0)
                return sum((child for child in living if child), parent + ended), 1 + len(living)
        raise ProcessLookupError(f"processes of {self._root} end faster than they can be counted")


def _children(folder: Path) -> list[str]:
    return [pid for task in (folder / "task").iterdir() for pid in (task / "children").read_text().split()]


def _used(folder: Path) -> Used | None:
    """Of one process; None when it is gone."""
    try:
        fields = _fields(folder)
        return Used(
            cpu_ticks=fields[11] + fields[12], resident_pages=fields[21], open_files=len(list((folder / "fd").iterdir()))
        )
    except (FileNotFoundError, ProcessLookupError):
        return None


def _buried_ticks(folder: Path) -> int:
    fields = _fields(folder)
    return fields[13] + fields[14]


def _fields(folder: Path) -> list[int]:
    """The numbers of /proc/PID/stat after the name, from the state (0, given as 0) on: proc(5) counts that one as 3."""
    rest = (folder / "stat").read_text().rpartition(")")[2].split()
    return [0, *(int(field) for field in rest[1:])]


def _boot_time(proc: Path) -> float:
    """Seconds since the epoch."""
    lines = (proc / "stat").read_text().splitlines()
    return float(next(line.split()[1] for line in lines if line.startswith("btime ")))
