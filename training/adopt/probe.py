"""Runs a PyTorch generator once under observation: which module fails, draws noise or uses statistics of the batch."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from training.adopt.memory import lacks_memory
from training.errors import AdoptError, first_line

ROWS = 7
"""Rows of a batch: few, as a large generator's results for 64 would take gigabytes; and no size that another axis often has."""
TOLERANCE = 1e-3
"""Greatest difference, as a share of the output's range, between a row alone and the same row in a batch."""
OTHER_PRECISION = re.compile(r"\b(Half|BFloat16|Double)\b|\((double)\)|torch\.(float16|bfloat16|float64)\b")
"""How torch's messages name numbers that are not float32."""


class _Watch(TorchDispatchMode):
    """Notes the first operator that draws random numbers, and the first that normalises by the batch."""

    def __init__(self, modules: list[str]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.modules = modules
        """The modules under way, outermost first."""
        self.noise: str | None = None
        self.statistics: str | None = None

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func._schema.name.removeprefix("aten::")
        declared = func._schema.arguments
        given = {one.name: one.default_value for one in declared if one.has_default_value()} | (kwargs or {})
        given |= {one.name: value for one, value in zip(declared, args, strict=False)}
        is_random = torch.Tag.nondeterministic_seeded in func.tags and given.get("training", True)
        # Attention bears the tag for the sake of its dropout, which is zero in evaluation mode.
        if is_random and "scaled_dot_product" not in name and "sdp" not in name:
            self.noise = self.noise or f"{name} in {self.module}"
        if "batch_norm" in name:
            is_training = given.get("training", "update" in name)
            # An instance normalisation arrives here as one row.
            if is_training and given["input"].shape[0] == ROWS:
                self.statistics = self.statistics or self.module
        return func(*args, **(kwargs or {}))

    @property
    def module(self) -> str:
        return self.modules[-1] if self.modules else "the generator"


def probe(net: nn.Module, batches: Iterable[Mapping[str, Tensor]], described: str, see: Callable[[NDArray[Any]], None]) -> None:
    """Run ``net(**latents)`` on each batch, and check on the first one that a row's output is its own.

    Args:
        net: a module in evaluation mode that takes its latents by name.
        batches: latents of 7 rows each, or fewer in the last one.
        described: the latents in words, for messages.
        see: notes the output of a batch.

    Raises:
        AdoptError: the net refuses the latents, draws noise itself, uses statistics of the batch, or has no tensor as output.
    """
    with torch.no_grad(), _modules_under_way(net) as modules:
        for place, latents in enumerate(batches):
            output = _watched(net, latents, described, _Watch(modules))
            if place == 0:
                _check_repeated(net, latents, output, modules)
            see(output.numpy())


def _watched(net: nn.Module, latents: Mapping[str, Tensor], described: str, watch: _Watch) -> Tensor:
    """The output; raises AdoptError as ``probe`` does."""
    try:
        with watch:
            output: Tensor = net(**latents)
    except AdoptError:
        raise
    except Exception as error:  # the user's code may raise anything
        if lacks_memory(error):
            raise
        why = f"{watch.module}: {first_line(error)}"
        if isinstance(error, RuntimeError) and OTHER_PRECISION.search(first_line(error)):
            raise AdoptError(
                f"forward changes the precision of its numbers, and weights and latents are float32 here ({why}): "
                "leave .half(), .double(), .to(torch.bfloat16) and the like out of it"
            ) from error
        raise AdoptError(f"the generator does not take the latents {described}: {why}") from error
    if watch.noise:
        raise AdoptError(
            f"the generator draws noise itself ({watch.noise}), so a seed would not fix its pictures: "
            "make the noise a parameter of forward and declare it, --latent noise=normal:SIZE"
        )
    if watch.statistics:
        raise AdoptError(f"{watch.statistics} normalises by the statistics of the batch: it needs running statistics")
    return output


def _check_repeated(net: nn.Module, latents: Mapping[str, Tensor], output: Tensor, modules: list[str]) -> None:
    """Check that a row alone, and the same rows again, give the same output of the right type; raises AdoptError."""
    rows = {name: values[3:4] for name, values in latents.items()}
    try:
        alone, again = net(**rows), net(**latents)
    except Exception as error:
        if lacks_memory(error):
            raise
        where = modules[-1] if modules else "the generator"
        raise AdoptError(f"the generator takes {ROWS} rows, and not one alone: {where}: {first_line(error)}") from error
    if output.dtype not in (torch.float32, torch.uint8):
        kind = str(output.dtype).removeprefix("torch.")
        raise AdoptError(f"the output must be of float32 or uint8, got {kind}: let forward end in .float()")
    if not torch.equal(output.nan_to_num(), again.nan_to_num()):
        raise AdoptError("two runs on the same latents differ: the generator draws noise outside of torch, or keeps a state")
    if output.ndim == 0 or len(output) != ROWS or alone.shape != output[3:4].shape:
        raise AdoptError(f"the output must have one row for each of {ROWS} latents, got {list(output.shape)}")
    values, one = output.numpy().astype(np.float64), alone.numpy().astype(np.float64)
    scale = max(float(values.max() - values.min()), 1e-6)
    if np.isfinite(values).all() and np.abs(one - values[3:4]).max() > TOLERANCE * scale + (output.dtype == torch.uint8):
        raise AdoptError("a picture depends on the other rows of its batch, so a seed would not fix it")


@contextmanager
def _modules_under_way(net: nn.Module) -> Iterator[list[str]]:
    """The names of the modules whose ``forward`` is under way; after an exception the innermost one that raised is last."""
    under_way: list[str] = []
    handles = []
    for name, module in net.named_modules():
        if not name:
            continue
        kind = type(module).__name__
        words = f"{kind}.forward" if name == "net" else f"{name.removeprefix('net.')} ({kind})"
        handles.append(module.register_forward_pre_hook(lambda *_, words=words: under_way.append(words)))
        handles.append(module.register_forward_hook(lambda *_: _leave(under_way)))
    try:
        yield under_way
    finally:
        for handle in handles:
            handle.remove()


def _leave(under_way: list[str]) -> None:
    under_way.pop()
