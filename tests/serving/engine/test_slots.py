"""Slots in shared memory: in every order of what the two sides do, a use gets its own rows or none."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from contract import Array, Card, Inputs, Normal, Points
from serving.engine.slots import EngineSlots, Numbers, Slots, SlotTable, Use, WorkerSlots

COUNT = 3
CARD = Card(
    name="echo",
    recipe="none",
    paper="none",
    latents={"z": Normal(1)},
    output=Points(1, (-1.0,), (1.0,)),
    data="none",
    data_licence="none",
    steps=0,
    images=0,
    runtime="none",
)


def inputs_of(values: list[int]) -> Inputs:
    return {"z": np.array(values, np.float32)[:, None]}


@dataclass(eq=False)
class Asked:
    """A use that waits, as its worker knows it."""

    use: Use
    values: list[int]
    dropped: set[int]


@dataclass(eq=False)
class Running:
    """A batch that a runner of the engine has taken."""

    slots: Slots
    numbers: Numbers
    read: Array


@dataclass(eq=False)
class Side:
    """A worker's table for one model, with both ends; the model adds a number to each value."""

    worker: WorkerSlots
    engine: EngineSlots
    model: int
    asked: list[Asked]
    running: list[Running]


class Protocol(RuleBasedStateMachine):
    """Two workers and one engine; each step is one that a process can be interrupted after."""

    def __init__(self) -> None:
        super().__init__()
        self.value = 0
        self.models = 1
        self.sides = [self.lease(1), self.lease(1)]
        self.old: list[Side] = []
        """Tables that were replaced: their workers still wait, or have ended."""

    def lease(self, model: int) -> Side:
        table = SlotTable(CARD, COUNT)
        return Side(WorkerSlots(table), EngineSlots(table), model, [], [])

    @precondition(lambda self: any(side.worker.free for side in self.sides))
    @rule(data=st.data())
    def submit(self, data: st.DataObject) -> None:
        """A worker writes a batch into free slots."""
        side = data.draw(st.sampled_from([side for side in self.sides if side.worker.free]), "table")
        count = data.draw(st.integers(1, side.worker.free), "rows")
        values = [self.value + row for row in range(count)]
        self.value += count
        side.asked.append(Asked(side.worker.ask(inputs_of(values)), values, set()))

    @precondition(lambda self: any(side.asked for side in self.every()))
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        """Some rows of a waiting or running batch are not wanted any more."""
        side, asked = data.draw(st.sampled_from([(side, asked) for side in self.every() for asked in side.asked]), "use")
        start = data.draw(st.integers(0, len(asked.values) - 1))
        count = data.draw(st.integers(1, len(asked.values) - start))
        side.worker.drop(asked.use, start, count)
        asked.dropped.update(range(start, start + count))

    @precondition(lambda self: any(side.asked for side in self.every()))
    @rule(data=st.data(), most=st.integers(1, COUNT))
    def take(self, data: st.DataObject, most: int) -> None:
        """A runner takes some of what waits in a table, and reads it."""
        side = data.draw(st.sampled_from([side for side in self.every() if side.asked]), "table")
        slots, _ = side.engine.waiting()
        slots = slots[:most]
        if len(slots):
            side.running.append(Running(slots, side.engine.take(slots), side.engine.read(slots)["z"]))

    @precondition(lambda self: any(side.running for side in self.every()))
    @rule(data=st.data(), fails=st.booleans())
    def answer(self, data: st.DataObject, fails: bool) -> None:
        """A runner ends one of the batches that run, in any order."""
        side, batch = data.draw(st.sampled_from([(side, batch) for side in self.every() for batch in side.running]), "batch")
        side.running.remove(batch)
        output = None if fails else batch.read + 1000 * side.model
        side.engine.answer(batch.slots, batch.numbers, output, rows=len(batch.slots), times=(1, 2), faults=7 * fails)

    @precondition(lambda self: any(side.asked for side in self.every()))
    @rule()
    def collect(self) -> None:
        """Workers look at what was answered: each row that is still wanted comes from its own values and its own model."""
        for side in self.every():
            for asked in list(side.asked):
                found = side.worker.find(asked.use)
                if found is None:
                    continue
                side.asked.remove(asked)
                for row, value in enumerate(asked.values):
                    if row not in asked.dropped and not found.faults[row]:
                        assert found.output[row, 0] == value + 1000 * side.model

    @rule(which=st.integers(0, 1), what=st.sampled_from(["crash", "swap", "lose engine"]))
    def replace(self, which: int, what: str) -> None:
        """Tables are replaced: that of a worker that ends, while the engine runs what is in it; that of a swapped model, whose
        worker still waits; all, when the engine ends. Those without a waiting use are reclaimed.
        """
        side = self.sides[which]
        if what == "lose engine":
            self.old, self.sides = [], [self.lease(side.model) for side in self.sides]
            return
        if what == "crash":
            side.asked.clear()
        self.models += what == "swap"
        self.old = [old for old in [*self.old, side] if old.asked or old.running]
        self.sides[which] = self.lease(self.models if what == "swap" else side.model)

    def every(self) -> list[Side]:
        return [*self.sides, *self.old]

    @invariant()
    def no_slot_is_lost_or_used_twice(self) -> None:
        """Each slot is free or belongs to one use that waits."""
        for side in self.sides:
            used = [slot for asked in side.asked for slot in asked.use.slots.tolist()]
            assert len(used) == len(set(used))
            assert side.worker.free == COUNT - len(used)

    def teardown(self) -> None:
        """After all of this, everything that waits is answered by an engine that runs on, and every slot is free again."""
        for side in self.every():
            for batch in side.running:
                output = batch.read + 1000 * side.model
                side.engine.answer(batch.slots, batch.numbers, output, rows=1, times=(1, 2))
            side.running.clear()
            slots, _ = side.engine.waiting()
            if len(slots):
                output = side.engine.read(slots)["z"] + 1000 * side.model
                side.engine.answer(slots, side.engine.take(slots), output, rows=1, times=(1, 2))
        self.collect()
        assert all(not side.asked for side in self.every())
        assert all(side.worker.free == COUNT for side in self.sides)


TestProtocol = Protocol.TestCase
TestProtocol.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)


def test_dropped_rows_are_answered_without_a_run() -> None:
    """The engine takes no row that was dropped in time, and its slot is free again."""
    table = SlotTable(CARD, COUNT)
    worker, engine = WorkerSlots(table), EngineSlots(table)
    use = worker.ask(inputs_of([1, 2, 3]))
    worker.drop(use, 0, 2)
    slots, has_dropped = engine.waiting()
    assert (slots.tolist(), has_dropped, worker.find(use)) == ([2], True, None)
    engine.answer(slots, engine.take(slots), engine.read(slots)["z"], rows=1, times=(3.0, 4.0))
    found = worker.find(use)
    assert found is not None
    assert (found.output[2].tolist(), found.rows, found.begun, found.ended, worker.free) == ([3.0], 1, 3.0, 4.0, COUNT)


def test_slots_are_taken_in_the_order_of_their_uses() -> None:
    """The oldest use is run first, though slots with lower numbers were freed meanwhile."""
    table = SlotTable(CARD, COUNT)
    worker, engine = WorkerSlots(table), EngineSlots(table)
    uses = [worker.ask(inputs_of([value])) for value in (1, 2)]
    slots, _ = engine.waiting()
    engine.answer(slots, engine.take(slots), engine.read(slots)["z"], rows=2, times=(1, 2))
    assert all(worker.find(use) for use in uses)
    for value in (4, 5, 6):  # in the slots 1, 0, 2
        worker.ask(inputs_of([value]))
    assert engine.read(engine.waiting()[0])["z"].ravel().tolist() == [4, 5, 6]


def test_a_light_load_uses_few_slots() -> None:
    """The slots that were freed last are used first, so that the memory of the others is not touched."""
    table = SlotTable(CARD, COUNT)
    worker, engine = WorkerSlots(table), EngineSlots(table)
    used = set()
    for value in range(10):
        use = worker.ask(inputs_of([value]))
        used.update(use.slots.tolist())
        slots, _ = engine.waiting()
        engine.answer(slots, engine.take(slots), engine.read(slots)["z"], rows=1, times=(1, 2))
        assert worker.find(use)
    assert used == {0}
