"""Numbers in which the nets of a game compute: float32, or bfloat16 by autocast around their forward passes."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from training.errors import TrainingError
from training.game.recipe import Recipe
from training.game.step import DiscriminatorOutput

Precision = Literal["float32", "bfloat16"]
IsFaster = Callable[[torch.device], bool]
ROUNDS = 5
"""Times that each layer is measured in each precision; the first of them warms up."""
LEAST_GAIN = 1.2
"""Gain from which bfloat16 is taken: less is within what a busy machine moves a measurement by."""


class InBfloat16:
    """A net whose calls compute in bfloat16; its outputs, weights and batch statistics are float32.

    It is no module, so that weights, averages and export see the net alone. Autocast's cache is off: it would keep a weight's
    cast beyond the optimiser's step, and the game would train against stale weights.
    """

    def __init__(self, net: nn.Module, device: torch.device) -> None:
        self._net = net
        self._device = device.type

    def __call__(self, *inputs: Any, **named: Any) -> Any:
        with torch.autocast(self._device, torch.bfloat16, cache_enabled=False):
            output = self._net(*inputs, **named)
        return to_float32(output)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._net, name)


def in_precision(nets: Mapping[str, nn.Module], precision: Precision, device: torch.device) -> dict[str, nn.Module]:
    """The nets as losses call them."""
    if precision == "float32":
        return dict(nets)
    return {name: cast(nn.Module, InBfloat16(net, device)) for name, net in nets.items()}


def to_float32(output: Any) -> Any:
    """A net's output with every bfloat16 tensor as float32."""
    match output:
        case Tensor():
            return output.float() if output.dtype == torch.bfloat16 else output
        case DiscriminatorOutput():
            heads = {name: to_float32(head) for name, head in output.heads.items()}
            return replace(output, logit=to_float32(output.logit), features=to_float32(output.features), heads=heads)
        case tuple():
            return tuple(map(to_float32, output))
        case _:
            return output


def resolve_precision(asked: str, recipe: Recipe, device: torch.device, is_faster: IsFaster | None = None) -> Precision:
    """The precision of a run.

    Args:
        asked: ``float32``, ``bfloat16``, or ``auto``: bfloat16 where it is faster and the recipe loses nothing by it.
        recipe: says what it allows.
        device: device of the run.
        is_faster: whether bfloat16 is faster on a device; ``is_bfloat16_faster``, asked for ``auto`` only.

    Raises:
        TrainingError: the recipe forbids bfloat16.
    """
    if asked == "auto":
        return "bfloat16" if recipe.bfloat16 == "equal" and (is_faster or is_bfloat16_faster)(device) else "float32"
    if asked == "bfloat16" and recipe.bfloat16 == "forbidden":
        raise TrainingError(f"the recipe {recipe.name} needs --precision float32: bfloat16 changes what it shows")
    return cast(Precision, asked)


@cache
def is_bfloat16_faster(device: torch.device) -> bool:
    """Whether nets train faster in bfloat16: on a processor that has it by a measurement.

    A processor may have the instructions and multiply by them at half the rate of float32 (decision 25). On a GPU no recipe was
    trained in bfloat16 yet.
    """
    return device.type == "cpu" and has_bfloat16() and measured_gain(device) >= LEAST_GAIN


def has_bfloat16(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether the processor multiplies bfloat16 numbers; emulated, they are slower than float32."""
    try:
        flags = cpuinfo.read_text()
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags


def measured_gain(device: torch.device) -> float:
    """Time in float32 over time in bfloat16 of a dense layer and a convolution, forward and backward: each the best of several.

    The layers are one of ``renom`` and the middle one of ``dcgan``, at the batches of recipes: at a quarter of them the casts
    of the weights hide a twofold gain. They run in one thread and by its processor time: on a busy machine threads that wait
    for each other made the gain anything from .3 to 2.8.
    """
    convolution = nn.Conv2d(64, 128, 4, 2, 1)
    convolution.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    layers = (
        (nn.Linear(1200, 1200), torch.ones(256, 1200)),
        (convolution, torch.ones(64, 64, 14, 14)),
    )
    best: dict[str, list[float]] = {"float32": [math.inf] * len(layers), "bfloat16": [math.inf] * len(layers)}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for _ in range(ROUNDS):
            for precision, times in best.items():
                for place, (layer, x) in enumerate(layers):
                    net = in_precision({"net": layer}, cast(Precision, precision), device)["net"]
                    times[place] = min(times[place], _time_s(net, x))
    finally:
        torch.set_num_threads(threads)
    return sum(best["float32"]) / sum(best["bfloat16"])


def _time_s(net: nn.Module, x: Tensor) -> float:
    started_s = time.process_time()
    torch.autograd.grad(net(x).sum(), list(net.parameters()))
    return time.process_time() - started_s
