"""The service's settings: environment variables named ``GAN_*``, read once, checked, and passed on as one frozen value."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from math import ceil
from pathlib import Path
from typing import Any, Literal

from serving.errors import SettingError

Provider = Literal["auto", "cpu", "cuda"]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Everything that can be set; a field ``max_batch`` is the variable ``GAN_MAX_BATCH``."""

    models: tuple[str, ...] = ("models",)
    """Model files or folders of them, comma separated; the first model is the default one."""
    host: str = "127.0.0.1"
    """Address to listen on; a container needs ``0.0.0.0``."""
    port: int = 8000
    """Port to listen on."""
    workers: int | None = None
    """Worker processes; unset means one for each core that the process may use, and one on CUDA."""
    threads: int | None = None
    """Threads of a worker, each holding one request; unset means enough for a full batch, a full queue and 16 more."""
    intra_op_threads: int = 1
    """Threads of one inference."""
    provider: Provider = "auto"
    """Where the model runs; ``cuda`` never falls back to the CPU, ``auto`` takes CUDA when it is there."""
    max_batch: int = 64
    """Images of one inference, at most."""
    queue_limit: int = 128
    """Images that may wait in a worker; a request beyond it is answered 503."""
    max_images: int = 256
    """The greatest ``n`` of a request."""
    max_bulk: int = 4096
    """The greatest ``n`` of a request for ``npy`` or ``tar``."""
    max_frames: int = 256
    """The greatest ``frames`` of a request."""
    max_scale: int = 16
    """The greatest ``scale`` of a request."""
    max_pixels: int = 2**24
    """Pixels of one answer, at most."""
    fast_path: bool = True
    """Whether ``GET /generate`` passes in front of Flask's dispatch; the answers are the same."""
    client_rate: float | None = None
    """Samples a second that a worker computes for one client; unset means as many as it asks for."""
    trusted_proxies: tuple[str, ...] = ()
    """Addresses or networks of proxies whose ``X-Forwarded-For`` says who the client is."""
    request_log: bool = True
    """Whether each request is a line of the log."""
    tracing: bool = False
    """Whether requests are traced by OpenTelemetry, which its own ``OTEL_*`` variables say more about."""
    deadline_seconds: float = 30.0
    """How long a request may wait for its answer; ``X-Request-Timeout-Ms`` may ask for less."""
    cache_bytes: int = 2**25
    """Finished answers that a worker keeps, in bytes; 0 keeps none."""
    keep_models: int = 1
    """How many replaced models stay at hand for their digest addresses."""
    watch_seconds: float = 2.0
    """How often model files are looked at for changes; 0 means never."""
    admin_token: str | None = field(default=None, repr=False)
    """What ``Authorization: Bearer`` must say to ``/admin/reload``; without it there is no such route."""
    public_key: Path | None = None
    """A PEM file of ed25519 public keys; with it a model file needs a signature by one of them."""
    serials: Path | None = None
    """Folder that remembers the highest serial of each signed model; unset means until the service ends."""
    downgrade: bool = False
    """Whether a signed model may be older than one of its name that was let in before."""
    stall_seconds: float = 120.0
    """How long one inference may take before its worker is taken for dead and replaced."""
    backlog: int = 1024
    """Connections that may wait to be accepted."""
    client_seconds: float = 30.0
    """How long a client may take to send a request's head, or to take in what is sent to it."""
    keep_alive_seconds: int = 75
    """How long a connection is kept between two requests; a load balancer in front must keep its own for less."""
    drain_seconds: float = 1.0
    """How long the service still answers after SIGTERM, while ``/readyz`` says 503."""
    stop_seconds: int = 30
    """How long running requests may take after that, before their worker is killed."""


def from_environ(environ: Mapping[str, str]) -> Settings:
    """The settings in an environment.

    Raises:
        SettingError: a value is wrong; the message names the variable, the value and what would be right.
    """
    given: dict[str, Any] = {}
    for name, (parse, right) in _FIELDS.items():
        variable = f"GAN_{name.upper()}"
        if variable in environ:
            value = parse(environ[variable])
            if value is None:
                text = environ[variable]
                got = f"{len(text)} characters" if name in _SECRETS else ascii(text)
                raise SettingError(f"{variable} must be {right}, got {got}")
            given[name] = value
    return Settings(**given)


Parse = Callable[[str], Any]
Field = tuple[Parse, str]


def _count(low: int, high: int) -> Field:
    def parse(text: str) -> int | None:
        is_number = re.fullmatch(r"0|[1-9][0-9]{0,11}", text, re.ASCII)
        return int(text) if is_number and low <= int(text) <= high else None

    return parse, f"an integer {low}..{high}"


def _number(low: float, high: float, unit: str) -> Field:
    def parse(text: str) -> float | None:
        is_number = re.fullmatch(r"[0-9]{1,7}(\.[0-9]{1,6})?", text, re.ASCII)
        return float(text) if is_number and low <= float(text) <= high else None

    return parse, f"{unit} {low:g}..{high:g}"


_seconds = partial(_number, unit="seconds")


def _choice(**values: object) -> Field:
    return values.get, f"one of {', '.join(values)}"


def _paths(text: str) -> tuple[str, ...] | None:
    paths = tuple(part.strip() for part in text.split(","))
    return paths if all(paths) else None


def _networks(text: str) -> tuple[str, ...] | None:
    networks = tuple(part.strip() for part in text.split(","))
    try:
        for network in networks:
            ipaddress.ip_network(network)
    except ValueError:
        return None
    return networks


def _path(text: str) -> Path | None:
    return Path(text) if text else None


def _token(text: str) -> str | None:
    return text if re.fullmatch(r"[!-~]{16,256}", text, re.ASCII) else None


def _host(text: str) -> str | None:
    return text if re.fullmatch(r"[A-Za-z0-9.:_-]{1,255}", text) else None


_SECRETS = frozenset({"admin_token"})
"""Fields whose values are never shown."""

_FIELDS: dict[str, Field] = {
    "models": (_paths, "model files or folders, separated by commas"),
    "host": (_host, "a host name or an IP address"),
    "port": _count(1, 65535),
    "workers": _count(1, 1024),
    "threads": _count(1, 4096),
    "intra_op_threads": _count(1, 1024),
    "provider": _choice(auto="auto", cpu="cpu", cuda="cuda"),
    "max_batch": _count(1, 4096),
    "queue_limit": _count(1, 65536),
    "max_images": _count(1, 65536),
    "max_bulk": _count(1, 65536),
    "max_frames": _count(2, 65536),
    "max_scale": _count(1, 256),
    "max_pixels": _count(1, 2**30),
    "fast_path": _choice(on=True, off=False),
    "client_rate": _number(0.001, 10**6, "samples a second"),
    "trusted_proxies": (_networks, "IP addresses or networks, separated by commas"),
    "request_log": _choice(on=True, off=False),
    "tracing": _choice(on=True, off=False),
    "deadline_seconds": _seconds(0.001, 3600),
    "cache_bytes": _count(0, 2**40),
    "keep_models": _count(0, 64),
    "watch_seconds": _seconds(0, 86400),
    "admin_token": (_token, "16 to 256 visible ASCII characters"),
    "public_key": (_path, "a path"),
    "serials": (_path, "a path"),
    "downgrade": _choice(on=True, off=False),
    "stall_seconds": _seconds(1, 86400),
    "backlog": _count(128, 65535),
    "client_seconds": _seconds(0.1, 3600),
    "keep_alive_seconds": _count(1, 3600),
    "drain_seconds": _seconds(0, 600),
    "stop_seconds": _count(1, 1800),
}


def model_files(settings: Settings) -> list[Path]:
    """The model files that the settings name, folders resolved, in order.

    Raises:
        SettingError: a path does not exist, or a folder holds no model.
    """
    files: list[Path] = []
    for path in map(Path, settings.models):
        found = sorted(path.glob("*.onnx")) if path.is_dir() else [path]
        if not found or not found[0].exists():
            raise SettingError(f"GAN_MODELS must name .onnx files or folders of them, got {ascii(str(path))} with none there")
        files += found
    return files


def worker_threads(settings: Settings) -> int:
    """How many requests a worker holds at once: a full batch, a full queue, and room to say that it is full."""
    return settings.threads or settings.max_batch + settings.queue_limit + 16


def usable_cores(cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """Cores that this process may use, by its affinity and by the quota of its cgroup (version 2 or 1)."""
    quota, period = _quota(cgroup)
    allowed = len(os.sched_getaffinity(0))
    return min(allowed, max(1, ceil(quota / period))) if quota > 0 and period > 0 else allowed


def _quota(cgroup: Path) -> tuple[int, int]:
    try:
        if (cgroup / "cpu.max").exists():
            quota, period = (cgroup / "cpu.max").read_text().split()
            return (0, 0) if quota == "max" else (int(quota), int(period))
        return int((cgroup / "cpu/cpu.cfs_quota_us").read_text()), int((cgroup / "cpu/cpu.cfs_period_us").read_text())
    except (OSError, ValueError):
        return 0, 0
