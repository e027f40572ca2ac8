"""One worker process: its application, its socket, and its life from loading to the last answer."""

from __future__ import annotations

import gc
import multiprocessing
import multiprocessing.connection
import os
import signal
import socket
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

from serving.errors import StartError
from serving.observability.log_writer import LogWriter, standard_output
from serving.process.shared_memory import SharedCounter, SharedFlag
from serving.settings import Settings

REFUSED = 78
"""Exit code of a worker that could not start: EX_CONFIG of sysexits.h."""
YOUNG_OBJECTS = 10_000
"""Objects made between two looks for garbage; ten times Python's own number, as requests leave next to none."""


@dataclass(frozen=True, kw_only=True)
class Shared:
    """What the launcher and its workers tell each other."""

    draining: SharedFlag
    """The service is about to stop."""
    refused: SharedFlag
    """A worker has said why the service cannot start."""
    serving: SharedFlag
    """Some worker has been ready."""
    reloads: SharedCounter
    """Reloads that some worker was asked for."""
    crashes: SharedCounter
    """Workers that ended without having been told to."""


def run_worker(settings: Settings, address: str, metrics_directory: Path, shared: Shared, place: int) -> None:
    """Load the models, listen, answer until SIGTERM; exits with 0 then, and with ``REFUSED`` if it cannot start.

    Args:
        settings: all that can be set, the device found.
        address: to listen on.
        metrics_directory: where the workers share their metrics.
        shared: what the workers and the launcher tell each other.
        place: among the workers, from 0; a fallen worker's successor has the same.
    """
    os.setpgid(0, 0)  # a signal to the launcher's group is the launcher's to pass on
    threading.Thread(target=_end_with_launcher, daemon=True).start()
    from serving.app import create_app  # not above: the launcher imports this module, and must be quick and hold none of this
    from serving.http.uvicorn_server import make_server
    from serving.observability.metrics import share_metrics
    from serving.observability.process_metrics import ProcessCollector

    share_metrics(metrics_directory, place)
    log_writer = LogWriter(standard_output())
    try:
        app = create_app(
            settings,
            is_draining=shared.draining.is_set,
            reload_count=shared.reloads.value,
            request_reload=shared.reloads.increment,
            metrics_directory=metrics_directory,
            processes=ProcessCollector(os.getppid(), crashes=shared.crashes.value),
            log=log_writer.event,
            log_writer=log_writer,
        )
    except StartError as error:
        _refuse(error, shared, log_writer)
        sys.exit(REFUSED)
    _settle_memory()
    server = make_server(app, settings, is_draining=shared.draining.is_set, when_ready=shared.serving.set, log=log_writer.event)
    try:
        server.run(sockets=[_listen(address, settings.port, settings.backlog)])
    finally:
        app.observer.close()
        log_writer.close()
    os._exit(0)  # everything is answered; threads that still wait for work need no farewell


def _refuse(error: StartError, shared: Shared, log_writer: LogWriter) -> None:
    """Say why, once for all workers that start together; a fallen worker's successor says it in the log, too."""
    if shared.serving.is_set():
        log_writer.event("refused", reason=str(error))
    log_writer.close()
    if shared.serving.is_set() or not shared.refused.is_set():
        shared.refused.set()
        print(f"serving: {error}", file=sys.stderr, flush=True)


def _settle_memory() -> None:
    """Take what start-up made out of the garbage collector's sight.

    Looking through all of it took 20 ms, three times in 13,000 requests, and whoever waited then waited that much longer.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS)


def _listen(address: str, port: int, backlog: int) -> socket.socket:
    """A socket of this worker's own; the kernel deals connections out among those of one port."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return socket.create_server((address, port), family=family, backlog=backlog, reuse_port=True)


def _end_with_launcher() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)
