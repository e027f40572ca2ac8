"""Podman without a daemon, with its images and containers in one folder: build, look into, run as `docker run` does."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

BASE = "localhost/debian:12"
START_SECONDS = 60.0
CONFINED = ("--read-only", "--tmpfs=/tmp", "--cap-drop=ALL", "--security-opt=no-new-privileges", "--network=none")
"""The options of `make docker-serve`, and no network."""
# Podman's default limits are above those of some machines' root; its health check timer needs systemd.
LIMITS = ("--ulimit=nofile=4096:4096", "--ulimit=nproc=4096:4096", "--health-interval=disable")
GET = "import sys, urllib.request as u; sys.stdout.buffer.write(u.urlopen('http://127.0.0.1:8000' + sys.argv[1]).read())"


class PodmanError(Exception):
    """A command of podman failed; the message is the last lines that it printed."""


class Podman:
    """Images and containers in a folder, which may be deleted with all of them.

    Args:
        folder: empty or missing.
        log: file that gets the output of builds and containers.
    """

    def __init__(self, folder: Path, log: Path) -> None:
        storage = ["--root", str(folder / "root"), "--runroot", str(folder / "run"), "--tmpdir", str(folder / "tmp")]
        self._command = ["podman", *storage, "--storage-driver=vfs", "--cgroup-manager=cgroupfs", "--runtime=runc"]
        self._log = log

    def __call__(self, *arguments: str) -> str:
        """Run a command of podman; return what it prints.

        Raises:
            PodmanError: its exit code is not 0.
        """
        with self._log.open("a") as log:
            log.write(f"$ podman {' '.join(arguments)}\n")
            log.flush()
            done = subprocess.run([*self._command, *arguments], stdout=subprocess.PIPE, stderr=log, text=True)
            log.write(done.stdout)
        if done.returncode:
            lines = self._log.read_text(errors="replace").splitlines()[-15:]
            raise PodmanError("\n".join([f"podman {arguments[0]} ended with exit code {done.returncode}:", *lines]))
        return done.stdout.strip()

    def import_debian(self, mirror: str) -> None:
        """Make the image ``BASE``, Debian 12 as its base images have it, by mmdebstrap."""
        sources = [f"deb {mirror} bookworm main", f"deb {mirror} bookworm-updates main"]
        line = ["mmdebstrap", "--variant=minbase", "bookworm", "-", *sources, f"deb {mirror}-security bookworm-security main"]
        with self._log.open("a") as log:
            made = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=log)
            imported = subprocess.run([*self._command, "import", "-", BASE], stdin=made.stdout, stdout=log, stderr=log)
        if made.wait() or imported.returncode:
            raise PodmanError("mmdebstrap failed:\n" + "\n".join(self._log.read_text(errors="replace").splitlines()[-15:]))

    def build(self, image: str, context: Path, packages: Path) -> None:
        """Build the ``Dockerfile`` in a build context for the CPU, with a folder for its stage ``packages``."""
        arguments = [f"--build-arg=BASE={BASE}", "--build-arg=RUNTIME=serve", f"--build-context=packages={packages}"]
        # RUN lines in a chroot: they need the network, and a sandbox may allow no other isolation. Not a layer for each
        # instruction: the driver vfs copies the whole file system for one.
        options = ["--format=docker", "--isolation=chroot", "--layers=false", "--pull=never", f"--tag={image}"]
        self("build", *options, *arguments, str(context))

    def inspect(self, image: str) -> dict[str, Any]:
        """The image's configuration and size."""
        found: dict[str, Any] = json.loads(self("image", "inspect", image))[0]
        return found

    def root(self, image: str) -> Path:
        """The image's file system, mounted."""
        return Path(self("image", "mount", image))

    def run(
        self, image: str, mounts: Mapping[Path, str], command: Sequence[str] = (), *options: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a confined container until it ends.

        Args:
            image: its name.
            mounts: by file or folder of this machine, its path in the container and its mode, such as ``/models:ro``.
            command: instead of the image's own.
            options: of ``podman run``.
        """
        volumes = [f"--volume={source}:{target}" for source, target in mounts.items()]
        line = [*self._command, "run", *CONFINED, *LIMITS, *volumes, *options, image, *command]
        return subprocess.run(line, capture_output=True, text=True, stdin=subprocess.DEVNULL)

    @contextmanager
    def service(self, image: str, mounts: Mapping[Path, str], *options: str) -> Iterator[Container]:
        """Run the image's own command in the background, ready at ``/readyz``; killed at the end if it still runs."""
        started = self.run(image, mounts, (), "--detach", *options)
        if started.returncode:
            raise PodmanError(f"the container did not start: {started.stderr}")
        container = Container(self, self._command, started.stdout.strip())
        try:
            container.wait_until_ready()
            yield container
        finally:
            self("rm", "--force", "--time=0", container.id)


class Container:
    """A running container.

    Args:
        podman: runs its commands.
        command: podman's command line.
        id: the container's.
    """

    def __init__(self, podman: Podman, command: Sequence[str], id: str) -> None:
        self._podman = podman
        self._command = command
        self.id = id

    def execute(self, *command: str, user: str = "") -> subprocess.CompletedProcess[bytes]:
        """Run a command in the container, by default as the container's user."""
        return subprocess.run([*self._command, "exec", f"--user={user}", self.id, *command], capture_output=True)

    def get(self, path: str) -> bytes:
        """Return the body of an answer of 200.

        Raises:
            PodmanError: there is none.
        """
        done = self.execute("python", "-c", GET, path)
        if done.returncode:
            raise PodmanError(f"{path}: {done.stderr.decode(errors='replace')[-500:]}")
        return done.stdout

    def wait_until_ready(self) -> None:
        """Return when /readyz answers 200.

        Raises:
            PodmanError: it does not within START_SECONDS.
        """
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                self.get("/readyz")
                return
            except PodmanError as error:
                if time.monotonic() > deadline:
                    raise PodmanError(f"not ready: {error}; {self._podman('logs', self.id)[-500:]}") from None
            time.sleep(0.2)

    def stop(self) -> int:
        """Send SIGTERM; return the exit code."""
        self._podman("stop", "--time=60", self.id)
        return int(self._podman("wait", self.id))
