"""The launcher behind ``python -m serving``: reads the environment, starts the workers, and ends them in good order."""

from __future__ import annotations

import atexit
import multiprocessing
import multiprocessing.connection
import os
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from granian import Granian
from granian.constants import Interfaces
from granian.log import LogLevels

from serving.errors import AddressError, StartError
from serving.logs import print_event
from serving.settings import Provider, Settings, from_environ, model_files, usable_cores
from serving.signals import Flag, Tally, wake_main_thread_on_signals
from serving.signatures import trust_of


class Server(Granian):  # type: ignore[misc, valid-type]
    """Granian, which on SIGTERM first says that it is not ready and still answers for a while."""

    def drain_first(self, draining: Flag, seconds: float) -> None:
        """Set how SIGTERM is answered; SIGINT, or a second SIGTERM, ends the service without that delay."""
        self._draining, self._drain_seconds = draining, seconds

    def signal_handler_interrupt(self, signum: int = signal.SIGINT, frame: object = None) -> None:
        is_first = not self._draining.is_set()
        self._draining.set()
        if signum == signal.SIGTERM and is_first and self._drain_seconds:
            timer = threading.Timer(self._drain_seconds, super().signal_handler_interrupt)
            timer.daemon = True
            timer.start()
        else:
            super().signal_handler_interrupt()


def main(environ: Mapping[str, str]) -> int:
    """Serve until told to stop; the exit code."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # onnxruntime reports usage unless a worker finds this at its import
    try:
        settings = _resolve(from_environ(environ))
        trust_of(settings)  # keys that cannot be used are told before any worker starts
        files = model_files(settings)
        address = find_address(settings.host, settings.port)
    except StartError as error:
        print(f"serving: {error}", file=sys.stderr)
        return error.exit_code
    print_event("start", host=settings.host, port=settings.port, workers=settings.workers, models=[str(f) for f in files])
    with tempfile.TemporaryDirectory(prefix="gan-metrics-") as directory:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = directory  # prometheus_client reads it when a worker imports it
        if settings.serials is None:
            settings = replace(settings, serials=Path(directory) / "serials")
        return _serve(settings, address, Path(directory))


def _resolve(settings: Settings) -> Settings:
    """Settings with the device found and the workers counted."""
    provider: Provider = settings.provider
    if provider != "cpu":
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as child:
            provider = child.submit(_find_provider, provider).result()
    workers = settings.workers or (1 if provider == "cuda" else usable_cores())
    return replace(settings, provider=provider, workers=workers)


def _find_provider(asked: Provider) -> Provider:
    """In a process of its own, so that the launcher holds no CUDA and no onnxruntime when it starts workers."""
    from serving.runtime import resolve_provider

    return resolve_provider(asked)


def find_address(host: str, port: int) -> str:
    """The IP address of a host, on which nobody listens yet: workers share a port, and would share it with a stranger, too.

    Raises:
        AddressError: it is in use, or is none of this machine's.
    """
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        raise AddressError(f"cannot listen on {host}:{port}: {error.strerror}") from None
    return str(address[0])


def _serve(settings: Settings, address: str, metrics_directory: Path) -> int:
    wake_main_thread_on_signals()
    multiprocessing.set_start_method("spawn", force=True)  # onnxruntime and CUDA do not survive a fork
    draining, refused, generation = Flag(), Flag(), Tally()
    server = Server(
        "serving", address, settings.port, interface=Interfaces.ASGI, workers=settings.workers,
        backpressure=settings.backlog, backlog=settings.backlog,
        respawn_failed_workers=True, respawn_interval=0.1, workers_kill_timeout=settings.stop_seconds,
        websockets=False, log_level=LogLevels.error,
    )  # fmt: skip
    server.drain_first(draining, settings.drain_seconds)
    try:
        server.serve(
            target_loader=partial(load_worker, settings, metrics_directory, draining, refused, generation), wrap_loader=False
        )
    except SystemExit as end:
        return int(bool(end.code))
    return int(refused.is_set())


def load_worker(
    settings: Settings, metrics_directory: Path, draining: Flag, refused: Flag, generation: Tally
) -> Callable[..., Any]:
    """The application of one worker, made in its process; a refused model ends the whole service with one line."""
    os.setpgid(0, 0)  # a signal to the launcher's group is the launcher's to pass on
    threading.Thread(target=_end_with_launcher, daemon=True).start()
    from serving.app import create_app

    try:
        app = create_app(settings, is_draining=draining.is_set, generation=generation, metrics_directory=metrics_directory)
        atexit.register(_leave)
        return app
    except StartError as error:
        if not refused.is_set():
            refused.set()
            print(f"serving: {error}", file=sys.stderr, flush=True)
        os.kill(os.getppid(), signal.SIGINT)
        signal.pause()
        raise


def _leave() -> None:
    """End a drained worker without taking the interpreter down: granian's idle threads would abort the process there."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _end_with_launcher() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)
