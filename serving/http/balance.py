"""Even load: a new connection goes to the worker that has fewest, whichever worker the kernel gave it to."""

from __future__ import annotations

import asyncio
import ctypes
import fcntl
import math
import os
import socket
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Numbers = ctypes.Array[ctypes.c_double]
MOST_HOPS = 3
"""Times that a connection is handed over at most: two workers that see old numbers must not play ball with it."""
UNEVEN, UNEVEN_SHARE = 2, 1 / 8
"""A connection is handed over if its worker would have this many more than another one, and this share of its own more.

Of hundreds of connections it does not matter who has two more, and a move costs as much as a refusal.
"""


class Balance:
    """This worker's part in the even load; used on the event loop."""

    def __init__(
        self,
        held: Numbers,
        given: Numbers,
        taken: Numbers,
        index: int,
        inbox: socket.socket,
        outboxes: Sequence[socket.socket],
        lock: Path,
        is_draining: Callable[[], bool],
    ) -> None:
        """Numbers are in shared memory and have one writer each, so that a killed worker spoils none for long.

        Args:
            held: by worker, its open connections; infinite while it takes none.
            given: by giver and receiver, connections handed over since the start.
            taken: by receiver, how many of those it has found in its inbox.
            index: this worker's place among them.
            inbox: where it receives connections.
            outboxes: where each worker is given connections.
            lock: file that is locked while a receiver is chosen; a killed worker holds no lock.
            is_draining: whether the service shuts down; no connection is handed over then.
        """
        self._held: NDArray[np.float64] = np.ctypeslib.as_array(held)
        self._given: NDArray[np.float64] = np.ctypeslib.as_array(given).reshape(len(outboxes), len(outboxes))
        self._taken: NDArray[np.float64] = np.ctypeslib.as_array(taken)
        self._index = index
        self._inbox, self._outboxes = inbox, outboxes
        self._lock = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
        self._is_draining = is_draining
        self._count = 0
        self._arriving = 0
        """Connections out of the inbox for which no protocol has begun."""
        self._tasks: set[asyncio.Task[object]] = set()
        for box in (inbox, *outboxes):
            box.setblocking(False)

    def hold(self, count: int) -> None:
        """Note how many connections this worker has."""
        self._count = count
        if self._held[self._index] != math.inf:
            self._held[self._index] = count + self._arriving

    def offer(self, transport: asyncio.Transport, hops: int) -> bool:
        """Hand a new connection over if another worker has fewer; whether that was done. The transport is closed then."""
        if hops:
            self._arrive(-1)
        if hops >= MOST_HOPS or self._is_draining() or (receiver := self._choose()) is None:
            return False
        descriptor = transport.get_extra_info("socket").fileno()
        try:
            socket.send_fds(self._outboxes[receiver], [bytes([hops + 1])], [descriptor])
        except OSError:  # a full inbox
            self._given[self._index, receiver] -= 1
            return False
        transport.abort()  # closes this process' descriptor, not the connection
        return True

    def begin(self, make_protocol: Callable[[int], asyncio.Protocol]) -> None:
        """Take connections from now on; ``make_protocol`` makes a protocol for one that was handed over that many times."""
        self._held[self._index] = 0
        self._receive(make_protocol)
        self._taken[self._index] = self._given[:, self._index].sum()  # a predecessor that was killed may have left it wrong
        asyncio.get_running_loop().add_reader(self._inbox, self._receive, make_protocol)

    def end(self, make_protocol: Callable[[int], asyncio.Protocol]) -> None:
        """Take no more, except those that are in the inbox already."""
        self._held[self._index] = math.inf
        asyncio.get_running_loop().remove_reader(self._inbox)
        self._receive(make_protocol)

    def _choose(self) -> int | None:
        """The worker with fewest connections, counted as given one; None if a further one is in place here."""
        if self._fewest() is None:
            return None
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        try:
            receiver = self._fewest()
            if receiver is not None:
                self._given[self._index, receiver] += 1
            return receiver
        finally:
            fcntl.flock(self._lock, fcntl.LOCK_UN)

    def _fewest(self) -> int | None:
        under_way = np.maximum(self._given.sum(0) - self._taken, 0)
        loads = self._held + under_way
        receiver = int(loads.argmin())
        own = loads[self._index] + 1
        return receiver if own - loads[receiver] >= max(UNEVEN, UNEVEN_SHARE * own) else None

    def _receive(self, make_protocol: Callable[[int], asyncio.Protocol]) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                message, descriptors, _, _ = socket.recv_fds(self._inbox, 1, 1)
            except BlockingIOError:
                break
            self._taken[self._index] += 1  # also one without a descriptor: the kernel closes what finds no free number here
            for descriptor in descriptors:
                connection = socket.socket(fileno=descriptor)
                connection.setblocking(False)
                accepted = loop.connect_accepted_socket(partial(make_protocol, message[0]), connection)
                self._arrive(1)
                task = loop.create_task(accepted)
                self._tasks.add(task)
                task.add_done_callback(self._finish)

    def _arrive(self, change: int) -> None:
        self._arriving += change
        self.hold(self._count)

    def _finish(self, task: asyncio.Task[object]) -> None:
        self._tasks.discard(task)
        if task.cancelled() or task.exception():  # the client was gone before a protocol began
            self._arrive(-1)
