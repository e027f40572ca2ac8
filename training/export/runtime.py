"""onnxruntime on the CPU: imported when it is first needed, with its telemetry off."""

from __future__ import annotations

import importlib
import os
import re
from pathlib import Path
from typing import Any

from contract.runtime import PROVIDERS, set_options
from training.errors import first_line

_CODE = re.compile(r"^\[ONNXRuntimeError\] : \d+ : \w+ : |/onnxruntime_src/\S+ [^()]*\([^()]*\) ")


def open_session(model: bytes | Path, intra_op_threads: int = 1) -> Any:
    """An ``onnxruntime.InferenceSession`` on the CPU, with the options by which the service opens the same model.

    Args:
        model: an ONNX model, its bytes or its file.
        intra_op_threads: threads of one operator; 0 means one for each core.
    """
    onnxruntime = _onnxruntime()
    options = onnxruntime.SessionOptions()
    set_options(options, intra_op_threads)
    return onnxruntime.InferenceSession(model, options, providers=list(PROVIDERS["cpu"]))


def quietly() -> Any:
    """Options of a run whose errors are raised and not printed as well: the caller says what they mean."""
    options = _onnxruntime().RunOptions()
    options.log_severity_level = 4
    return options


def mistake_of(error: BaseException) -> str:
    """What an error of onnxruntime says, in at most 300 characters: without codes, and without places in its source."""
    return _CODE.sub("", first_line(error))[:300].strip()


def onnxruntime_version() -> str:
    """The version of the installed package, ``onnxruntime`` or ``onnxruntime-gpu``."""
    return str(_onnxruntime().__version__)


def _onnxruntime() -> Any:
    """The module. It reads this variable at its import; a value that the user has set is kept."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    return importlib.import_module("onnxruntime")
