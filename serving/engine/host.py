"""The engine: loads models, leases them to workers, and runs what the workers have written into slots.

Its runners are threads. Those without work take turns in waiting for the workers: the one that is woken takes a batch from all
slot tables of one model, lets the next one wait, and runs the batch.
"""

from __future__ import annotations

import errno
import os
import selectors
import socket
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from contract import Array, Inputs
from serving.engine.activity import Activity
from serving.engine.lease import grant
from serving.engine.slots import EngineSlots, Fault, Numbers, Slots
from serving.engine.stamps import Stamp, stamp
from serving.errors import ModelError, NonFinite, OutOfMemory, ResourceError, StartError
from serving.model.load import Model

Run = Callable[[Inputs], Array]


@dataclass(eq=False)
class Hosted:
    """A model in the engine."""

    model: Model
    runs: Sequence[Run]
    """By runner, the function that runs it."""
    turn: int = 0
    """Number of batches taken, by which the leases take turns in being first."""


@dataclass(frozen=True)
class Granted:
    """The engine's end of a lease."""

    hosted: Hosted
    slots: EngineSlots
    done: int
    """Eventfd that wakes the worker."""


class Part(NamedTuple):
    """The rows of a batch from one slot table."""

    lease: Granted
    slots: Slots
    numbers: Numbers


class Host:
    """The models of the engine.

    Args:
        load: loads a model file; raises ``StartError``.
        make_run: the function by which a runner runs a model, from the model and the runner's ``Activity``.
        runners: number of threads that run inferences.
        max_batch: maximum rows of one batch.
        on_fault: records an error of an inference; returns its id, greater than every ``Fault``.
    """

    def __init__(
        self,
        load: Callable[..., Model],
        make_run: Callable[[Model, Activity], Run],
        *,
        runners: int,
        max_batch: int,
        on_fault: Callable[[Exception], int],
    ) -> None:
        self._load = load
        self._make_run = make_run
        self._max_batch = max_batch
        self._on_fault = on_fault
        self._work = os.eventfd(0, os.EFD_CLOEXEC)
        busy_until = [0.0] * runners
        self._activities = [Activity(busy_until, index) for index in range(runners)]
        self.running_since: list[float | None] = [None] * runners
        """Start of each runner's inference (``time.monotonic``); None while it waits."""
        self._waiting = threading.Lock()
        """Held by the runner that waits for the workers."""
        self._is_short = False
        """Whether there was no descriptor for the latest worker that asked."""
        self._turn = 0
        self._selector = selectors.DefaultSelector()
        self._loading = ThreadPoolExecutor(1, "load")
        self._hosted: weakref.WeakValueDictionary[Stamp, Hosted] = weakref.WeakValueDictionary()
        self._changing = threading.Lock()
        """Held by the thread that adds or removes a lease."""
        self._leases: dict[Connection[Any, Any], Granted] = {}
        self._by_model: Sequence[tuple[Hosted, Sequence[Granted]]] = ()
        """What the runners look at; replaced as a whole."""

    def start(self) -> None:
        """Start the runners."""
        for index in range(len(self.running_since)):
            threading.Thread(target=self._run_endlessly, args=(index,), name=f"runner-{index}", daemon=True).start()

    def serve(
        self, rendezvous: socket.socket, *, is_stopping: Callable[[], bool], beat: Callable[[], None], seconds: float
    ) -> None:
        """Grant leases and end them, until the engine is to stop and no worker has one.

        Args:
            rendezvous: gives one end of a pair of sockets for each lease that is asked for.
            is_stopping: whether the engine is to stop.
            beat: called at least every ``seconds``.
            seconds: the longest wait.
        """
        self._selector.register(rendezvous, selectors.EVENT_READ)
        while not (is_stopping() and not self._leases):
            beat()
            for key, _ in self._selector.select(seconds):
                if key.fileobj is rendezvous:
                    self._meet(rendezvous)
                else:
                    self._read(key.fileobj)

    def _meet(self, rendezvous: socket.socket) -> None:
        """Receive the connection on which a worker will say what it asks for; if no descriptor is left, it asks again."""
        _, descriptors, _, _ = socket.recv_fds(rendezvous, 1, 1, socket.MSG_CMSG_CLOEXEC)
        for descriptor in descriptors:
            self._selector.register(Connection(descriptor), selectors.EVENT_READ)
        if not descriptors and not self._is_short:
            self._on_fault(OSError(errno.EMFILE, "the engine cannot take what a worker asks for, which therefore waits"))
        self._is_short = not descriptors

    def _read(self, connection: Any) -> None:
        """Read what a new lease is for, or the end of a granted one."""
        self._selector.unregister(connection)
        try:
            path, slots, digest = connection.recv()
        except (EOFError, OSError):  # the worker has ended, or has dropped the model
            with self._changing:
                self._leases.pop(connection, None)
                self._group()
            connection.close()
        else:
            self._loading.submit(self._grant, connection, path, slots, digest)

    def _grant(self, connection: Connection[Any, Any], path: Path, slots: int, digest: str | None) -> None:
        """Load a file unless its model is there, and grant a lease or send the refusal; called in the thread that loads."""
        try:
            hosted = self._host(path, digest)
            table, done = grant(connection, hosted.model, slots, self._work)
        except Exception as error:
            with connection, suppress(OSError):  # the worker has ended meanwhile
                connection.send(_refusal(path, error))
            return
        lease = Granted(hosted, EngineSlots(table), done)
        weakref.finalize(lease, os.close, done).atexit = False
        with self._changing:
            self._leases[connection] = lease
            self._group()
        os.eventfd_write(self._work, 1)  # the worker may have asked before a runner could see its lease
        self._selector.register(connection, selectors.EVENT_READ)

    def _host(self, path: Path, digest: str | None) -> Hosted:
        """The model in a file, which is loaded again only when the file has changed; two paths may lead to one file."""
        version = stamp(path)
        if digest:
            hosted = next((hosted for hosted in self._hosted.values() if hosted.model.digest == digest), None)
        else:
            hosted = self._hosted.get(version) if version else None
        if hosted is None:
            model = self._load(path, digest=digest)
            hosted = Hosted(model, [self._make_run(model, activity) for activity in self._activities])
            if version:  # else the file has appeared meanwhile
                self._hosted[version] = hosted
        return hosted

    def _group(self) -> None:
        """Show the leases to the runners."""
        groups: dict[Hosted, list[Granted]] = {}
        for lease in self._leases.values():
            groups.setdefault(lease.hosted, []).append(lease)
        self._by_model = tuple(groups.items())

    def _run_endlessly(self, index: int) -> None:
        while True:
            with self._waiting:
                while not (taken := self._take()):
                    os.eventfd_read(self._work)
                hosted, parts = taken
                self.running_since[index] = time.monotonic()
            self._run(index, hosted, parts)
            self.running_since[index] = None
            del hosted, parts, taken  # a model that is dropped must not wait for this runner's next batch

    def _take(self) -> tuple[Hosted, list[Part]] | None:
        """Take a batch: of what waits for one model, the share of an idle runner; None if nothing waits."""
        by_model = self._by_model
        for place in range(len(by_model)):
            hosted, leases = by_model[(self._turn + place) % len(by_model)]
            waiting = []
            for lease in _rotated(leases, hosted.turn):
                slots, has_dropped = lease.slots.waiting()
                if has_dropped:
                    os.eventfd_write(lease.done, 1)
                if len(slots):
                    waiting.append((lease, slots))
            total = sum(len(slots) for _, slots in waiting)
            if not total:
                continue
            self._turn, hosted.turn = self._turn + 1, hosted.turn + 1
            share = min(self._max_batch, -(-total // self.running_since.count(None)))
            if share < total or len(by_model) > 1:
                os.eventfd_write(self._work, 1)  # the next runner looks at the rest
            parts = []
            for lease, slots in waiting:
                slots = slots[:share]
                share -= len(slots)
                if len(slots):
                    parts.append(Part(lease, slots, lease.slots.take(slots)))
            return hosted, parts
        return None

    def _run(self, index: int, hosted: Hosted, parts: Sequence[Part]) -> None:
        """Run a batch, write its rows into the slots, and wake the workers."""
        run, activity, count = hosted.runs[index], self._activities[index], sum(len(part.slots) for part in parts)
        activity.begin()
        begun = time.perf_counter()
        output, faults = self._rows(run, parts)
        times = begun, time.perf_counter()
        activity.end(times[1] - begun)
        first = 0
        for part in parts:
            end = first + len(part.slots)
            rows = None if output is None else output[first:end]
            part.lease.slots.answer(part.slots, part.numbers, rows, rows=count, times=times, faults=faults[first:end])
            os.eventfd_write(part.lease.done, 1)
            first = end

    def _rows(self, run: Run, parts: Sequence[Part]) -> tuple[Array | None, Numbers]:
        """The rows of a batch, and the fault of each. A batch with NaN is run again in halves, down to single rows."""
        count = sum(len(part.slots) for part in parts)
        output, fault = self._try(lambda: run(_gather(parts)))
        if fault != Fault.NON_FINITE or count == 1:
            return output, np.full(count, fault, np.uint64)
        outputs = np.zeros((count, *parts[0].lease.slots.table.output.shape[1:]), parts[0].lease.slots.table.output.dtype)
        faults = np.zeros(count, np.uint64)
        inputs, ranges = _gather(parts), [(count // 2, count), (0, count // 2)]
        while ranges:
            start, stop = ranges.pop()
            output, fault = self._try(partial(run, {name: values[start:stop] for name, values in inputs.items()}))
            if fault == Fault.NON_FINITE and stop - start > 1:
                middle = (start + stop) // 2
                ranges += [(middle, stop), (start, middle)]
            else:
                faults[start:stop] = fault
                if output is not None:
                    outputs[start:stop] = output
        return outputs, faults

    def _try(self, run: Callable[[], Array]) -> tuple[Array | None, int]:
        try:
            return run(), 0
        except NonFinite:
            return None, Fault.NON_FINITE
        except OutOfMemory:
            return None, Fault.OUT_OF_MEMORY
        except Exception as error:
            return None, self._on_fault(error)


def _refusal(path: Path, error: Exception) -> StartError:
    """The error that a worker gets instead of a lease."""
    if isinstance(error, StartError):
        return error
    if isinstance(error, OSError):
        return ResourceError(f"{path}: the engine cannot lease the model: {error}")
    return ModelError(f"{path}: {error!r}")


def _rotated(leases: Sequence[Granted], turn: int) -> Sequence[Granted]:
    """The leases in an order in which each comes first in turn."""
    start = turn % len(leases)
    return [*leases[start:], *leases[:start]]


def _gather(parts: Sequence[Part]) -> Inputs:
    """The inputs of a batch, one row each."""
    read = [part.lease.slots.read(part.slots) for part in parts]
    return read[0] if len(read) == 1 else {name: np.concatenate([inputs[name] for inputs in read]) for name in read[0]}
