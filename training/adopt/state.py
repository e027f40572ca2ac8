"""Weights of another program's file: read without running code from it, and found inside a checkpoint."""

from __future__ import annotations

import errno
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from training.errors import AdoptError

LISTED = 3
"""Names that a message lists, at most."""
DEEPEST = 8
"""Containers inside one another that are searched, at most; a damaged file may hold itself."""

State = Mapping[str, Tensor]


def read_state(path: Path, key: str | None) -> State:
    """The state dict of a file.

    Args:
        path: a file of ``torch.save``, or of safetensors where that package is installed.
        key: where the checkpoint holds the state dict, ``models.G`` or ``0``; None: the file is the state dict.

    Raises:
        AdoptError: the file cannot be loaded without running code, or holds no state dict there.
    """
    states = dict(_states_in(_load(path)))
    if key is not None:
        if key not in states:
            held = [name for name in states if name]
            raise AdoptError(f"{path} holds no state dict under --key {key}; it holds {listed(held) if held else 'none'}")
        return states[key]
    if "" in states:
        return states[""]
    hint = f"name one of its own by --key: {listed(list(states))}" if states else "it holds none"
    raise AdoptError(f"{path} is no state dict; {hint}")


def listed(names: list[str]) -> str:
    """The first names, and how many more there are."""
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(names[:LISTED]) + more


def _load(path: Path) -> Any:
    is_safetensors = path.suffix == ".safetensors"
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        if path.is_file() and error.errno in (None, errno.EINVAL):  # torch's reader of archives on one whose end is missing
            raise AdoptError(f"{path} is damaged, or no file of torch.save") from None
        raise AdoptError(f"{path}: {error.strerror or error}") from None
    except Exception as error:  # a damaged file may make torch raise anything
        if isinstance(error.__cause__ or error.__context__, ImportError) and is_safetensors:
            raise AdoptError(f"{path} needs the package safetensors: install it, or save the weights by torch.save") from None
        if is_safetensors or not _is_of_torch(path):
            writer = "safetensors" if is_safetensors else "torch.save"
            raise AdoptError(f"{path} is damaged, or no file of {writer}") from None
        raise AdoptError(
            f"{path} cannot be loaded without running code from it; save the weights alone: torch.save(net.state_dict(), PATH)"
        ) from None


def _is_of_torch(path: Path) -> bool:
    """Whether a file is a whole ZIP archive, or begins as a pickle does: one of the two is what torch writes."""
    with path.open("rb") as file:
        return file.read(1) == b"\x80" or zipfile.is_zipfile(path)


def _states_in(value: Any, name: str = "", depth: int = 0) -> Iterator[tuple[str, State]]:
    """The state dicts in a value by their places, ``models.G`` or ``0``; that of the value itself is the empty name."""
    parts: list[tuple[str, Any]] = []
    if isinstance(value, Mapping):
        # An optimiser has numbers as keys, and its tensors are no weights.
        parts = [(key, part) for key, part in value.items() if isinstance(key, str)]
        if parts and len(parts) == len(value) and all(isinstance(part, Tensor) for _, part in parts):
            yield name, value
            return
    elif isinstance(value, list | tuple):
        parts = [(str(place), part) for place, part in enumerate(value)]
    for key, part in parts if depth < DEEPEST else ():
        yield from _states_in(part, f"{name}.{key}" if name else key, depth + 1)
