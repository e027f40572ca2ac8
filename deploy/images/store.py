"""Images built by buildah without a daemon: a storage of their own in one folder, ``RUN`` lines in a chroot."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

BASE = "localhost/debian:12"
SUITE = "bookworm"
CLEANED = ("var/cache/apt", "var/lib/apt/lists")
"""Folders of a fresh root that hold only what was downloaded."""


class BuildError(Exception):
    """An image cannot be built; the message is the last lines of what was said."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """What an image says about how it is run."""

    command: list[str]
    environment: dict[str, str]
    folder: str
    user: str
    healthcheck: list[str]
    history: str
    """Every instruction that made it, as one text."""


class Store:
    """Images in a folder, which may be deleted with all of them.

    Args:
        folder: empty or not there yet.
        log: a file that takes all that builds say.
    """

    def __init__(self, folder: Path, log: Path) -> None:
        self._options = ["--root", str(folder / "root"), "--runroot", str(folder / "run"), "--storage-driver", "vfs"]
        self._scratch = folder
        self._log = log

    def make_base(self, mirror: str) -> None:
        """A Debian root by debootstrap, as the image ``BASE``."""
        root = self._scratch / "debian"
        self._run("debootstrap", "--variant=minbase", SUITE, str(root), mirror)
        security = f"deb {mirror}-security {SUITE}-security main\n"
        (root / "etc/apt/sources.list").write_text(f"deb {mirror} {SUITE} main\ndeb {mirror} {SUITE}-updates main\n{security}")
        for name in CLEANED:
            shutil.rmtree(root / name)
            (root / name).mkdir()
        container = self._buildah("from", "scratch")
        self._buildah("copy", container, str(root), "/")
        self._buildah("commit", "--rm", container, BASE)
        shutil.rmtree(root)

    def build(self, tag: str, context: Path, packages: Path, arguments: Mapping[str, str]) -> None:
        """The image of the ``Dockerfile`` in a build context, with a folder for the stage ``packages``."""
        given = [word for name, value in arguments.items() for word in ("--build-arg", f"{name}={value}")]
        given += ["--build-context", f"packages={packages}", "-f", str(context / "Dockerfile"), "-t", tag]
        self._buildah("bud", "--format", "docker", "--isolation", "chroot", "--pull-never", *given, str(context))

    def root(self, tag: str) -> Path:
        """A fresh copy of an image's file system."""
        return Path(self._buildah("mount", self._buildah("from", "--pull-never", tag)))

    def bytes(self, tag: str) -> int:
        """The size of an image, its layers unpacked."""
        manifest = json.loads(json.loads(self._buildah("inspect", "--type", "image", tag))["Manifest"])
        return sum(layer["size"] for layer in manifest["layers"])

    def config(self, tag: str) -> Config:
        """How an image is run."""
        image = json.loads(self._buildah("inspect", "--type", "image", tag))["Docker"]
        config = image["config"]
        return Config(
            command=config["Cmd"],
            environment=dict(pair.split("=", 1) for pair in config["Env"]),
            folder=config["WorkingDir"],
            user=config["User"],
            healthcheck=(config.get("Healthcheck") or {}).get("Test") or [],
            history="\n".join(step.get("created_by", "") for step in image["history"]),
        )

    def _buildah(self, command: str, *arguments: str) -> str:
        return self._run("buildah", *self._options, command, *arguments)

    def _run(self, *command: str) -> str:
        with self._log.open("a") as log:
            log.write(f"$ {' '.join(command)}\n")
            log.flush()
            done = subprocess.run(command, stdout=subprocess.PIPE, stderr=log, text=True)
            log.write(done.stdout)
        if done.returncode:
            said = self._log.read_text(errors="replace").splitlines()[-15:]
            raise BuildError("\n".join([f"{command[0]} ended with exit code {done.returncode}:", *said]))
        return done.stdout.strip()
