"""The engine process of ``GAN_ENGINE=shared``: it has the models of all workers, and runs their batches."""

from __future__ import annotations

import gc
import os
import secrets
import signal
import socket
import threading
import traceback
from contextlib import suppress
from pathlib import Path

from contract.cores import usable_cores
from serving.observability.log_writer import TURNS_FILE, LogWriter, standard_output
from serving.process.children import leave_group
from serving.process.worker import GC_THRESHOLD, Shared, end_with_launcher
from serving.settings import Settings

BEAT_SECONDS = 0.25
"""Seconds between two heartbeats, at most."""


def run_engine(settings: Settings, metrics_directory: Path, shared: Shared, index: int, rendezvous: socket.socket) -> None:
    """Lease models to the workers and run their batches, until SIGTERM and the end of the last worker; exits with 0.

    Args:
        settings: resolved settings: provider and number of workers are known.
        metrics_directory: where the engine shares its metrics.
        shared: memory shared with the launcher and the workers.
        index: slot of the engine, after those of the workers.
        rendezvous: where workers ask for leases.
    """
    leave_group()
    with suppress(OSError):
        Path("/proc/self/comm").write_text("gan-engine")  # its name in ps and top
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, frame: stopping.set())
    threading.Thread(target=end_with_launcher, daemon=True).start()
    # Imported here: the launcher imports this module, and must start fast and without onnxruntime.
    from serving.engine.activity import Activity
    from serving.engine.backend import timed_run
    from serving.engine.host import Host, Run
    from serving.engine.idle_cores import IdleCores
    from serving.engine.watchdog import EXIT_CODE, Watchdog
    from serving.model.load import Model, model_loader
    from serving.observability.metrics import Metrics, share_metrics

    share_metrics(metrics_directory, index)
    metrics = Metrics(metrics_directory)
    log_writer = LogWriter(standard_output(), turns=metrics_directory / TURNS_FILE)
    watchdog = Watchdog()
    watchdog.on_exit = log_writer.close
    load_model = model_loader(settings)

    def load(path: Path, digest: str | None = None) -> Model:
        model = load_model(path, digest=digest)
        gc.collect()
        gc.freeze()
        return model

    def make_run(model: Model, activity: Activity) -> Run:
        return timed_run(model, metrics, IdleCores(activity) if model.idle_session else None)

    def record_fault(error: BaseException) -> int:
        fault = secrets.randbits(63) | 1 << 63
        log_writer.event("fault", id=f"{fault:016x}", error="".join(traceback.format_exception(error)))
        watchdog.inspect(error, log_writer.event)
        return fault

    def end(fault: threading.ExceptHookArgs) -> None:
        if fault.exc_value:
            record_fault(fault.exc_value)
        log_writer.close()
        os._exit(EXIT_CODE)

    threading.excepthook = end  # without its runner, a batch would wait without end
    runners = 1 if settings.provider == "cuda" else max(1, usable_cores() // settings.intra_op_threads)
    host = Host(load, make_run, runners=runners, max_batch=settings.max_batch, on_fault=record_fault)
    watchdog.watch(lambda: host.running_since, settings.stall_seconds, log_writer.event)
    gc.set_threshold(GC_THRESHOLD)
    host.start()
    metrics.ready.set(1)
    log_writer.event("engine", pid=os.getpid(), runners=runners, provider=settings.provider)
    beat = shared.heartbeats[index].increment
    host.serve(rendezvous, is_stopping=stopping.is_set, beat=beat, seconds=BEAT_SECONDS)
    log_writer.close()
    os._exit(0)  # no worker is left; do not join threads that wait for work
