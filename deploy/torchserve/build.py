"""From a model file to an archive for TorchServe, by torch-model-archiver."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from deploy.torchserve.contents import CONFIG, HANDLER, MODEL, shipped_files
from deploy.torchserve.errors import DeployError
from deploy.torchserve.verify import Archive, verify_file
from serving.model.load import Model, load_model

NEEDS = "install the extra: pip install -e '.[torchserve]'"


def build(path: Path, folder: Path) -> tuple[Path, Archive]:
    """Write ``<name>.mar`` into a folder, whole or not at all.

    Args:
        path: the model file; it is proven first, as the service proves it.
        folder: made if it is not there.

    Raises:
        StartError: the model is refused.
        DeployError: torch-model-archiver is missing or fails.
    """
    if importlib.util.find_spec("model_archiver") is None:
        raise DeployError(f"torch-model-archiver is not installed; {NEEDS}")
    model = load_model(path, "cpu")
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder, prefix=".mar-") as place:
        made = archive(path, model, Path(place))
        archived = verify_file(made, model.digest)  # the file may have been replaced since it was proven
        target = folder / made.name
        made.replace(target)
    return target, archived


def archive(path: Path, model: Model, place: Path) -> Path:
    """Stage the files under a place and have them packed there."""
    top, code, temporary = place / "top", place / "code", place / "tmp"
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
    # Relative, since the archiver takes commas and brackets of a path for its own. It also empties and fills a folder of the
    # model's name in the temporary directory, which is everyone's otherwise.
    environment = os.environ | {"TMPDIR": str(temporary.resolve())}
    done = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise DeployError(f"torch-model-archiver failed: {done.stderr.strip().splitlines()[-1:]}")
    return place / f"{model.card.name}.mar"
