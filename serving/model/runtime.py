"""The service's use of onnxruntime: choose the device, open a session, name the runtime class.

onnxruntime is imported where it is used: a worker of the shared engine does without its 19 MB.
"""

from __future__ import annotations

import base64
import ctypes
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np

from contract import Array, Device, Inputs, runtime_class
from contract.runtime import PROVIDERS, set_options
from serving.errors import ModelError, ProviderError
from serving.settings import Provider


class Session(Protocol):
    """The part of onnxruntime's session that the service uses."""

    def run(self, output_names: list[str] | None, input_feed: Any, /) -> Any: ...
    def get_inputs(self) -> Any: ...
    def get_outputs(self) -> Any: ...
    def get_providers(self) -> Any: ...


PROBE = base64.b64decode("CAg6QQoQCgF4EgF5IghJZGVudGl0eRIJZ2VuZXJhdG9yWhAKAXgSCwoJCAESBQoDEgFuYhAKAXkSCwoJCAESBQoDEgFuQgQKABAR")
"""A model of one Identity node, run to try a device."""


def resolve_provider(asked: Provider) -> Device:
    """The device to use, ``cpu`` or ``cuda``; CUDA is tried by running a model.

    Raises:
        ProviderError: CUDA was requested and cannot be used.
    """
    if asked == "cpu":
        return "cpu"
    reason = _why_no_cuda()
    if reason is None:
        return "cuda"
    if asked == "cuda":
        raise ProviderError(f"GAN_PROVIDER=cuda, but {reason}")
    return "cpu"


def _why_no_cuda() -> str | None:
    import onnxruntime

    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        return "this onnxruntime is built without CUDA; install onnxruntime-gpu"
    try:
        open_session(PROBE, "cuda", 1).run(None, {"x": np.zeros(1, np.float32)})
    except (ModelError, ProviderError) as error:
        return str(error)
    return None


def open_session(
    data: bytes, provider: Device, intra_op_threads: int, *, is_optimised: bool = True, for_idle_cores: bool = False
) -> Session:
    """Open a session on the requested device. A failure is an error; there is no fallback to the CPU.

    Args:
        data: bytes of the model file.
        provider: device.
        intra_op_threads: threads of one inference.
        is_optimised: whether the graph is changed to run faster, which computes its constants.
        for_idle_cores: whether the session is for inferences that have all cores; see ``contract.runtime.IDLE_CORES``.

    Raises:
        ModelError: onnxruntime refuses the model.
        ProviderError: the device cannot be used.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    set_options(options, intra_op_threads, for_idle_cores=for_idle_cores)
    if not is_optimised:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    if provider == "cuda":
        onnxruntime.preload_dlls()  # CUDA and cuDNN from their wheels, which the dynamic linker does not find
    providers = [(name, dict(values)) for name, values in PROVIDERS[provider].items()]
    try:
        with _file_of(data) as path:
            session: Session = onnxruntime.InferenceSession(path, options, providers=providers, enable_fallback=0)
    except Exception as error:  # onnxruntime's exceptions share no base class
        first_line = str(error).strip().split("\n")[0][:300]
        raise ModelError(f"onnxruntime refuses it: {first_line}") from None
    if session.get_providers()[0] != providers[0][0]:
        raise ProviderError(f"onnxruntime could not use {provider}; it offers {', '.join(session.get_providers())}")
    return session


@contextmanager
def _file_of(data: bytes) -> Iterator[str]:
    """The path of a file in memory: a session that is opened from bytes keeps them."""
    with open(os.memfd_create("model"), "wb", buffering=0) as file:
        file.write(data)
        yield f"/proc/self/fd/{file.fileno()}"


def release_memory(sessions: Sequence[Any], inputs: Inputs, row: Array) -> None:
    """Return the memory that large batches and the loading of the model have left unused to the system.

    Args:
        sessions: onnxruntime's, on the CPU.
        inputs: of one row; onnxruntime shrinks its arena at the end of a run.
        row: takes the output, [1, ...]; in the arena it would hold the region in which it is.
    """
    import onnxruntime

    options = onnxruntime.RunOptions()
    options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
    for session in sessions:
        binding = session.io_binding()
        for name, values in inputs.items():
            binding.bind_cpu_input(name, values)
        binding.bind_output(session.get_outputs()[0].name, "cpu", 0, row.dtype, row.shape, row.ctypes.data)
        session.run_with_iobinding(binding, options)
    libc = ctypes.CDLL(None)
    if hasattr(libc, "malloc_trim"):  # glibc
        libc.malloc_trim(0)


def runtime_of(device: Device) -> str:
    """The runtime class of this process on a device; see ``contract.runtime_class``."""
    import onnxruntime

    return runtime_class(onnxruntime.__version__, device)
