"""Whether an archive is one that this version of the project built: its own code, one model, and nothing else.

TorchServe runs whatever code an archive holds, and unpacks whatever names it holds. So an archive is refused here before it
comes near TorchServe, unless each of its files is known: the code byte by byte, the model by its digest.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from contract import CardError, card_from_metadata
from deploy.torchserve.contents import CONFIG, HANDLER, MANIFEST, MODEL, shipped_files
from deploy.torchserve.errors import ArchiveError
from deploy.torchserve.strict_zip import MAX_BYTES, read_entries
from serving.errors import ModelError
from serving.model.onnx_file import read_contents

PICKLES = frozenset({".pth", ".pt", ".pt2", ".pkl", ".pickle", ".bin", ".ckpt", ".joblib", ".npy", ".npz"})
"""What is read by running it, or may be."""


@dataclass(frozen=True)
class Archive:
    """An archive that is what it should be."""

    name: str
    """The model's, by which TorchServe serves it."""
    digest: str
    """SHA-256 of the model file."""
    data: bytes
    """The very bytes that were looked at."""


def verify_file(path: Path, digest: str | None = None) -> Archive:
    """The archive in a file; see ``verify``."""
    try:
        if path.exists() and not path.is_file():
            raise ArchiveError(f"{path}: not a regular file")
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ArchiveError(f"{path}: cannot be read: {error.strerror}") from None
    try:
        return verify(data, digest)
    except ArchiveError as error:
        raise ArchiveError(f"{path}: {error}") from None


def verify(data: bytes, digest: str | None = None) -> Archive:
    """The archive in these bytes.

    Args:
        data: of the file.
        digest: what the model's SHA-256 must be; None takes the one that the archive states.

    Raises:
        ArchiveError: it is not what this version of the project builds; the message names the entry and what is wrong with it.
    """
    if len(data) > MAX_BYTES:
        raise ArchiveError(f"larger than {MAX_BYTES} bytes")
    entries = read_entries(data)
    check_listed(entries)
    check_code(entries)
    model = check_manifest(entries[MANIFEST])
    found = hashlib.sha256(entries[MODEL]).hexdigest()
    if found != model["modelVersion"]:
        raise ArchiveError(f"{MODEL} has the SHA-256 {found}, the manifest states {model['modelVersion']!r:.80}")
    if digest is not None and found != digest:
        raise ArchiveError(f"{MODEL} has the SHA-256 {found}, but must have {digest}")
    name = model_name(entries[MODEL])
    if model["modelName"] != name:
        raise ArchiveError(f"{MODEL} is called {name!r}, the manifest states {model['modelName']!r:.80}")
    return Archive(name, found, data)


def check_listed(entries: dict[str, bytes]) -> None:
    """See that an archive holds all that belongs into it, and nothing else.

    Raises:
        ArchiveError: naming what is missing or too much.
    """
    listed = {MANIFEST, MODEL, *shipped_files()}
    for name in entries:
        if PurePosixPath(name).suffix.lower() in PICKLES:
            raise ArchiveError(f"{name!r} may be a pickle; the only model is {MODEL}")
        if name not in listed:
            raise ArchiveError(f"{name!r} does not belong into an archive")
    missing = sorted(listed - set(entries))
    if missing:
        raise ArchiveError(f"{missing[0]!r} is missing")


def check_code(entries: dict[str, bytes]) -> None:
    """See that the code is that of this checkout, byte by byte.

    Raises:
        ArchiveError: naming the file that is another.
    """
    for name, path in shipped_files().items():
        if entries[name] != path.read_bytes():
            raise ArchiveError(f"{name!r} is not that of this version; `make mar` makes the archive anew")


def check_manifest(data: bytes) -> dict[str, Any]:
    """The manifest's part about the model.

    Raises:
        ArchiveError: it asks for another entry point, another interpreter, or for packages to be installed.
    """
    try:
        manifest = json.loads(data)
        model = dict(manifest["model"])
        runtime = manifest["runtime"]
    except (ValueError, TypeError, KeyError, RecursionError):
        raise ArchiveError(f"{MANIFEST} is no manifest") from None
    expected = {"serializedFile": MODEL, "handler": HANDLER, "configFile": CONFIG}
    keys = {*expected, "modelName", "modelVersion"}
    if set(model) != keys or runtime != "python":
        raise ArchiveError(f"{MANIFEST} must hold exactly {', '.join(sorted(keys))} of the model and the runtime 'python'")
    for key, value in expected.items():
        if model[key] != value:
            raise ArchiveError(f"{MANIFEST}: {key} must be {value!r}, got {model[key]!r:.80}")
    return model


def model_name(data: bytes) -> str:
    """The name on a model's card.

    Raises:
        ArchiveError: the file is no model with a card.
    """
    try:
        return card_from_metadata(read_contents(data).metadata).name
    except (CardError, ModelError) as error:
        raise ArchiveError(f"{MODEL}: {error}") from None
