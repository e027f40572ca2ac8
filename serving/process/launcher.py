"""The launcher behind ``python -m serving``: reads the environment and supervises the workers until they are stopped."""

from __future__ import annotations

import fcntl
import ipaddress
import multiprocessing
import os
import resource
import shutil
import socket
import sys
import tempfile
from collections.abc import Collection, Mapping
from contextlib import ExitStack, suppress
from dataclasses import replace
from io import FileIO
from multiprocessing.process import BaseProcess
from pathlib import Path

from serving.errors import AddressError, ResourceError, StartError
from serving.model.signatures import trust_of
from serving.observability.log_writer import TURNS_FILE, LogWriter, standard_output
from serving.observability.logs import Log, print_event
from serving.process.children import start_child
from serving.process.resolve import Stopped, resolve
from serving.process.served_table import ServedTable
from serving.process.shared_memory import ConnectionCounts, SharedCounter, SharedFlag, shared_numbers
from serving.process.supervisor import Supervisor, signal_name, watch_signals
from serving.settings import MODELS, Settings, from_environ, model_files, unknown_variables

METRICS_BYTES = 5 * 2**16
"""Initial size of a worker's metric files: counters, histograms, and gauges of three modes."""

METRICS_PREFIX = "gan-metrics-"
OWNER_FILE = "launcher.lock"
"""File in the directory of the metrics that the launcher has locked as long as it runs."""

MIN_OPEN_FILES = 64
"""Open files that a worker needs for itself and a few connections."""


def main(environ: Mapping[str, str], *, models_by: str = MODELS) -> int:
    """Serve until a signal stops the service; the exit code. ``models_by`` is what has given the models, for messages."""
    _open_standard_streams()
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # onnxruntime reports usage unless this is set before its import
    signals = watch_signals()
    try:
        _check_open_files()
        settings = resolve(from_environ(environ, models_by=models_by), signals)
        trust_of(settings)  # report unusable keys before any worker starts
        files = model_files(settings, models_by=models_by)
        addresses, reservations = zip(*(reserve_address(settings.host, port) for port in settings.ports), strict=True)
        address = addresses[0]
        folder, owned = make_metrics_directory(_processes(settings))
    except StartError as error:
        print(f"serving: {error}", file=sys.stderr)
        return error.exit_code
    except Stopped as stop:
        print_event("stop", exit_code=0, reason=str(stop))
        return 0
    _warn_of_unknown(environ)
    log_writer = LogWriter(standard_output(), turns=Path(folder.name) / TURNS_FILE)
    log_writer.event(
        "start",
        url=local_url(address, settings.port),
        host=settings.host,
        port=settings.port,
        workers=settings.workers,
        engine=settings.engine,
        models=[str(f) for f in files],
    )
    with owned, ExitStack() as stack:
        for reservation in reservations:
            stack.enter_context(reservation)
        directory = stack.enter_context(folder)
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = directory  # prometheus_client reads it when a worker imports it
        if settings.serials is None:
            settings = replace(settings, serials=Path(directory) / "serials")
        exit_code, reason = _supervise(settings, address, Path(directory), signals, log_writer.event)
    log_writer.event("stop", exit_code=exit_code, reason=reason)
    log_writer.close()
    return exit_code


def _open_standard_streams() -> None:
    """Open /dev/null for closed standard streams, whose numbers the next files would take, also in the workers."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # the lowest free number is this one


def _warn_of_unknown(environ: Mapping[str, str]) -> None:
    """Name the variables that look like settings and are none: a misspelt ``GAN_PUBLIC_KEY`` would serve unsigned models."""
    for name, near in unknown_variables(environ).items():
        hint = f"; {near} may be meant" if near else ""
        print(f"serving: ignored {ascii(name)[1:-1]}, which is no setting{hint}", file=sys.stderr)


def _check_open_files() -> None:
    """Refuse a limit with which workers would fail one after another.

    Raises:
        ResourceError: this process may open too few files.
    """
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if limit < MIN_OPEN_FILES:
        raise ResourceError(f"the limit of open files (ulimit -n) must be at least {MIN_OPEN_FILES}, got {limit}")


def reserve_address(host: str, port: int) -> tuple[str, socket.socket]:
    """Resolve a host to an IP address, and bind a socket to it that keeps other programs from the port.

    Workers listen with SO_REUSEPORT, which would silently share the port with another program that listens so.

    Raises:
        AddressError: the port is in use, or the address is not one of this machine.
    """
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        reservation = socket.socket(family, kind)
        try:
            reservation.bind(address)
        except OSError:  # in use, or only by connections of an earlier process that have not timed out
            reservation.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            reservation.bind(address)
    except OSError as error:
        raise AddressError(f"cannot listen on {host}:{port}: {error.strerror}") from None
    # From now on only sockets with SO_REUSEPORT, those of the workers, can be bound to the port; this one never listens.
    reservation.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
    reservation.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    return str(address[0]), reservation


def make_metrics_directory(processes: int) -> tuple[tempfile.TemporaryDirectory[str], FileIO]:
    """Create the directory in which the workers and the engine share their metrics; also gives its locked ``OWNER_FILE``.

    Raises:
        ResourceError: no temporary directory can be written, or it has too little space for their files.
    """
    try:
        _remove_abandoned(tempfile.gettempdir())
        directory = tempfile.TemporaryDirectory(prefix=METRICS_PREFIX)
        with tempfile.TemporaryFile(dir=directory.name) as file:
            os.posix_fallocate(file.fileno(), 0, processes * METRICS_BYTES)
        owned = FileIO(os.path.join(directory.name, f"{OWNER_FILE}.new"), "w")
        fcntl.flock(owned, fcntl.LOCK_EX)
        os.rename(str(owned.name), os.path.join(directory.name, OWNER_FILE))  # under this name it is never seen unlocked
    except OSError as error:
        raise ResourceError(f"cannot store metrics in a temporary directory (TMPDIR): {error.strerror}") from None
    return directory, owned


def _remove_abandoned(parent: str) -> None:
    """Delete the directories of this user's launchers that were killed; no other program does, where TMPDIR outlasts them."""
    for path in Path(parent).glob(f"{METRICS_PREFIX}*/{OWNER_FILE}"):
        with suppress(OSError):  # in use, or removed meanwhile
            if path.parent.is_symlink() or path.parent.stat().st_uid != os.geteuid():
                continue
            with path.open() as owner:
                fcntl.flock(owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path.parent)


def local_url(address: str, port: int) -> str:
    """The URL to open in a browser on this machine; a wildcard address is reached by loopback."""
    ip = ipaddress.ip_address(address)
    if ip.version == 6:
        return f"http://[{'::1' if ip.is_unspecified else ip}]:{port}"
    return f"http://{'127.0.0.1' if ip.is_unspecified else ip}:{port}"


def _processes(settings: Settings) -> int:
    """The number of processes below the launcher: the workers, and the engine if there is one."""
    return (settings.workers or 1) + (settings.engine == "shared")


def _supervise(settings: Settings, address: str, metrics_directory: Path, signals: int, log: Log) -> tuple[int, str]:
    """Run the workers until they have ended; the exit code and its reason."""
    from serving.process.engine import run_engine
    from serving.process.worker import REFUSED, Shared, run_worker

    context = multiprocessing.get_context("spawn")  # onnxruntime and CUDA do not survive a fork
    count = settings.workers or 1
    # Kept open here, so that what workers ask is still there when the engine is restarted.
    asking, granting = socket.socketpair(type=socket.SOCK_SEQPACKET)
    # These, too: a connection that is given to a worker which crashes waits for its successor.
    mailboxes = [socket.socketpair(type=socket.SOCK_SEQPACKET) for _ in range(count)]
    served = ServedTable()
    shared = Shared(
        draining=SharedFlag(),
        refused=SharedFlag(),
        serving=SharedFlag(),
        reloads=SharedCounter(),
        crashes=SharedCounter(),
        busy_until=shared_numbers(count),
        connections=ConnectionCounts.of(count),
        heartbeats=[SharedCounter() for _ in range(_processes(settings))],
    )

    def name(index: int) -> int | str:
        return index if index < count else "engine"

    def start(index: int) -> BaseProcess:
        if index == count:
            return start_child(context, run_engine, settings, metrics_directory, shared, index, granting)
        rendezvous = asking if settings.engine == "shared" else None
        with served.handed_over() as handover:
            arguments = (settings, address, metrics_directory, shared, index, rendezvous, mailboxes, handover)
            return start_child(context, run_worker, *arguments)

    def report_end(index: int, pid: int, code: int) -> None:
        if code:
            shared.crashes.increment()
        if index < count:
            shared.busy_until[index] = 0.0
            shared.connections.forget(index)
        how = {"exit_code": code} if code >= 0 else {"signal": signal_name(-code)}
        log("worker_ended", worker=name(index), pid=pid, **how)

    def report_no_start(index: int, error: OSError) -> None:
        log("worker_not_started", worker=name(index), reason=str(error))
        if not shared.serving.is_set():
            raise error

    def is_hopeless(code: int, running: Collection[int]) -> bool:
        return code == REFUSED and (not set(running) - {count} or not shared.serving.is_set())

    supervisor = Supervisor(
        start,
        _processes(settings),
        is_hopeless=is_hopeless,
        on_end=report_end,
        on_no_start=report_no_start,
        heartbeat=lambda index: shared.heartbeats[index].value(),
        stall_seconds=settings.stall_seconds,
        on_stall=lambda index, pid: log("worker_stalled", worker=name(index), pid=pid, seconds=settings.stall_seconds),
        drain=shared.draining.set,
        drain_seconds=settings.drain_seconds,
        stop_seconds=settings.stop_seconds,
    )
    with asking, granting:
        stopped_by = supervisor.run(signals)
    return (0, stopped_by.name) if stopped_by else (1, "no worker could start")
