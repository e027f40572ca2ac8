"""Metrics of the service's processes together, read by psutil at each scrape.

prometheus_client's own collector exposes nothing where processes share their metrics, since each would report itself only.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import suppress

import psutil
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

TRIES = 8
"""Attempts at a consistent reading while child processes end."""


class ProcessCollector(Collector):
    """Collects a process and its children.

    Args:
        root: id of the service's first process; None for this process.
        crashes: number of workers that ended without being stopped.
    """

    def __init__(self, root: int | None = None, *, crashes: Callable[[], int] = lambda: 0) -> None:
        self._root = psutil.Process(root or os.getpid())
        self._crashes = crashes

    def describe(self) -> list[Metric]:
        """The families without values, so that a registry knows their names before the first scrape."""
        return [
            CounterMetricFamily("gan_worker_crashes", "Workers that ended without being stopped."),
            CounterMetricFamily("gan_process_cpu_seconds", "CPU time of all processes of the service, ended ones included."),
            GaugeMetricFamily("gan_process_resident_memory_bytes", "Resident memory of all processes of the service."),
            GaugeMetricFamily("gan_process_open_fds", "Open files of all processes of the service."),
            GaugeMetricFamily("gan_processes", "Processes of the service: the launcher, its workers, Python's helpers."),
            GaugeMetricFamily("gan_process_start_time_seconds", "Start of the service in seconds since the epoch."),
        ]

    def collect(self) -> Iterator[Metric]:
        """The families with their current values; crashes only when the processes cannot be read."""
        numbers = [float(self._crashes())]
        with suppress(psutil.Error):
            numbers += self._measure()
        for family, number in zip(self.describe(), numbers, strict=False):
            family.add_sample(f"{family.name}_total" if family.type == "counter" else family.name, {}, number)
            yield family

    def _measure(self) -> list[float]:
        """CPU seconds, resident bytes, open files, number of processes, start time.

        When a parent reaps an ended child, the child's CPU time moves to the parent's ``children_*`` times, so the sum never
        decreases. A child reaped during the reading would be missed or counted twice: read again.
        """
        for _ in range(TRIES):
            ended = self._ended_seconds()
            try:
                processes = [self._root, *self._root.children()]
                times = [process.cpu_times() for process in processes]
                resident_bytes = sum(process.memory_info().rss for process in processes)
                open_files = sum(process.num_fds() for process in processes)
            except psutil.NoSuchProcess:
                continue
            if self._ended_seconds() == ended:
                cpu_seconds = ended + sum(time.user + time.system for time in times)
                return [cpu_seconds, resident_bytes, open_files, len(processes), self._root.create_time()]
        raise psutil.NoSuchProcess(self._root.pid)

    def _ended_seconds(self) -> float:
        times = self._root.cpu_times()
        return float(times.children_user + times.children_system)
