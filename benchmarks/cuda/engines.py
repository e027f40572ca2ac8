"""What can compute a generator, and how it is set: onnxruntime on the CPU and on CUDA, and torch itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Literal

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from torch.backends import cudnn

from benchmarks.cuda.bench import Bench
from benchmarks.cuda.playing import ExportedModel
from contract import Drawn
from training.export.fold_batchnorm import fold_batch_norm
from training.export.sample_grid import sampler_of
from training.export.samplers import ImageSampler
from training.export.subpixel import rewrite_transposed

Answer = tuple[NDArray[np.uint8], NDArray[np.float32]]
"""Pixels uint8 [n,h,w,c] and the same before they are rounded, float32 in 0..255."""
Run = Callable[[Drawn], Answer]
Search = Literal["DEFAULT", "HEURISTIC", "EXHAUSTIVE"]


@dataclass(frozen=True, kw_only=True)
class Engine:
    """One way to compute a model."""

    name: str
    settings: Mapping[str, str]
    open: Callable[[Bench, ExportedModel], Run]
    """A fresh one, which shares nothing with an earlier one."""
    held: Callable[[], AbstractContextManager[object]] = nullcontext
    """What is in force while it runs."""


def cpu_engine() -> Engine:
    """What a service without a GPU computes with, and what the others are compared with."""
    return _onnxruntime("onnxruntime CPU", "CPUExecutionProvider", {})


def engines_for(device: torch.device) -> list[Engine]:
    """What runs on the device: the ways to choose a convolution's algorithm, in the order of how long the choice takes."""
    on_torch = [_torch(is_benchmarked=False), _torch(is_benchmarked=True)]
    if device.type == "cpu":
        return on_torch
    return ([] if why_no_cuda() else cuda_engines()) + on_torch


def cuda_engines() -> list[Engine]:
    """onnxruntime's CUDA provider in each search for algorithms, in whole float32, and once in TF32."""
    choices: list[tuple[Search, str]] = [("DEFAULT", "0"), ("HEURISTIC", "0"), ("EXHAUSTIVE", "0"), ("HEURISTIC", "1")]
    return [
        _onnxruntime(
            f"onnxruntime CUDA, {search}{', TF32' if tf32 == '1' else ''}",
            "CUDAExecutionProvider",
            {"cudnn_conv_algo_search": search, "use_tf32": tf32},
        )
        for search, tf32 in choices
    ]


def why_no_cuda() -> str | None:
    """The sentence that says why onnxruntime cannot use CUDA here, or None."""
    offered = onnxruntime.get_available_providers()
    if "CUDAExecutionProvider" in offered:
        return None
    return (
        f"onnxruntime {onnxruntime.__version__} here has no CUDAExecutionProvider (it offers {', '.join(offered)}): "
        "onnxruntime-gpu has one"
    )


def _onnxruntime(name: str, provider: str, settings: Mapping[str, str]) -> Engine:
    def open_session(bench: Bench, model: ExportedModel) -> Run:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(
            with_levels(onnx.load(model.path)).SerializeToString(),
            options,
            providers=[(provider, dict(settings))],
            enable_fallback=0,
        )
        if session.get_providers()[0] != provider:
            raise RuntimeError(f"onnxruntime could not use {provider}; it offers {', '.join(session.get_providers())}")

        def run(drawn: Drawn) -> Answer:
            pixels, levels = session.run(None, dict(drawn))
            return pixels, levels

        return run

    return Engine(name=name, settings=settings, open=open_session)


def with_levels(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with a second output: what it rounds."""
    rounded = next(node.input[0] for node in model.graph.node if node.op_type == "Round")
    model.graph.output.append(onnx.helper.make_tensor_value_info(rounded, onnx.TensorProto.FLOAT, None))
    return model


def _torch(*, is_benchmarked: bool) -> Engine:
    def open_net(bench: Bench, model: ExportedModel) -> Run:
        game, data = bench.trained(model.recipe)
        net = fold_batch_norm(sampler_of(game, data))
        if model.upsampling == "depthtospace":
            net = rewrite_transposed(net)
        assert isinstance(net, ImageSampler)
        sampler = net.to(bench.device)

        def run(drawn: Drawn) -> Answer:
            with torch.no_grad():
                levels = sampler.levels(*(torch.from_numpy(values).to(bench.device) for values in drawn.values()))
                pixels = torch.round(levels).clamp(0, 255).to(torch.uint8)
                return pixels.cpu().numpy(), levels.cpu().numpy()

        return run

    @contextmanager
    def held() -> Iterator[None]:
        with cudnn.flags(enabled=True, benchmark=is_benchmarked, deterministic=not is_benchmarked, allow_tf32=False):
            yield

    name = "torch, benchmark" if is_benchmarked else "torch, deterministic"
    settings = {"cudnn.benchmark": str(is_benchmarked), "cudnn.deterministic": str(not is_benchmarked)}
    return Engine(name=name, settings=settings, open=open_net, held=held)
