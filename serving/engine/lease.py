"""What a worker has of a model in the engine: a socket that ends with either process, a slot table, and two eventfds.

A worker asks for a lease by sending one end of a new pair of sockets to the engine, and a path on its own end. See
``docs/decisions/0031-shared-engine.md``.
"""

from __future__ import annotations

import mmap
import os
import select
import socket
import threading
import weakref
from collections.abc import Callable
from dataclasses import dataclass, fields
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from multiprocessing.reduction import recv_handle, send_handle
from pathlib import Path
from typing import Any

from contract import Card
from serving.engine.slots import SlotTable, size_of
from serving.errors import ModelError
from serving.model.load import ModelFacts

POLL_SECONDS = 0.25
"""Seconds between two looks at whether the worker stops, while the engine loads a model or is restarted."""


class Lease:
    """A worker's end of a lease.

    Args:
        connection: to the engine, which sends nothing more on it.
        table: the slots.
        work: eventfd that wakes the engine.
        done: eventfd by which the engine wakes this worker.
    """

    def __init__(self, connection: Connection[Any, Any], table: SlotTable, work: int, done: int) -> None:
        self.table, self.work, self.done = table, work, done
        self.end = connection.fileno()
        """A descriptor that becomes readable when the engine has ended."""
        weakref.finalize(self, _close, connection, work, done).atexit = False

    def is_lost(self) -> bool:
        """Whether the engine has ended, or has let the lease go."""
        ends = select.poll()  # one for each call: threads may not share it
        ends.register(self.end, select.POLLIN)
        return bool(ends.poll(0))


def _close(connection: Connection[Any, Any], *descriptors: int) -> None:
    connection.close()
    for descriptor in descriptors:
        os.close(descriptor)


@dataclass(frozen=True, kw_only=True)
class LeasedModel(ModelFacts):
    """A model in the engine."""

    lease: Lease


def lease_model(
    path: Path, *, rendezvous: socket.socket, slots: int, is_stopping: Callable[[], bool], digest: str | None = None
) -> LeasedModel:
    """Let the engine load a model file, and lease the model; waits while the engine is restarted.

    Args:
        path: the file.
        rendezvous: takes the engine's end of a new pair of sockets.
        slots: rows that may be in flight.
        is_stopping: whether this worker stops and must not wait any longer.
        digest: of bytes that were trusted before, as in ``load_model``.

    Raises:
        StartError: the engine refuses the file, or this worker stops.
    """
    pause = threading.Event()
    while True:
        ours, theirs = Pipe()
        with theirs:
            socket.send_fds(rendezvous, [b"\0"], [theirs.fileno()])
        try:
            ours.send((path, slots, digest))
            while not ours.poll(POLL_SECONDS):
                if is_stopping():
                    raise ModelError(f"{path}: the service stops")
            found = ours.recv()
            descriptors = [] if isinstance(found, Exception) else [recv_handle(ours) for _ in range(3)]
        except (EOFError, ConnectionError):  # the engine has ended meanwhile; its successor will load the file
            pause.wait(POLL_SECONDS)
            continue
        if isinstance(found, Exception):
            raise found
        table, work, done = descriptors
        with open(table, "r+b", buffering=0):
            mapped = map_table(found["card"], slots, table)
        return LeasedModel(**found, lease=Lease(ours, mapped, work, done))


def grant(connection: Connection[Any, Any], model: ModelFacts, slots: int, work: int) -> tuple[SlotTable, int]:
    """Send a lease to the worker that has asked for it; its slot table, and the eventfd that wakes the worker.

    Raises:
        OSError: the worker has ended, or the system gives no memory or descriptors.
    """
    done = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
    try:
        with open(os.memfd_create("slots"), "r+b", buffering=0) as table:
            table.truncate(size_of(model.card, slots))
            connection.send({field.name: getattr(model, field.name) for field in fields(ModelFacts)})
            for descriptor in (table.fileno(), work, done):
                send_handle(connection, descriptor, None)
            return map_table(model.card, slots, table.fileno()), done
    except BaseException:
        os.close(done)
        raise


def map_table(card: Card, count: int, memory: int) -> SlotTable:
    """The slot table in a file in memory; its descriptor is not needed any longer."""
    return SlotTable(card, count, mmap.mmap(memory, size_of(card, count)))
