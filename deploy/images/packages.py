"""Where the caller's pip finds packages, as a folder that both Dockerfiles mount at /packages while they install.

The folder holds a ``pip.conf``, the certificates that the caller's pip trusts, and the local folders of packages that it names,
mounted, not copied. Nothing of it is in the project or in an image.
"""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

MOUNTED = Path("/packages")
"""Where the Dockerfiles mount the folder."""
INDEXES = ("index-url", "extra-index-url")
PLACES = (*INDEXES, "find-links")
PLAIN = ("no-index", "trusted-host", "proxy", "timeout", "retries")


def pip_settings(environ: Mapping[str, str]) -> dict[str, str]:
    """The caller's pip configuration from its files and from variables, which win; certificates are ``cert``."""
    command = [sys.executable, "-m", "pip", "config", "list"]
    lines = subprocess.run(command, env=dict(environ), capture_output=True, text=True, check=True).stdout.splitlines()
    return settings_in(lines, environ)


def settings_in(lines: Iterable[str], environ: Mapping[str, str]) -> dict[str, str]:
    """The same, from what ``pip config list`` prints."""
    given = {key: ast.literal_eval(value) for key, _, value in (line.partition("=") for line in lines)}
    found: dict[str, str] = {}
    for source in ("global", "install", ":env:"):
        names = {key: key.removeprefix(f"{source}.") for key in given if key.startswith(f"{source}.")}
        found |= {name: given[key] for key, name in names.items() if name in (*PLACES, *PLAIN, "cert")}
    for variable in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"):
        if environ.get(variable):
            found.setdefault("cert", environ[variable])
    return found


@contextmanager
def packages_folder(folder: Path, settings: Mapping[str, str]) -> Iterator[Path]:
    """The folder, filled; its mounts are read-only, and gone afterwards."""
    with ExitStack() as stack:
        lines = ["[global]"]
        for name, value in settings.items():
            if name in PLACES:
                value = " ".join(_inside(folder, stack, place, name in INDEXES) for place in value.split())
            elif name == "cert":
                shutil.copyfile(value, folder / "ca.pem")
                value = str(MOUNTED / "ca.pem")
            lines.append(f"{name} = {value}")
        (folder / "pip.conf").write_text("\n".join(lines) + "\n")
        yield folder


def _inside(folder: Path, stack: ExitStack, place: str, is_index: bool) -> str:
    """How a place is called inside the build; one that is no local folder keeps its name."""
    path = local_path(place)
    if path is None:
        return place
    base = path.parent if is_index or path.is_file() else path  # the pages of an index link to files next to it
    target = folder / f"local{len(list(folder.glob('local*')))}"
    target.mkdir()
    subprocess.run(["mount", "--bind", "-o", "ro", str(base), str(target)], check=True)
    stack.callback(subprocess.run, ["umount", str(target)], check=True)
    return f"file://{MOUNTED / target.name / path.relative_to(base)}"


def local_path(place: str) -> Path | None:
    """The folder or file that a place names, if it is one of this machine."""
    address = urlsplit(place)
    if address.scheme == "file":
        return Path(unquote(address.path))
    return Path(os.path.abspath(place)) if not address.scheme and Path(place).exists() else None


def private_words(settings: Mapping[str, str]) -> list[str]:
    """What must not be found in an image: the hosts and folders that packages came from."""
    places = [place for name in PLACES for place in settings.get(name, "").split()] + settings.get("proxy", "").split()
    words = {urlsplit(place).hostname or str(local_path(place) or "") for place in places}
    return sorted(words - {"", "/", "pypi.org"})
