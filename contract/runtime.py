"""How onnxruntime runs a model file: the options of a session, and the name of the runtime class.

Training computes a model's goldens and serving checks them, so both open their sessions with these options. They are data: this
package imports no onnxruntime.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from typing import Any, Literal

Device = Literal["cpu", "cuda"]

MAX_NODES = 20_000
"""Operations of a graph and of the graphs inside it, at most; a generator has hundreds."""
RANDOM = frozenset({"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial", "Bernoulli"})
"""Operators that draw numbers of their own, which no model file may have."""
PROBE_SEEDS = (0, 1, 2, 42, 1000, 2**31 - 1, 2**31, 2**32 - 1)
"""Seeds whose outputs the service compares when it loads a model file."""

PROVIDERS: Mapping[Device, Mapping[str, Mapping[str, str]]] = {
    "cpu": {"CPUExecutionProvider": {}},
    "cuda": {"CUDAExecutionProvider": {"use_tf32": "0", "cudnn_conv_algo_search": "DEFAULT"}, "CPUExecutionProvider": {}},
}
"""By device, onnxruntime's providers with their options, the preferred one first.

On CUDA: full float32, and cuDNN's default convolution algorithm. onnxruntime's own default, ``EXHAUSTIVE``, times several
algorithms and may choose another one in the next process.
"""

OPTIONS: Mapping[str, int] = {"inter_op_num_threads": 1, "log_severity_level": 3, "enable_mem_pattern": False}
"""Attributes of ``onnxruntime.SessionOptions``; the number of threads of one operator is the caller's.

A memory pattern is kept for each batch size, and each needs one block as large as all results of a run.
"""

CONFIG: Mapping[str, str] = {"session.intra_op.allow_spinning": "0"}
"""Entries of ``SessionOptions.add_session_config_entry``."""

IDLE_CORES: Mapping[str, str] = {"session.intra_op.allow_spinning": "1", "session.intra_op.spin_duration_us": "50"}
"""Entries of a session for idle cores: a thread waits busily for 50 us for the next operator, then sleeps."""


def set_options(options: Any, intra_op_threads: int, *, for_idle_cores: bool = False) -> None:
    """Set the options of a session.

    Args:
        options: an ``onnxruntime.SessionOptions``.
        intra_op_threads: threads of one operator; 0 means one for each core.
        for_idle_cores: whether to use ``IDLE_CORES``.
    """
    options.intra_op_num_threads = intra_op_threads
    for name, value in OPTIONS.items():
        setattr(options, name, value)
    for name, entry in {**CONFIG, **(IDLE_CORES if for_idle_cores else {})}.items():
        options.add_session_config_entry(name, entry)


def runtime_class(version: str, device: str) -> str:
    """The name of the runtime class, ``onnxruntime-1.31-cpu-x86_64``: within one class, outputs are promised bit for bit.

    Args:
        version: onnxruntime's version, ``1.31.0``.
        device: ``cpu`` or ``cuda``.
    """
    major, minor = version.split(".")[:2]
    return f"onnxruntime-{major}.{minor}-{device}-{platform.machine()}"
