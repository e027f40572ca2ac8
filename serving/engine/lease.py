"""What a worker has of a model in the engine: a socket that ends with either process, a slot table, and two eventfds.

A worker asks for a lease by sending one end of a new pair of sockets to the engine, and a path on its own end. See
``docs/decisions/0031-shared-engine.md``.
"""

from __future__ import annotations

import errno
import mmap
import os
import select
import socket
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, fields
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from contract import Card
from serving.engine.slots import SlotTable, size_of
from serving.errors import ModelError, ResourceError
from serving.model.load import ModelFacts

DESCRIPTORS = 3
"""Of a lease: the slot table and two eventfds."""
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
        StartError: the engine refuses the file, there are too few descriptors or too little memory, or this worker stops.
    """
    pause = threading.Event()
    while True:
        try:
            return _ask(path, rendezvous, slots, is_stopping, digest)
        except (EOFError, ConnectionError):  # the engine has ended meanwhile; its successor will load the file
            pause.wait(POLL_SECONDS)
        except OSError as error:
            raise ResourceError(f"{path}: cannot lease the model: {error}") from None
        if is_stopping():
            raise ModelError(f"{path}: the service stops")


def _ask(path: Path, rendezvous: socket.socket, slots: int, is_stopping: Callable[[], bool], digest: str | None) -> LeasedModel:
    """Ask once; see ``lease_model``.

    Raises:
        EOFError, ConnectionError: the engine has ended before it answered.
        OSError: there are too few descriptors, or too little memory.
        StartError: as ``lease_model``.
    """
    with ExitStack() as stack:
        ours, theirs = Pipe()
        stack.callback(ours.close)
        with theirs:
            socket.send_fds(rendezvous, [b"\0"], [theirs.fileno()])
        ours.send((path, slots, digest))
        while not ours.poll(POLL_SECONDS):
            if is_stopping():
                raise ModelError(f"{path}: the service stops")
        found = ours.recv()
        if isinstance(found, Exception):
            raise found
        descriptors = _receive(ours)
        for descriptor in descriptors:
            stack.callback(os.close, descriptor)
        table, work, done = descriptors
        leased = LeasedModel(**found, lease=Lease(ours, map_table(found["card"], slots, table), work, done))
        stack.pop_all()
        os.close(table)
        return leased


def _receive(connection: Connection[Any, Any]) -> list[int]:
    """The descriptors of a lease.

    Raises:
        EOFError: the engine has ended.
        OSError: this process may open no more.
    """
    with _as_socket(connection) as sock:
        message, descriptors, _, _ = socket.recv_fds(sock, 1, DESCRIPTORS, socket.MSG_CMSG_CLOEXEC)
    if len(descriptors) == DESCRIPTORS:
        return descriptors
    for descriptor in descriptors:
        os.close(descriptor)
    if not message:
        raise EOFError
    raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))


@contextmanager
def _as_socket(connection: Connection[Any, Any]) -> Iterator[socket.socket]:
    """The socket of a connection, without one more descriptor."""
    sock = socket.socket(fileno=connection.fileno())
    try:
        yield sock
    finally:
        sock.detach()


def grant(connection: Connection[Any, Any], model: ModelFacts, slots: int, work: int) -> tuple[SlotTable, int]:
    """Send a lease to the worker that has asked for it; its slot table, and the eventfd that wakes the worker.

    Raises:
        ConnectionError: the worker has ended.
        OSError: the system gives no memory or descriptors; then nothing has been sent.
    """
    done = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
    try:
        with open(os.memfd_create("slots"), "r+b", buffering=0) as table:
            table.truncate(size_of(model.card, slots))
            mapped = map_table(model.card, slots, table.fileno())
            connection.send({field.name: getattr(model, field.name) for field in fields(ModelFacts)})
            with _as_socket(connection) as sock:
                socket.send_fds(sock, [b"\0"], [table.fileno(), work, done])
            return mapped, done
    except BaseException:
        os.close(done)
        raise


def map_table(card: Card, count: int, memory: int) -> SlotTable:
    """The slot table in a file in memory; its descriptor is not needed any longer."""
    return SlotTable(card, count, mmap.mmap(memory, size_of(card, count)))
