"""A generator's module and its weights: imported from the current folder, loaded without running code from the file."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from training.adopt.memory import lacks_memory
from training.adopt.state import listed, read_state
from training.errors import AdoptError
from training.export.plain_weights import make_weights_plain

OWN = ("contract", "serving", "training")
"""Packages of gan-serve: where a generator's own have these names, Python finds gan-serve's."""


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
        if lacks_memory(error):
            raise
        hint = _hint_hidden(error)
        raise AdoptError(f"{source} cannot be called in {folder}: {type(error).__name__}: {error}{hint}") from error
    if not isinstance(net, nn.Module):
        raise AdoptError(f"{source} must return a torch.nn.Module, got {type(net).__name__}")
    for name, module in net.named_modules():
        if isinstance(module, torch.jit.ScriptModule):
            what = f"the module {name} of {source}" if name else source
            raise AdoptError(
                f"{what} is TorchScript, which cannot be adopted as a module: write the generator as an ONNX file by "
                "torch.onnx.export(net, z, PATH, dynamo=False), and adopt that file"
            )
    return net.cpu()


def _hint_hidden(error: BaseException) -> str:
    """What to do where a package of gan-serve has hidden one of the generator's."""
    package = (error.name or "").partition(".")[0] if isinstance(error, ImportError) else ""
    if package not in OWN:
        return ""
    return (
        f"; gan-serve's own package {package} hides the generator's: rename that one, or export an ONNX file where the "
        "generator was trained, and adopt this file"
    )


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
    state = read_state(path, key)
    if strip:
        state = {name.removeprefix(strip): value for name, value in state.items() if name.startswith(strip)}
        if not state:
            raise AdoptError(f"no weight of {path} has the prefix {strip!r}")
    shapes = {name: list(value.shape) for name, value in net.state_dict().items() if not is_lazy(value)}
    try:
        # Torch's own method, not one of the net's: it says which names were left over, after hooks that know older names.
        found = nn.Module.load_state_dict(net, state, strict=False)
    except RuntimeError as error:
        other = [name for name, value in state.items() if name in shapes and list(value.shape) != shapes[name]]
        if not other:
            raise AdoptError(f"{path} holds weights that do not fit: {' '.join(str(error).split())[:300]}") from None
        both = f"{list(state[other[0]].shape)} in the file and {shapes[other[0]]} in the net"
        raise AdoptError(f"{path} holds weights of other shapes: {other[0]} is {both} ({len(other)} such weights)") from None
    missing = [name for name in found.missing_keys if not name.endswith("num_batches_tracked")]
    unknown = list(found.unexpected_keys)
    if missing or unknown:
        parts = [f"lacks {listed(missing)}"] * bool(missing) + [f"has {listed(unknown)} too many"] * bool(unknown)
        held = {name: list(state[name].shape) for name in unknown}
        hint = _hint({name: shapes[name] for name in missing if name in shapes}, held)
        raise AdoptError(f"{path} holds weights of another net: it {' and '.join(parts)}{hint}")


def _hint(missing: Mapping[str, list[int]], unknown: Mapping[str, list[int]]) -> str:
    """The prefixes that make the names and their shapes fit, as options."""
    first = next(iter(missing), "")
    prefixes = sorted({name.removesuffix(first) for name in unknown if first and name.endswith(first)} - {""})
    fitting = [prefix for prefix in prefixes if all(unknown.get(prefix + name) == shape for name, shape in missing.items())]
    return f"; is it {' or '.join(f'--strip {prefix}' for prefix in fitting)}?" if fitting else ""


def freeze(net: nn.Module) -> nn.Module:
    """The module for inference: evaluation mode, float32, no gradients, each parametrised weight computed once.

    Raises:
        AdoptError: a layer has no weights yet.
    """
    for name, value in [*net.named_parameters(), *net.named_buffers()]:
        if is_lazy(value):
            raise AdoptError(
                f"{name} has no values yet, as its layer takes its size from the first input: "
                "call the net once in the function that returns it, or load weights by --weights"
            )
    net.eval().float().requires_grad_(False)
    for module in list(net.modules()):
        for name, layer in module.named_children():
            if isinstance(layer, nn.RReLU):  # ONNX has no operator for it; in evaluation mode it has the slope of the mean
                setattr(module, name, nn.LeakyReLU((layer.lower + layer.upper) / 2))
    make_weights_plain(net)
    return net.eval().requires_grad_(False)
