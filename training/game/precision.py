"""Numbers in which the nets of a game compute: float32, or bfloat16 by autocast around their forward passes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from training.errors import TrainingError
from training.game.recipe import Recipe
from training.game.step import DiscriminatorOutput

Precision = Literal["float32", "bfloat16"]


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


def resolve_precision(asked: str, recipe: Recipe, device: torch.device, cpuinfo: Path = Path("/proc/cpuinfo")) -> Precision:
    """The precision of a run.

    Args:
        asked: ``float32``, ``bfloat16``, or ``auto``: bfloat16 where the hardware has it and the recipe was shown to lose
            nothing by it.
        recipe: says what it allows.
        device: device of the run.
        cpuinfo: the kernel's description of the processor.

    Raises:
        TrainingError: the recipe forbids bfloat16.
    """
    if asked == "auto":
        return "bfloat16" if recipe.bfloat16 == "equal" and has_bfloat16(device, cpuinfo) else "float32"
    if asked == "bfloat16" and recipe.bfloat16 == "forbidden":
        raise TrainingError(f"the recipe {recipe.name} needs --precision float32: bfloat16 changes what it shows")
    return cast(Precision, asked)


def has_bfloat16(device: torch.device, cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether the hardware multiplies bfloat16 numbers; emulated, they are slower than float32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    try:
        flags = cpuinfo.read_text()
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags
