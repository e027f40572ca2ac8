"""Rows of one model in shared memory between one worker and the engine: see ``docs/decisions/0031-shared-engine.md``.

A slot is one row. Each of its words has one writer and is written at once, so nothing is locked, and a process that is killed
leaves no word half written. ``asked`` is written after the inputs and ``answered`` after the output, which is safe only on
processors that show stores to others in their order: ``serving.process.resolve.PROCESSORS``.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Sequence
from enum import IntEnum
from math import prod
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from contract import Array, Card, Inputs, probe_inputs

ALIGNMENT = 64
"""Bytes of a cache line: no two arrays share one."""

Numbers = NDArray[np.uint64]
Slots = NDArray[np.intp]


class Fault(IntEnum):
    """Faults of a row that need no line in the log; any greater number is the id of such a line."""

    NON_FINITE = 1
    OUT_OF_MEMORY = 2


class SlotTable:
    """The arrays of a number of slots.

    Args:
        card: of the model, by which the inputs and the output have their types and shapes.
        count: number of slots.
        memory: shared memory of ``size_of(card, count)`` zero bytes at first; None for memory of this process.

    Attributes:
        asked: by the worker, the number of the latest use, from 1 on.
        dropped: by the worker, the number of the latest use for which no request waits any more.
        answered: by the engine, the number of the latest use that has ended.
        fault: by the engine, the ``Fault`` or the id of the fault that ended that use; 0 for none.
        rows: by the engine, the rows of the inference; 0 if none was run.
        times: by the engine, start and end of the inference (``time.perf_counter``).
        output: by the engine, what the model gave.
        inputs: by the worker, the graph's inputs.
    """

    def __init__(self, card: Card, count: int, memory: mmap.mmap | bytearray | None = None) -> None:
        memory = bytearray(size_of(card, count)) if memory is None else memory
        arrays: list[Array] = []
        end = 0
        for dtype, shape in _arrays(card, count):
            arrays.append(np.ndarray(shape, dtype, memory, end))
            end += _padded(arrays[-1].nbytes)
        self.count = count
        self.asked, self.dropped, self.answered, self.fault, self.rows, self.times, self.output, *inputs = arrays
        self.inputs: Inputs = dict(zip(_rows(card), inputs, strict=True))


def _rows(card: Card) -> Inputs:
    """The graph's inputs of one row."""
    return probe_inputs(card.latents, card.picture, [0])


def _arrays(card: Card, count: int) -> Iterator[tuple[Any, tuple[int, ...]]]:
    """Type and shape of each array, in their order in memory."""
    yield from [(np.uint64, (count,))] * 5
    yield np.float64, (count, 2)
    yield card.output.dtype, (count, *card.output.shape)
    for value in _rows(card).values():
        yield value.dtype, (count, *value.shape[1:])


def _padded(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT


def size_of(card: Card, count: int) -> int:
    """Bytes of a slot table."""
    return sum(_padded(np.dtype(dtype).itemsize * prod(shape)) for dtype, shape in _arrays(card, count))


class Use(NamedTuple):
    """One use of some slots: the rows of a batch."""

    slots: Slots
    number: int


class Answered(NamedTuple):
    """The outcome of a use."""

    output: Array
    """[n, ...]; dropped rows hold anything."""
    faults: Numbers
    """The fault of each row, 0 for none."""
    rows: int
    """Rows of the largest inference that had rows of it."""
    begun: float
    ended: float
    """Start of its first inference and end of its last (``time.perf_counter``)."""


class WorkerSlots:
    """The worker's side: writes inputs, reads outputs, and knows which slots are free.

    A slot is free when its latest use is answered, also if that use was dropped: until then the engine may write its output.

    Args:
        table: the slots.
    """

    def __init__(self, table: SlotTable) -> None:
        self._table = table
        self._free = list(reversed(range(table.count)))
        """The latest freed one last: it is used first, so that a light load touches a small part of the table."""
        self._number = 0

    @property
    def free(self) -> int:
        """The number of free slots."""
        return len(self._free)

    def ask(self, inputs: Inputs) -> Use:
        """Write rows into free slots, of which there must be enough; the engine may take them at once."""
        count = len(next(iter(inputs.values())))
        slots = np.array(self._free[-count:], np.intp)[::-1]
        del self._free[-count:]
        self._number += 1
        for name, values in inputs.items():
            self._table.inputs[name][slots] = values
        self._table.asked[slots] = self._number
        return Use(slots, self._number)

    def drop(self, use: Use, start: int, count: int) -> None:
        """Say that no request waits any more for ``count`` rows of a use, from its row ``start`` on."""
        self._table.dropped[use.slots[start : start + count]] = use.number

    def find(self, use: Use) -> Answered | None:
        """The outcome of a use if it is there; its slots are then free. Call it once more only after None.

        Raises:
            MemoryError: there is too little memory for the outcome; the slots are free.
        """
        table, slots = self._table, use.slots
        if not (table.answered[slots] == use.number).all():
            return None
        self._free.extend(slots[::-1].tolist())  # first: too little memory for what follows must cost no slot
        ran = table.rows[slots] > 0  # dropped rows that never ran have no times
        times = table.times[slots][ran]
        begun, ended = (float(times[:, 0].min()), float(times[:, 1].max())) if len(times) else (0.0, 0.0)
        return Answered(table.output[slots], table.fault[slots], int(table.rows[slots].max()), begun, ended)


class EngineSlots:
    """The engine's side: takes what was asked, and answers it. One thread at a time takes; the one that takes a use answers it.

    Args:
        table: the slots.
    """

    def __init__(self, table: SlotTable) -> None:
        self.table = table
        self._taken = table.answered.copy()

    def waiting(self) -> tuple[Slots, bool]:
        """The slots that wait, in the order of their uses, and whether dropped ones were found and answered without a run."""
        asked = self.table.asked.copy()
        slots = np.flatnonzero(asked != self._taken)
        if not len(slots):
            return slots, False
        is_dropped = self.table.dropped[slots] == asked[slots]
        dropped, slots = slots[is_dropped], slots[~is_dropped]
        if len(dropped):
            self._taken[dropped] = asked[dropped]
            self.table.rows[dropped] = self.table.fault[dropped] = 0
            self.table.answered[dropped] = asked[dropped]
        return slots[np.argsort(asked[slots], kind="stable")], bool(len(dropped))

    def take(self, slots: Slots) -> Numbers:
        """Take slots that wait; the numbers of their uses, by which they are answered."""
        numbers = self.table.asked[slots]
        self._taken[slots] = numbers
        return numbers

    def read(self, slots: Slots) -> Inputs:
        """The inputs of slots, one row each."""
        return {name: values[slots] for name, values in self.table.inputs.items()}

    def answer(
        self,
        slots: Slots,
        numbers: Numbers,
        output: Array | None,
        *,
        rows: int,
        times: Sequence[float],
        faults: Numbers | int = 0,
    ) -> None:
        """End the uses of slots.

        Args:
            slots: as taken.
            numbers: of their uses.
            output: one row each; None if there is none.
            rows: of the inference.
            times: its start and end.
            faults: of each row, or of all; 0 for none.
        """
        if output is not None:
            self.table.output[slots] = output
        self.table.rows[slots], self.table.times[slots], self.table.fault[slots] = rows, times, faults
        self.table.answered[slots] = numbers
