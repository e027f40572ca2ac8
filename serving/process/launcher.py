"""The launcher behind ``python -m serving``: reads the environment, starts the workers, and ends them in good order."""

from __future__ import annotations

import multiprocessing
import os
import socket
import sys
import tempfile
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing.process import BaseProcess
from pathlib import Path

from serving.errors import AddressError, StartError
from serving.model.signatures import trust_of
from serving.observability.logs import print_event
from serving.process.shared_memory import SharedCounter, SharedFlag
from serving.process.supervisor import Supervisor, watch_signals
from serving.settings import Provider, Settings, from_environ, model_files, usable_cores


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
    signals = watch_signals()
    print_event("start", host=settings.host, port=settings.port, workers=settings.workers, models=[str(f) for f in files])
    with tempfile.TemporaryDirectory(prefix="gan-metrics-") as directory:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = directory  # prometheus_client reads it when a worker imports it
        if settings.serials is None:
            settings = replace(settings, serials=Path(directory) / "serials")
        return _serve(settings, address, Path(directory), signals)


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
    from serving.model.runtime import resolve_provider

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


def _serve(settings: Settings, address: str, metrics_directory: Path, signals: int) -> int:
    from serving.process.worker import REFUSED, Shared, run_worker

    context = multiprocessing.get_context("spawn")  # onnxruntime and CUDA do not survive a fork
    shared = Shared(
        draining=SharedFlag(), refused=SharedFlag(), serving=SharedFlag(), reloads=SharedCounter(), crashes=SharedCounter()
    )

    def start(place: int) -> BaseProcess:
        worker = context.Process(target=run_worker, args=(settings, address, metrics_directory, shared, place))
        worker.start()
        return worker

    supervisor = Supervisor(
        start,
        settings.workers or 1,
        is_hopeless=lambda code, is_last: code == REFUSED and (is_last or not shared.serving.is_set()),
        on_crash=shared.crashes.increment,
        drain=shared.draining.set,
        drain_seconds=settings.drain_seconds,
        stop_seconds=settings.stop_seconds,
    )
    return 0 if supervisor.run(signals) else 1
