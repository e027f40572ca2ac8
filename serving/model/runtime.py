"""onnxruntime as the service uses it: which device there is, a session from bytes, and the name of what computes."""

from __future__ import annotations

import base64
import platform
from typing import Any, Literal, Protocol

import numpy as np
import onnxruntime

from serving.errors import ModelError, ProviderError
from serving.settings import Provider

Device = Literal["cpu", "cuda"]

PROVIDERS: dict[Device, dict[str, dict[str, str]]] = {
    "cpu": {"CPUExecutionProvider": {}},
    "cuda": {"CUDAExecutionProvider": {"use_tf32": "0", "cudnn_conv_algo_search": "DEFAULT"}, "CPUExecutionProvider": {}},
}
"""By device, onnxruntime's providers with their options. On CUDA full float32 and one convolution algorithm for all shapes: the
default search times several and may take another one in the next process."""


class Session(Protocol):
    """The part of onnxruntime's session that the service uses."""

    def run(self, output_names: list[str] | None, input_feed: Any, /) -> Any: ...
    def get_inputs(self) -> Any: ...
    def get_outputs(self) -> Any: ...
    def get_providers(self) -> Any: ...


PROBE = base64.b64decode("CAg6QQoQCgF4EgF5IghJZGVudGl0eRIJZ2VuZXJhdG9yWhAKAXgSCwoJCAESBQoDEgFuYhAKAXkSCwoJCAESBQoDEgFuQgQKABAR")
"""A model of one Identity node, by which a device is tried."""


def resolve_provider(asked: Provider) -> Device:
    """The device that will be used, ``cpu`` or ``cuda``, found by running something on it.

    Raises:
        ProviderError: CUDA was asked for and is not there.
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
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        return "this onnxruntime is built without CUDA; install onnxruntime-gpu"
    try:
        open_session(PROBE, "cuda", 1).run(None, {"x": np.zeros(1, np.float32)})
    except (ModelError, ProviderError) as error:
        return str(error)
    return None


def open_session(data: bytes, provider: Device, intra_op_threads: int) -> Session:
    """A session on exactly the device that was asked for: a failure there is an error, never a quiet move to the CPU.

    Raises:
        ModelError: onnxruntime refuses the model.
        ProviderError: the device cannot be used.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = intra_op_threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if provider == "cuda":
        onnxruntime.preload_dlls()  # CUDA and cuDNN as their wheels have them, which the dynamic linker does not find
    providers = PROVIDERS[provider]
    try:
        session: Session = onnxruntime.InferenceSession(data, options, providers=list(providers.items()), enable_fallback=0)
    except Exception as error:  # onnxruntime has a class for each status and no common base below Exception
        raise ModelError(f"onnxruntime refuses it: {_first_line(error)}") from None
    if session.get_providers()[0] != next(iter(providers)):
        raise ProviderError(f"onnxruntime could not use {provider}; it offers {', '.join(session.get_providers())}")
    return session


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0][:300]


def runtime_class(provider: str) -> str:
    """The name of what computes, ``onnxruntime-1.31-cpu-x86_64``: within one, outputs are expected to be the same."""
    major, minor = onnxruntime.__version__.split(".")[:2]
    return f"onnxruntime-{major}.{minor}-{provider}-{platform.machine()}"
