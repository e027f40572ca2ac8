"""What NVIDIA's GPUs are doing, asked of the driver (NVML) when somebody asks; no series where there is none.

nvidia-ml-py comes with the extra serve-gpu.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

LABELS = ("gpu", "name")


def find_nvml() -> Any | None:
    """NVML, ready; None where the package or the driver is missing."""
    try:
        import pynvml  # not above: it is there with a GPU only

        pynvml.nvmlInit()
    except ImportError:
        return None
    except pynvml.NVMLError:
        return None
    return pynvml


class GpuCollector(Collector):
    """Every GPU that this process may see.

    Args:
        find: gives NVML, or None where there is no GPU; called once, when first asked.
    """

    def __init__(self, find: Callable[[], Any | None] = find_nvml) -> None:
        self._find = find
        self._nvml: Any | None = None
        self._is_found = False

    def describe(self) -> list[Metric]:
        """The families without values, so that a registry knows their names unasked."""
        return [
            GaugeMetricFamily("gan_gpu_memory_used_bytes", "Memory of the GPU in use, by whomever.", labels=LABELS),
            GaugeMetricFamily("gan_gpu_memory_total_bytes", "Memory of the GPU.", labels=LABELS),
            GaugeMetricFamily("gan_gpu_utilisation_ratio", "Share of the last moment in which a kernel ran.", labels=LABELS),
            GaugeMetricFamily("gan_gpu_temperature_celsius", "Temperature of the GPU.", labels=LABELS),
        ]

    def collect(self) -> Iterator[Metric]:
        """A series a GPU; what a GPU does not tell is left out."""
        if not self._is_found:
            self._nvml, self._is_found = self._find(), True
        nvml = self._nvml
        if nvml is None:
            return
        families = self.describe()
        for place in range(_ask(nvml, nvml.nvmlDeviceGetCount) or 0):
            device = _ask(nvml, nvml.nvmlDeviceGetHandleByIndex, place)
            if device is not None:
                labels = dict(zip(LABELS, (str(place), str(_ask(nvml, nvml.nvmlDeviceGetName, device))), strict=True))
                for family, number in zip(families, _numbers(nvml, device), strict=True):
                    if number is not None:
                        family.add_sample(family.name, labels, number)
        yield from (family for family in families if family.samples)


def _numbers(nvml: Any, device: Any) -> tuple[float | None, ...]:
    """In the order of the families; None is what this GPU does not tell."""
    memory = _ask(nvml, nvml.nvmlDeviceGetMemoryInfo, device)
    rates = _ask(nvml, nvml.nvmlDeviceGetUtilizationRates, device)
    heat = _ask(nvml, nvml.nvmlDeviceGetTemperature, device, nvml.NVML_TEMPERATURE_GPU)
    return (
        None if memory is None else memory.used,
        None if memory is None else memory.total,
        None if rates is None else rates.gpu / 100,
        heat,
    )


def _ask(nvml: Any, question: Callable[..., Any], *arguments: Any) -> Any | None:
    """NVML's answer; None when there is none: a partition of a GPU tells no utilisation, a GPU may fall off the bus."""
    try:
        return question(*arguments)
    except nvml.NVMLError:
        return None
