"""Settings of the service: environment variables named ``GAN_*``, validated into one frozen dataclass."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from stat import S_ISDIR
from typing import Any, Literal

from serving.errors import SettingError

Provider = Literal["auto", "cpu", "cuda"]
Engine = Literal["worker", "shared"]
MODELS = "GAN_MODELS"
WAITING_PICTURES = 64  # that a worker decodes or holds for it, at most; each has a thread of Flask


@dataclass(frozen=True, kw_only=True)
class Settings:
    """All settings; the field ``max_batch`` is the variable ``GAN_MAX_BATCH``."""

    models: tuple[str, ...] = ("models",)
    """Model files or folders of them, comma separated; the first model is the default one; files of a folder are sorted."""
    host: str = "127.0.0.1"
    """Address to listen on; a container needs ``0.0.0.0``."""
    port: int = 8000
    """Port to listen on."""
    operations_port: int | None = None
    """Port for ``/metrics`` and ``/admin``, which ``port`` then answers 404; all other routes are on both. Unset means none."""
    workers: int | None = None
    """Number of worker processes; unset means one per usable core; on CUDA one less with the shared engine, else one."""
    threads: int | None = None
    """Threads of a worker, each for one request; unset means a full batch, full queues and 16 more."""
    intra_op_threads: int = 1
    """Threads of one inference."""
    idle_threads: int = 1
    """Threads of an inference on the CPU that begins while no other worker runs one."""
    engine: Engine | None = None
    """Where models run: ``worker``, each worker runs them; ``shared``, one engine process; unset means shared on CUDA only."""
    provider: Provider = "auto"
    """Device of the models; ``cuda`` never falls back to the CPU, ``auto`` uses CUDA if available."""
    max_batch: int = 64
    """Maximum images of one inference."""
    queue_limit: int = 128
    """Maximum images that wait in a worker; a request beyond it is answered 503."""
    max_images: int = 256
    """Maximum ``n`` of a request."""
    max_bulk: int = 4096
    """Maximum ``n`` of a request for ``npy`` or ``tar``."""
    max_frames: int = 256
    """Maximum ``frames`` of a request."""
    max_scale: int = 16
    """Maximum ``scale`` of a request."""
    max_pixels: int = 2**24
    """Maximum pixels of one response."""
    fast_path: bool = True
    """Whether samples bypass Flask; the responses are the same."""
    client_rate: float | None = None
    """Samples a second that a worker computes, or pictures that it decodes, for one client; unset means no limit."""
    trusted_proxies: tuple[str, ...] = ()
    """Addresses or networks of proxies whose ``X-Forwarded-For`` names the client."""
    request_log: bool = True
    """Whether requests are logged."""
    request_log_every: int = 1
    """A worker logs each of this many answers below 400, and all other answers."""
    tracing: bool = False
    """Whether requests are traced by OpenTelemetry, configured by its own ``OTEL_*`` variables."""
    deadline_seconds: float = 30.0
    """Maximum seconds until a response; ``X-Request-Timeout-Ms`` may ask for less."""
    cache_bytes: int = 2**25
    """Size of a worker's response cache; 0 disables it."""
    keep_models: int = 1
    """Number of replaced models that stay available at their digest addresses."""
    watch_seconds: float = 2.0
    """Seconds between checks of the model files for changes; 0 means never."""
    admin_token: str | None = field(default=None, repr=False)
    """Bearer token for ``/admin/reload``; without it the route does not exist."""
    public_key: Path | None = None
    """PEM file of ed25519 public keys; with it each model file needs a signature by one of them."""
    serials: Path | None = None
    """Folder that stores the highest serial of each signed model; unset means a temporary one."""
    downgrade: bool = False
    """Whether a signed model may be older than one of its name accepted before."""
    stall_seconds: float = 120.0
    """Seconds after which a running inference is considered stalled and its worker is replaced."""
    backlog: int = 1024
    """Maximum connections that wait to be accepted."""
    client_seconds: float = 30.0
    """Maximum seconds to receive a request's head, and to wait for a client that does not read."""
    keep_alive_seconds: int = 75
    """Seconds that an idle connection is kept; a load balancer in front must keep its connections for less."""
    drain_seconds: float = 1.0
    """Seconds for which the service still answers after SIGTERM, while ``/readyz`` is 503."""
    stop_seconds: int = 30
    """Seconds for running requests after that, before their worker is killed."""

    @property
    def ports(self) -> list[int]:
        """The ports to listen on."""
        return [self.port] if self.operations_port is None else [self.port, self.operations_port]


def from_environ(environ: Mapping[str, str], *, models_by: str = MODELS) -> Settings:
    """Read the settings from environment variables.

    Args:
        environ: the variables.
        models_by: what has given the models, for messages: their variable, or an option that replaces it.

    Raises:
        SettingError: a value is invalid; the message names the variable, the value and the allowed values.
    """
    values: dict[str, Any] = {}
    for name, (parse, allowed) in _FIELDS.items():
        variable = f"GAN_{name.upper()}"
        if variable in environ:
            value = parse(environ[variable])
            if value is None:
                text = environ[variable]
                got = f"{len(text)} characters" if name in _SECRETS else ascii(text)
                raise SettingError(f"{models_by if variable == MODELS else variable} must be {allowed}, got {got}")
            values[name] = value
    settings = Settings(**values)
    if settings.operations_port == settings.port:
        raise SettingError(f"GAN_OPERATIONS_PORT must be another port than GAN_PORT, got '{settings.port}'")
    for name in ("serials", "downgrade"):
        if getattr(settings, name) and settings.public_key is None:
            raise SettingError(f"GAN_{name.upper()} needs GAN_PUBLIC_KEY: no signature is checked without it")
    return settings


def unknown_variables(environ: Mapping[str, str]) -> dict[str, str | None]:
    """The variables that are named like settings and are none, each with the setting of the nearest name, if one is near."""
    known = [f"GAN_{name.upper()}" for name in _FIELDS]
    unknown = sorted(name for name in environ if name.startswith("GAN_") and name not in known)
    return {name: next(iter(get_close_matches(name, known, 1, 0.8)), None) for name in unknown}


Parse = Callable[[str], Any]
"""Text to a value; None if it is invalid."""
Field = tuple[Parse, str]
"""A parser and a description of the allowed values."""


def _integer(low: int, high: int) -> Field:
    def parse(text: str) -> int | None:
        is_number = re.fullmatch(r"0|[1-9][0-9]{0,12}", text, re.ASCII)
        return int(text) if is_number and low <= int(text) <= high else None

    return parse, f"an integer {low}..{high}"


def _number(low: float, high: float, unit: str) -> Field:
    def parse(text: str) -> float | None:
        is_number = re.fullmatch(r"[0-9]{1,7}(\.[0-9]{1,6})?", text, re.ASCII)
        return float(text) if is_number and low <= float(text) <= high else None

    return parse, f"{unit} {low:.10g}..{high:.10g}"


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


def _text(pattern: str, allowed: str) -> Field:
    return lambda text: text if re.fullmatch(pattern, text, re.ASCII) else None, allowed


_HOST = r"(?=.{1,255}\Z)(?:[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*\.?|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*)"
_SECRETS = frozenset({"admin_token"})
"""Fields whose values appear in no message."""

_FIELDS: dict[str, Field] = {
    "models": (_paths, "model files or folders, separated by commas"),
    "host": _text(_HOST, "a host name or an IP address"),
    "port": _integer(1, 65535),
    "operations_port": _integer(1, 65535),
    "workers": _integer(1, 1024),
    "threads": _integer(1, 4096),
    "intra_op_threads": _integer(1, 1024),
    "idle_threads": _integer(1, 1024),
    "engine": _choice(worker="worker", shared="shared"),
    "provider": _choice(auto="auto", cpu="cpu", cuda="cuda"),
    "max_batch": _integer(1, 4096),
    "queue_limit": _integer(1, 65536),
    "max_images": _integer(1, 65536),
    "max_bulk": _integer(1, 65536),
    "max_frames": _integer(2, 65536),
    "max_scale": _integer(1, 256),
    "max_pixels": _integer(1, 2**30),
    "fast_path": _choice(on=True, off=False),
    "client_rate": _number(0.001, 10**6, "samples a second"),
    "trusted_proxies": (_networks, "IP addresses or networks such as 10.0.0.0/8, separated by commas"),
    "request_log": _choice(on=True, off=False),
    "request_log_every": _integer(1, 10**6),
    "tracing": _choice(on=True, off=False),
    "deadline_seconds": _seconds(0.001, 3600),
    "cache_bytes": _integer(0, 2**40),
    "keep_models": _integer(0, 64),
    "watch_seconds": _seconds(0, 86400),
    "admin_token": _text(r"[!-~]{16,256}", "16 to 256 visible ASCII characters"),
    "public_key": (_path, "a path"),
    "serials": (_path, "a path"),
    "downgrade": _choice(on=True, off=False),
    "stall_seconds": _seconds(1, 86400),
    "backlog": _integer(128, 65535),
    "client_seconds": _seconds(0.1, 3600),
    "keep_alive_seconds": _integer(1, 3600),
    "drain_seconds": _seconds(0, 600),
    "stop_seconds": _integer(1, 1800),
}


def model_files(settings: Settings, *, models_by: str = MODELS) -> list[Path]:
    """The model files of the settings in order, with folders expanded.

    Args:
        settings: whose ``models`` are the paths.
        models_by: what has given the paths, for messages.

    Raises:
        SettingError: a path does not exist or may not be looked at, or a folder holds no model.
    """
    files, wrong = find_model_files(settings, models_by=models_by)
    if wrong:
        raise SettingError(wrong[0])
    return files


def find_model_files(settings: Settings, *, models_by: str = MODELS) -> tuple[list[Path], list[str]]:
    """The model files of the settings in order, with folders expanded, and what is wrong with each path that gives none."""
    files: list[Path] = []
    wrong: list[str] = []
    for path in map(Path, settings.models):
        found: list[Path] = []
        try:
            # `is_dir` and `exists` hide from Python 3.14 on that a folder may not be entered.
            found = sorted(path.glob("*.onnx")) if S_ISDIR(path.stat().st_mode) else [path]
            reason = "" if found and found[0].stat() else "none there"
        except (FileNotFoundError, NotADirectoryError):
            reason = "none there"
        except OSError as error:
            reason = error.strerror or "an error"
        if reason:
            wrong.append(f"{models_by} must name .onnx files or folders of them, got {ascii(str(path))[:300]} with {reason}")
        else:
            files += found
    return files, wrong


def worker_threads(settings: Settings) -> int:
    """Threads of a worker: a full batch, a full queue, pictures that wait to be decoded, and 16 for other requests."""
    return settings.threads or settings.max_batch + settings.queue_limit + WAITING_PICTURES + 16
