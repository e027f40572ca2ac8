"""onnxruntime on the CPU, which is imported when it is first needed and sends no telemetry."""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import Any


def open_session(model: bytes | Path) -> Any:
    """An ``onnxruntime.InferenceSession`` of an ONNX model on the CPU provider."""
    return _imported().InferenceSession(model, providers=["CPUExecutionProvider"])


def onnxruntime_version() -> str:
    """Of whichever package holds it, ``onnxruntime`` or ``onnxruntime-gpu``."""
    return str(_imported().__version__)


def _imported() -> Any:
    """The module; it reports usage unless this variable is set before its import, and whoever wants that sets it to 0."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    return importlib.import_module("onnxruntime")
