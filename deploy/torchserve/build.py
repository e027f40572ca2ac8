"""From a model file to an archive for TorchServe, by torch-model-archiver."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from deploy.torchserve.contents import CONFIG, HANDLER, MODEL, shipped_files
from serving.model.load import Model, load_model

NEEDS = "install the extra: pip install -e '.[torchserve]'"


class DeployError(Exception):
    """A command of deploy.torchserve failed; the message is one line."""


@dataclass(frozen=True)
class Archive:
    """A packed model."""

    path: Path
    name: str
    """The model's name, under which TorchServe serves it."""
    digest: str
    """SHA-256 of the model file; each worker compares it with the file that it loads."""


def build(path: Path, folder: Path) -> Archive:
    """Write ``<name>.mar`` into a folder, whole or not at all.

    Args:
        path: model file; it is checked against its goldens first, as the service does.
        folder: output folder; made if missing.

    Raises:
        StartError: the model is refused.
        DeployError: torch-model-archiver is missing or fails.
    """
    if importlib.util.find_spec("model_archiver") is None:
        raise DeployError(f"torch-model-archiver is not installed; {NEEDS}")
    model = load_model(path, "cpu")
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder, prefix=".mar-") as work:
        packed = pack(path, model, Path(work))
        target = folder / packed.name
        packed.replace(target)
    return Archive(target, model.card.name, model.digest)


def pack(path: Path, model: Model, work: Path) -> Path:
    """Copy an archive's files into a work folder and run torch-model-archiver there."""
    top, code, temporary = work / "top", work / "code", work / "tmp"
    for folder in (top, code, temporary):
        folder.mkdir()
    shutil.copyfile(path, top / MODEL)
    for name, source in shipped_files().items():
        target = (top if name in (HANDLER, CONFIG) else code) / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
    command = [
        sys.executable,
        "-m",
        "model_archiver.model_packaging",
        "--model-name",
        model.card.name,
        "--version",
        model.digest,
        "--serialized-file",
        f"top/{MODEL}",
        "--handler",
        f"top/{HANDLER}",
        "--config-file",
        f"top/{CONFIG}",
        "--extra-files",
        "code",
        "--export-path",
        ".",
    ]
    # Relative paths, because the archiver splits a path at commas and expands brackets. A private TMPDIR, because the archiver
    # empties a folder named after the model there.
    environment = os.environ | {"TMPDIR": str(temporary.resolve())}
    done = subprocess.run(command, cwd=work, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise DeployError(f"torch-model-archiver failed: {done.stderr.strip().splitlines()[-1:]}")
    return work / f"{model.card.name}.mar"
