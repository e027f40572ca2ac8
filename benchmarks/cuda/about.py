"""The machine and the versions that figures belong to."""

from __future__ import annotations

import platform
import subprocess
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch

from benchmarks.processor import processor


def about(device: str) -> dict[str, Any]:
    """Plain JSON: device, driver, processor, versions."""
    return {
        "device": torch.cuda.get_device_name() if device == "cuda" else f"the CPU, {processor()}",
        "memory_gib": round(torch.cuda.get_device_properties(0).total_memory / 2**30, 1) if device == "cuda" else None,
        "compute_capability": ".".join(map(str, torch.cuda.get_device_capability())) if device == "cuda" else None,
        "driver": driver() if device == "cuda" else None,
        "processor": processor(),
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
        "onnx": onnx.__version__,
        "onnxruntime": str(onnxruntime.__version__),
        "onnxruntime_providers": list(onnxruntime.get_available_providers()),
        "numpy": np.__version__,
    }


def driver() -> str | None:
    """The NVIDIA driver's version as nvidia-smi says it; None where there is no such program."""
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20)
    except (OSError, subprocess.SubprocessError):
        return None
    return next(iter(answer.stdout.split()), None)
