"""Metrics of NVIDIA GPUs, read from the driver (NVML) at each scrape; no series without a GPU.

The extra serve-gpu installs nvidia-ml-py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

LABELS = ("gpu", "name")


def find_nvml() -> Any | None:
    """Import and initialise NVML; None if the package or the driver is missing."""
    try:
        import pynvml  # optional dependency

        pynvml.nvmlInit()
    except ImportError:
        return None
    except pynvml.NVMLError:
        return None
    return pynvml


class GpuCollector(Collector):
    """Collects all GPUs visible to this process.

    Args:
        find: returns NVML, or None without a GPU; called once, at the first scrape.
    """

    def __init__(self, find: Callable[[], Any | None] = find_nvml) -> None:
        self._find = find
        self._nvml: Any | None = None
        self._is_found = False

    def describe(self) -> list[Metric]:
        """The families without values, so that a registry knows their names before the first scrape."""
        return [
            GaugeMetricFamily("gan_gpu_memory_used_bytes", "Memory of the GPU in use, by all processes.", labels=LABELS),
            GaugeMetricFamily("gan_gpu_memory_total_bytes", "Memory of the GPU.", labels=LABELS),
            GaugeMetricFamily(
                "gan_gpu_utilisation_ratio", "Share of the last sample period in which a kernel ran.", labels=LABELS
            ),
            GaugeMetricFamily("gan_gpu_temperature_celsius", "Temperature of the GPU.", labels=LABELS),
        ]

    def collect(self) -> Iterator[Metric]:
        """One series per GPU; values that a GPU does not report are left out."""
        if not self._is_found:
            self._nvml, self._is_found = self._find(), True
        nvml = self._nvml
        if nvml is None:
            return
        families = self.describe()
        for index in range(_query(nvml, nvml.nvmlDeviceGetCount) or 0):
            device = _query(nvml, nvml.nvmlDeviceGetHandleByIndex, index)
            if device is not None:
                labels = dict(zip(LABELS, (str(index), str(_query(nvml, nvml.nvmlDeviceGetName, device))), strict=True))
                for family, number in zip(families, _read_gpu(nvml, device), strict=True):
                    if number is not None:
                        family.add_sample(family.name, labels, number)
        yield from (family for family in families if family.samples)


def _read_gpu(nvml: Any, device: Any) -> tuple[float | None, ...]:
    """The values of a GPU in the order of the families; None for a value that it does not report."""
    memory = _query(nvml, nvml.nvmlDeviceGetMemoryInfo, device)
    rates = _query(nvml, nvml.nvmlDeviceGetUtilizationRates, device)
    temperature = _query(nvml, nvml.nvmlDeviceGetTemperature, device, nvml.NVML_TEMPERATURE_GPU)
    return (
        None if memory is None else memory.used,
        None if memory is None else memory.total,
        None if rates is None else rates.gpu / 100,
        temperature,
    )


def _query(nvml: Any, function: Callable[..., Any], *arguments: Any) -> Any | None:
    """Call NVML; None if it fails: a MIG partition reports no utilisation, and a GPU may fail at run time."""
    try:
        return function(*arguments)
    except nvml.NVMLError:
        return None
