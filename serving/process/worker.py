"""One worker process: loads the models, listens, and answers requests until SIGTERM."""

from __future__ import annotations

import gc
import multiprocessing
import multiprocessing.connection
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from serving.engine.activity import Activity, BusyTimes
from serving.errors import ResourceError, StartError
from serving.observability.log_writer import TURNS_FILE, LogWriter, standard_output
from serving.process.children import leave_group
from serving.process.served_table import Handover
from serving.process.shared_memory import ConnectionCounts, SharedCounter, SharedFlag
from serving.settings import Settings

if TYPE_CHECKING:
    from serving.http.balance import Balance
    from serving.model.load import ModelFacts

BALANCE_FILE = "balance.lock"
"""File in the directory of the metrics that a worker locks while it chooses who receives a connection."""
REFUSED = 78
"""Exit code of a worker that could not start: EX_CONFIG of sysexits.h."""
GC_THRESHOLD = 10_000
"""Allocations between two garbage collections; ten times Python's default, since requests leave almost no cycles."""


@dataclass(frozen=True, kw_only=True)
class Shared:
    """Shared memory of the launcher and its workers."""

    draining: SharedFlag
    """The service is shutting down."""
    refused: SharedFlag
    """A worker has reported why the service cannot start."""
    serving: SharedFlag
    """At least one worker has been ready."""
    reloads: SharedCounter
    """Number of reload requests, to any worker."""
    crashes: SharedCounter
    """Number of workers, the engine included, that ended without being stopped."""
    busy_until: BusyTimes
    """For each worker's slot, how long its core is busy; see ``serving.engine.activity``."""
    connections: ConnectionCounts
    """Connections of each worker."""
    heartbeats: Sequence[SharedCounter]
    """For each worker's slot, and then the engine's, the turns that the event loops of its processes have made."""


def run_worker(
    settings: Settings,
    address: str,
    metrics_directory: Path,
    shared: Shared,
    index: int,
    rendezvous: socket.socket | None,
    mailboxes: Sequence[tuple[socket.socket, socket.socket]],
    handover: Handover,
) -> None:
    """Load the models, listen and answer until SIGTERM; exits with 0, or with ``REFUSED`` if it cannot start.

    Args:
        settings: resolved settings: provider and number of workers are known.
        address: IP address to listen on.
        metrics_directory: where the workers share their metrics.
        shared: memory shared with the launcher and the other workers.
        index: slot of this worker, from 0; the successor of a crashed worker has the same one.
        rendezvous: where to ask the engine for leases; None to load the models into this process.
        mailboxes: for each worker, where it receives connections and where it is given them.
        handover: the models that were in service before this worker.
    """
    leave_group()
    threading.Thread(target=end_with_launcher, daemon=True).start()
    # Imported here: the launcher imports this module, and must start fast and without onnxruntime.
    from serving.app import create_app
    from serving.http.uvicorn_server import make_server
    from serving.observability.metrics import share_metrics
    from serving.observability.process_metrics import ProcessCollector

    log_writer = LogWriter(standard_output(), turns=metrics_directory / TURNS_FILE)
    try:
        share_metrics(metrics_directory, index)
        app = create_app(
            settings,
            is_draining=shared.draining.is_set,
            reload_count=shared.reloads.value,
            request_reload=shared.reloads.increment,
            metrics_directory=metrics_directory,
            processes=ProcessCollector(os.getppid(), crashes=shared.crashes.value),
            log=log_writer.event,
            log_writer=log_writer,
            activity=Activity(shared.busy_until, index),
            load=_leasing(settings, rendezvous, shared) if rendezvous else None,
            table=handover.table,
            on_served=handover.report,
        )
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        # Each worker has a socket of its own; the kernel distributes connections among those with the same port.
        listeners = [
            socket.create_server((address, port), family=family, backlog=settings.backlog, reuse_port=True)
            for port in settings.ports
        ]
    except (StartError, OSError) as error:
        refusal = error if isinstance(error, StartError) else ResourceError(f"cannot start a worker: {error}")
        _report_refusal(refusal, shared, log_writer)
        sys.exit(REFUSED)
    # Exclude start-up objects from garbage collection: scanning them took 20 ms, three times in 13,000 requests.
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD)
    try:
        server = make_server(
            app,
            settings,
            is_draining=shared.draining.is_set,
            when_ready=shared.serving.set,
            beat=shared.heartbeats[index].increment,
            log=log_writer.event,
            balance=_sharing(shared, index, mailboxes, metrics_directory) if len(mailboxes) > 1 else None,
        )
        server.run(sockets=listeners)
    finally:
        app.observer.close()
        log_writer.close()
    os._exit(0)  # every request is answered; do not join threads that still wait for work


def _sharing(shared: Shared, index: int, mailboxes: Sequence[tuple[socket.socket, socket.socket]], directory: Path) -> Balance:
    from serving.http.balance import Balance

    outboxes = [outbox for _, outbox in mailboxes]
    return Balance(*shared.connections, index, mailboxes[index][0], outboxes, directory / BALANCE_FILE, shared.draining.is_set)


def _leasing(settings: Settings, rendezvous: socket.socket, shared: Shared) -> Callable[[Path], ModelFacts]:
    from serving.engine.lease import lease_model

    def is_stopping() -> bool:
        """Whether to stop waiting for the engine; a worker that starts is ended by SIGTERM."""
        return shared.draining.is_set() and threading.current_thread() is not threading.main_thread()

    # Two batches: one runs while the next one forms.
    return partial(lease_model, rendezvous=rendezvous, slots=2 * settings.max_batch, is_stopping=is_stopping)


def _report_refusal(error: StartError, shared: Shared, log_writer: LogWriter) -> None:
    """Write the reason to stderr, once for workers that start together; after a restart also to the log."""
    if shared.serving.is_set():
        log_writer.event("refused", reason=str(error))
    log_writer.close()
    if shared.serving.is_set() or not shared.refused.is_set():
        shared.refused.set()
        print(f"serving: {error}", file=sys.stderr, flush=True)


def end_with_launcher() -> None:
    """Wait for the launcher's end, then stop this process as SIGTERM does."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)
