"""The launcher behind ``python -m serving``: reads the environment and supervises the workers until they are stopped."""

from __future__ import annotations

import ipaddress
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
from serving.observability.log_writer import LogWriter, standard_output
from serving.observability.logs import print_event
from serving.process.shared_memory import SharedCounter, SharedFlag
from serving.process.supervisor import Supervisor, watch_signals
from serving.settings import Provider, Settings, from_environ, model_files, usable_cores


def main(environ: Mapping[str, str]) -> int:
    """Serve until a signal stops the service; the exit code."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # onnxruntime reports usage unless this is set before its import
    try:
        settings = _resolve(from_environ(environ))
        trust_of(settings)  # report unusable keys before any worker starts
        files = model_files(settings)
        address = find_address(settings.host, settings.port)
    except StartError as error:
        print(f"serving: {error}", file=sys.stderr)
        return error.exit_code
    signals = watch_signals()
    print_event(
        "start",
        url=local_url(address, settings.port),
        host=settings.host,
        port=settings.port,
        workers=settings.workers,
        models=[str(f) for f in files],
    )
    with tempfile.TemporaryDirectory(prefix="gan-metrics-") as directory:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = directory  # prometheus_client reads it when a worker imports it
        if settings.serials is None:
            settings = replace(settings, serials=Path(directory) / "serials")
        exit_code, reason = _supervise(settings, address, Path(directory), signals)
    log_writer = LogWriter(standard_output())  # unlike print_event, it does not block on a pipe that nothing reads
    log_writer.event("stop", exit_code=exit_code, reason=reason)
    log_writer.close()
    return exit_code


def _resolve(settings: Settings) -> Settings:
    """Replace ``provider=auto`` and ``workers=None`` by what this machine has."""
    provider: Provider = settings.provider
    if provider != "cpu":
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as child:
            provider = child.submit(_find_provider, provider).result()
    workers = settings.workers or (1 if provider == "cuda" else usable_cores())
    return replace(settings, provider=provider, workers=workers)


def _find_provider(provider: Provider) -> Provider:
    """Resolve a provider; run in a child process, since the launcher must hold no CUDA context and no onnxruntime."""
    from serving.model.runtime import resolve_provider

    return resolve_provider(provider)


def find_address(host: str, port: int) -> str:
    """Resolve a host to an IP address and check that the port is free.

    Workers listen with SO_REUSEPORT, which would silently share the port with another program.

    Raises:
        AddressError: the port is in use, or the address is not one of this machine.
    """
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        raise AddressError(f"cannot listen on {host}:{port}: {error.strerror}") from None
    return str(address[0])


def local_url(address: str, port: int) -> str:
    """The URL to open in a browser on this machine; a wildcard address is reached by loopback."""
    ip = ipaddress.ip_address(address)
    if ip.version == 6:
        return f"http://[{'::1' if ip.is_unspecified else ip}]:{port}"
    return f"http://{'127.0.0.1' if ip.is_unspecified else ip}:{port}"


def _supervise(settings: Settings, address: str, metrics_directory: Path, signals: int) -> tuple[int, str]:
    """Run the workers until they have ended; the exit code and its reason."""
    from serving.process.worker import REFUSED, Shared, run_worker

    context = multiprocessing.get_context("spawn")  # onnxruntime and CUDA do not survive a fork
    shared = Shared(
        draining=SharedFlag(), refused=SharedFlag(), serving=SharedFlag(), reloads=SharedCounter(), crashes=SharedCounter()
    )

    def start(index: int) -> BaseProcess:
        worker = context.Process(target=run_worker, args=(settings, address, metrics_directory, shared, index))
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
    stopped_by = supervisor.run(signals)
    return (0, stopped_by.name) if stopped_by else (1, "no worker could start")
