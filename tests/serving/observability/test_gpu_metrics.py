"""GPU metrics: by NVML where there is a GPU, and nothing at all where there is none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from serving.observability.gpu_metrics import GpuCollector, find_nvml

pynvml = pytest.importorskip("pynvml", reason="nvidia-ml-py is not installed")


@dataclass
class Memory:
    """As NVML has it, in bytes."""

    used: int = 3
    total: int = 8


@dataclass
class Rates:
    """As NVML has them, in percent."""

    gpu: int = 25


class Driver:
    """NVML of two GPUs, as ``serving.observability.gpu_metrics`` calls it; the second is a partition and has no utilisation."""

    NVMLError = pynvml.NVMLError
    NVML_TEMPERATURE_GPU = pynvml.NVML_TEMPERATURE_GPU

    def nvmlDeviceGetCount(self) -> int:
        """Two."""
        return 2

    def nvmlDeviceGetHandleByIndex(self, place: int) -> int:
        """The place itself."""
        return place

    def nvmlDeviceGetName(self, device: int) -> str:
        """One name for both."""
        return "T9"

    def nvmlDeviceGetMemoryInfo(self, device: int) -> Memory:
        """The same of both."""
        return Memory()

    def nvmlDeviceGetUtilizationRates(self, device: int) -> Rates:
        """Of the first only."""
        if device == 1:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
        return Rates()

    def nvmlDeviceGetTemperature(self, device: int, sensor: int) -> int:
        """Degrees."""
        return 40 + device


def text_of(collector: GpuCollector) -> str:
    """What Prometheus would read."""
    registry = CollectorRegistry()
    registry.register(collector)
    return generate_latest(registry).decode()


def test_each_gpu_has_its_series() -> None:
    """Bytes, a share of one, degrees; what a GPU does not tell is left out, and the rest of it stays."""
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
    """The driver is looked for once, and its absence is no fault."""
    looked: list[int] = []

    def find() -> Any | None:
        looked.append(1)
        return None

    collector = GpuCollector(find)
    assert [text_of(collector), text_of(collector)] == ["", ""]
    assert len(looked) == 1


def test_every_question_is_one_of_nvml() -> None:
    """The driver of these tests asks and answers by names that nvidia-ml-py has."""
    assert [name for name in vars(Driver) if name.lower().startswith("nvml") and not hasattr(pynvml, name)] == []


def test_a_machine_without_the_driver_is_no_fault() -> None:
    """nvidia-ml-py says by an error that there is no driver, and that is nothing; with one, NVML is found."""
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
