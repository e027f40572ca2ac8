"""The backend of a worker whose models are in the engine: it writes batches into slots, and is woken when they are answered."""

from __future__ import annotations

import asyncio
import os
import weakref
from collections.abc import Sequence
from contextlib import suppress

from contract import Array
from serving.engine.backend import Job, OnEnd, overrides_of, sources_of
from serving.engine.lease import Lease, LeasedModel
from serving.engine.slots import Answered, Fault, Use, WorkerSlots
from serving.errors import EngineLost, InternalProblem, NonFinite, OutOfMemory
from serving.latents.sources import row_inputs
from serving.observability.timings import BatchTimes


class SharedBackend:
    """Runs batches in the engine, as many at a time as there are slots.

    Args:
        model: the leased model.
    """

    def __init__(self, model: LeasedModel) -> None:
        self._model = model
        self._lease = model.lease
        self._slots = WorkerSlots(model.lease.table)
        self._uses: dict[BatchTimes, tuple[Use, Sequence[Job], OnEnd]] = {}
        self._is_attached = False
        self._is_lost = False

    def room(self) -> int:
        """The number of free slots; all after the engine has ended, so that all that waits is answered."""
        return self._lease.table.count if self._is_lost else self._slots.free

    def start(self, batch: BatchTimes, jobs: Sequence[Job], on_end: OnEnd) -> None:
        """Write a batch into free slots, and wake the engine."""
        if not self._is_attached:
            self._attach(asyncio.get_running_loop())
        if self._is_lost:
            on_end([EngineLost()] * len(jobs))
            return
        card = self._model.card
        try:
            use = self._slots.ask(row_inputs(card.latents, card.picture, sources_of(jobs), overrides_of(jobs)))
        except Exception as error:  # delivered to every job of the batch
            on_end([error] * len(jobs))
            return
        self._uses[batch] = use, jobs, on_end
        os.eventfd_write(self._lease.work, 1)

    def drop(self, job: Job) -> None:
        """Let the engine skip rows that it has not yet taken."""
        assert job.batch is not None
        self._slots.drop(self._uses[job.batch][0], job.first, len(job.sources))

    def _attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Let the loop call ``_collect`` and ``_lose``, as long as this object is in use."""
        self._is_attached = True
        this = weakref.ref(self)

        def collect() -> None:
            if backend := this():
                backend._collect()

        def lose() -> None:
            if backend := this():
                backend._lose()

        loop.add_reader(self._lease.done, collect)
        loop.add_reader(self._lease.end, lose)
        weakref.finalize(self, _detach, loop, self._lease).atexit = False

    def _collect(self) -> None:
        with suppress(BlockingIOError):
            os.eventfd_read(self._lease.done)
        for batch, (use, jobs, on_end) in list(self._uses.items()):
            outcomes: Sequence[Array | Exception]
            try:
                found = self._slots.find(use)
                if found is None:
                    continue
                outcomes = [_outcome(found, job) for job in jobs]
                batch.rows, batch.begun, batch.ended = found.rows, found.begun, found.ended
            except MemoryError:  # the other batches must not wait for the next answer
                outcomes = [OutOfMemory()] * len(jobs)
            del self._uses[batch]
            on_end(outcomes)

    def _lose(self) -> None:
        """Fail what is not answered: the engine has ended. A lease of its successor will replace this one."""
        self._collect()
        asyncio.get_running_loop().remove_reader(self._lease.end)
        self._is_lost = True
        uses, self._uses = self._uses, {}
        for _, jobs, on_end in uses.values():
            on_end([EngineLost()] * len(jobs))


def _outcome(found: Answered, job: Job) -> Array | Exception:
    """The rows of a job, or the error of one of them."""
    rows = slice(job.first, job.first + len(job.sources))
    match int(found.faults[rows].max()):
        case 0:
            return found.output[rows]
        case Fault.NON_FINITE:
            return NonFinite()
        case Fault.OUT_OF_MEMORY:
            return OutOfMemory()
        case fault:
            return InternalProblem("the service failed; its log has more under this id", facts={"id": f"{fault:016x}"})


def _detach(loop: asyncio.AbstractEventLoop, lease: Lease) -> None:
    """Let the loop forget the descriptors of a lease before they are closed, from whichever thread."""

    def remove() -> None:
        loop.remove_reader(lease.done)
        loop.remove_reader(lease.end)

    with suppress(RuntimeError):  # the loop is closed
        loop.call_soon_threadsafe(remove)
