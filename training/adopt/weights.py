"""A generator's module and its weights: imported from the current folder, loaded without running code from the file."""

from __future__ import annotations

import errno
import importlib
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize, remove_spectral_norm, remove_weight_norm
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from training.errors import AdoptError

LISTED = 3
"""Names that a message lists, at most."""


def import_net(source: str, folder: Path) -> nn.Module:
    """Call ``package.module:callable``, which returns the module.

    Args:
        source: the callable, ``my_package:make_generator``; a class of modules is one.
        folder: where to look for the package before the installed ones.

    Raises:
        AdoptError: there is no such package or callable, or it returns no module.
    """
    package, colon, name = source.partition(":")
    if not colon or not package or not name or package.endswith(".py"):
        hint = _hint_at(package, name)
        raise AdoptError(f"the generator must be a file.onnx or package.module:callable, got {source!r}{hint}")
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    try:
        made = importlib.import_module(package)
        for part in name.split("."):
            made = getattr(made, part)
        net = made if isinstance(made, nn.Module) else made()  # type: ignore[operator]
    except (Exception, SystemExit) as error:  # the user's code may raise anything
        raise AdoptError(f"{source} cannot be called in {folder}: {type(error).__name__}: {error}") from error
    if not isinstance(net, nn.Module):
        raise AdoptError(f"{source} must return a torch.nn.Module, got {type(net).__name__}")
    return net.cpu()


def _hint_at(package: str, name: str) -> str:
    """What may be meant where a file is named instead of a package."""
    if package.endswith(".py"):
        return f"; is it {package.removesuffix('.py').replace('/', '.')}:{name or 'CALLABLE'}?"
    return "; a file of weights belongs to --weights" if package.endswith((".pt", ".pth", ".ckpt")) else ""


def load_weights(net: nn.Module, path: Path, *, key: str | None, strip: str) -> None:
    """Fill ``net`` with the weights of a file.

    Args:
        net: the generator.
        path: a file of ``torch.save``: a state dict, or a checkpoint that holds one.
        key: where the checkpoint holds it; None: the file is the state dict.
        strip: prefix of the names of the weights, which is cut; weights without it are left out.

    Raises:
        AdoptError: the file cannot be loaded without running code, or has weights of another net; the message names the first.
    """
    state = _state(path, key)
    if strip:
        state = {name.removeprefix(strip): value for name, value in state.items() if name.startswith(strip)}
        if not state:
            raise AdoptError(f"no weight of {path} has the prefix {strip!r}")
    wanted = net.state_dict()
    missing = [name for name in wanted if name not in state and not name.endswith("num_batches_tracked")]
    unknown = [name for name in state if name not in wanted]
    if missing or unknown:
        parts = [f"lacks {_listed(missing)}"] * bool(missing) + [f"has {_listed(unknown)} too many"] * bool(unknown)
        raise AdoptError(f"{path} holds weights of another net: it {' and '.join(parts)}{_hint(missing, unknown)}")
    other = [name for name, value in state.items() if value.shape != wanted[name].shape]
    if other:
        shapes = f"{list(state[other[0]].shape)} in the file and {list(wanted[other[0]].shape)} in the net"
        raise AdoptError(f"{path} holds weights of other shapes: {other[0]} is {shapes} ({len(other)} such weights)")
    net.load_state_dict(state, strict=False)


def freeze(net: nn.Module) -> nn.Module:
    """The module for inference: evaluation mode, float32, no gradients, each parametrised weight computed once."""
    net.eval().float().requires_grad_(False)
    for module in list(net.modules()):
        if parametrize.is_parametrized(module):
            for name in list(module.parametrizations):  # type: ignore[arg-type]
                parametrize.remove_parametrizations(module, name, leave_parametrized=True)
        for hook in list(module._forward_pre_hooks.values()):  # of torch.nn.utils, from before the parametrizations
            if isinstance(hook, SpectralNorm):
                remove_spectral_norm(module, hook.name)
            elif isinstance(hook, WeightNorm):
                remove_weight_norm(module, hook.name)
    return net.eval().requires_grad_(False)


def _state(path: Path, key: str | None) -> Mapping[str, Tensor]:
    try:
        loaded: Any = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        if path.is_file() and error.errno in (None, errno.EINVAL):  # torch's reader of archives on one whose end is missing
            raise AdoptError(f"{path} is damaged, or no file of torch.save") from None
        raise AdoptError(f"{path}: {error.strerror or error}") from None
    except Exception:  # a damaged file may make torch raise anything
        if not _is_of_torch(path):
            raise AdoptError(f"{path} is damaged, or no file of torch.save") from None
        raise AdoptError(
            f"{path} cannot be loaded without running code from it; save the weights alone: torch.save(net.state_dict(), PATH)"
        ) from None
    parts = loaded if isinstance(loaded, Mapping) else {}
    held = [name for name, value in parts.items() if isinstance(name, str) and _is_state(value)]
    if key is not None:
        if key not in held:
            raise AdoptError(f"{path} holds no state dict under --key {key}; it holds {_listed(held) if held else 'none'}")
        found: Mapping[str, Tensor] = loaded[key]
        return found
    if _is_state(loaded):
        state: Mapping[str, Tensor] = loaded
        return state
    hint = f"name one of its own by --key: {_listed(held)}" if held else "it holds none"
    raise AdoptError(f"{path} is no state dict; {hint}")


def _is_of_torch(path: Path) -> bool:
    """Whether a file is a whole ZIP archive, or begins as a pickle does: one of the two is what torch writes."""
    with path.open("rb") as file:
        return file.read(1) == b"\x80" or zipfile.is_zipfile(path)


def _is_state(value: Any) -> bool:
    is_filled = isinstance(value, Mapping) and bool(value)
    return is_filled and all(isinstance(name, str) and isinstance(part, Tensor) for name, part in value.items())


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(names[:LISTED]) + more


def _hint(missing: list[str], unknown: list[str]) -> str:
    """The option that makes the names fit, if one prefix does."""
    prefixes = {name.removesuffix(missing[0]) for name in unknown if missing and name.endswith(missing[0])}
    fitting = sorted(prefix for prefix in prefixes if prefix and {prefix + name for name in missing} <= set(unknown))
    return f"; is it --strip {fitting[0]}?" if fitting else ""
