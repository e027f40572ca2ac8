"""A program in an image's root, confined as the README says to run it, and what can be seen of it from outside."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from deploy.images.store import Config

SCRIPT = Path(__file__).with_suffix(".sh")
PATIENCE_S = 60.0
DROPPED = ("--clear-groups", "--inh-caps=-all", "--ambient-caps=-all", "--bounding-set=-all", "--no-new-privs")
CAPABILITY_SETS = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")


class ContainerError(Exception):
    """The program did not do what it must."""


@dataclass(frozen=True)
class Mount:
    """A file or a folder of this machine in a container."""

    source: Path
    target: str
    mode: str = "ro"


@dataclass(frozen=True)
class Container:
    """A running program.

    Args:
        process: what entered the namespaces.
        config: how its image is run.
    """

    process: subprocess.Popen[str]
    config: Config

    def inside(self, *command: str) -> subprocess.CompletedProcess[bytes]:
        """A command in the container, as root and with its environment: what a person who looks around would do."""
        enter = ["nsenter", "--target", str(self._first()), "--mount", "--net", "--pid", "--root", "--wd", "env", "-i"]
        return subprocess.run([*enter, *_pairs(self.config), *command], capture_output=True)

    def get(self, path: str) -> bytes:
        """The body of an answer, by curl on the container's loopback.

        Raises:
            ContainerError: it is none of 2xx.
        """
        address = f"http://127.0.0.1:{self.config.environment['GAN_PORT']}{path}"
        command = ["nsenter", "--target", str(self._first()), "--net", "curl", "--silent", "--show-error", "--fail", address]
        done = subprocess.run(command, capture_output=True)
        if done.returncode:
            raise ContainerError(f"{path}: {done.stderr.decode().strip()}")
        return done.stdout

    def wait_until_ready(self) -> None:
        """Until /readyz answers 200.

        Raises:
            ContainerError: the program ended, or took too long.
        """
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                return self._look()
            except ContainerError as error:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise ContainerError(f"the service did not become ready: {error}") from None
                time.sleep(0.1)

    def _look(self) -> None:
        self.get("/readyz")

    def rights(self) -> dict[str, set[str]]:
        """By name the values in ``/proc/PID/status`` of all its processes: user, groups, capabilities, no_new_privs."""
        found: dict[str, set[str]] = {}
        for pid in self._all():
            for line in Path(f"/proc/{pid}/status").read_text().splitlines():
                name, _, value = line.partition(":")
                if name in ("Uid", "Gid", "Groups", "NoNewPrivs", *CAPABILITY_SETS):
                    found.setdefault(name, set()).update(value.split() or ["none"])
        return found

    def stop(self) -> int:
        """Send its first process SIGTERM; the exit code."""
        subprocess.run(["kill", "-TERM", str(self._first())], check=True)
        return self.process.wait(PATIENCE_S)

    def _first(self) -> int:
        """The program itself: process 1 of its namespace.

        Raises:
            ContainerError: it has ended.
        """
        children = _children(self.process.pid)
        if not children:
            raise ContainerError("it has ended")
        return children[0]

    def _all(self) -> list[int]:
        found, queue = [], [self._first()]
        while queue:
            found.append(queue.pop())
            queue += _children(found[-1])
        return found


def _children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


def _pairs(config: Config) -> list[str]:
    return [f"{name}={value}" for name, value in config.environment.items()]


def command_line(root: Path, config: Config, mounts: Sequence[Mount], command: Sequence[str]) -> list[str]:
    """What is typed to run a command in an image's root, by its user and environment, without a right or a network."""
    user, _, group = config.user.partition(":")
    places = [word for mount in mounts for word in (str(mount.source), mount.target, mount.mode)]
    return [
        "unshare",
        "--mount",
        "--net",
        "--pid",
        "--ipc",
        "--uts",
        "--fork",
        "--kill-child",
        "sh",
        str(SCRIPT),
        str(root),
        config.folder,
        *places,
        "--",
        *_pairs(config),
        "setpriv",
        f"--reuid={user}",
        f"--regid={group}",
        *DROPPED,
        *command,
    ]


@contextmanager
def running(root: Path, config: Config, mounts: Sequence[Mount], log: Path) -> Iterator[Container]:
    """The image's own command; killed at the end if it still runs."""
    with log.open("a") as file:
        line = command_line(root, config, mounts, config.command)
        process = subprocess.Popen(line, stdout=file, stderr=file, stdin=subprocess.DEVNULL, text=True)
        try:
            yield Container(process, config)
        finally:
            process.kill()
            process.wait()


def run(root: Path, config: Config, mounts: Sequence[Mount], command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """A command until it ends."""
    return subprocess.run(command_line(root, config, mounts, command), capture_output=True, text=True, stdin=subprocess.DEVNULL)
