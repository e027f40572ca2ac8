"""GPU metrics: read by NVML, and no series without a GPU."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from serving.observability.gpu_metrics import GpuCollector, find_nvml

pynvml = pytest.importorskip("pynvml", reason="nvidia-ml-py is not installed")


@dataclass
class Memory:
    """NVML's memory information, in bytes."""

    used: int = 3
    total: int = 8


@dataclass
class Rates:
    """NVML's utilisation rates, in percent."""

    gpu: int = 25


class Driver:
    """A fake of NVML with two GPUs; the second is a MIG partition and reports no utilisation."""

    NVMLError = pynvml.NVMLError
    NVML_TEMPERATURE_GPU = pynvml.NVML_TEMPERATURE_GPU

    def nvmlDeviceGetCount(self) -> int:
        """Two GPUs."""
        return 2

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        """The index is the handle."""
        return index

    def nvmlDeviceGetName(self, device: int) -> str:
        """The same name for both."""
        return "T9"

    def nvmlDeviceGetMemoryInfo(self, device: int) -> Memory:
        """The same memory for both."""
        return Memory()

    def nvmlDeviceGetUtilizationRates(self, device: int) -> Rates:
        """Rates of the first GPU only."""
        if device == 1:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
        return Rates()

    def nvmlDeviceGetTemperature(self, device: int, sensor: int) -> int:
        """Degrees Celsius."""
        return 40 + device


def text_of(collector: GpuCollector) -> str:
    """The collector's metrics in Prometheus's text format."""
    registry = CollectorRegistry()
    registry.register(collector)
    return generate_latest(registry).decode()


def test_each_gpu_has_its_series() -> None:
    """Units are bytes, a ratio and degrees; a value that a GPU does not report is left out, its other values stay."""
    lines = [line for line in text_of(GpuCollector(Driver)).splitlines() if not line.startswith("#")]
    assert lines == [
        'gan_gpu_memory_used_bytes{gpu="0",name="T9"} 3.0',
        'gan_gpu_memory_used_bytes{gpu="1",name="T9"} 3.0',
        'gan_gpu_memory_total_bytes{gpu="0",name="T9"} 8.0',
        'gan_gpu_memory_total_bytes{gpu="1",name="T9"} 8.0',
        'gan_gpu_utilisation_ratio{gpu="0",name="T9"} 0.25',
        'gan_gpu_temperature_celsius{gpu="0",name="T9"} 40.0',
        'gan_gpu_temperature_celsius{gpu="1",name="T9"} 41.0',
    ]


def test_without_a_gpu_there_are_no_series() -> None:
    """The driver is searched for once, and a missing one is not an error."""
    calls: list[int] = []

    def find() -> Any | None:
        calls.append(1)
        return None

    collector = GpuCollector(find)
    assert [text_of(collector), text_of(collector)] == ["", ""]
    assert len(calls) == 1


def test_the_fake_has_the_names_of_nvml() -> None:
    """Each NVML function of the fake exists in nvidia-ml-py."""
    assert [name for name in vars(Driver) if name.lower().startswith("nvml") and not hasattr(pynvml, name)] == []


def test_a_missing_driver_is_not_an_error() -> None:
    """Without a driver nvidia-ml-py raises an error and NVML is not found; with a driver it is found."""
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        assert find_nvml() is None
    else:
        assert find_nvml() is pynvml


@pytest.mark.gpu
def test_the_real_gpu_is_told() -> None:
    """The driver's own numbers: some memory, of which no more is used than there is, and a plausible temperature."""
    text = text_of(GpuCollector())
    values = {line.split("{")[0]: float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if not line.startswith("#")}
    assert 0 <= values["gan_gpu_memory_used_bytes"] <= values["gan_gpu_memory_total_bytes"]
    assert 0 < values["gan_gpu_temperature_celsius"] < 120
