"""The engine and a worker's backend in one process: rows are the model's, faults and lost engines are answered."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from contract import Array, Normal, draw
from serving.errors import EngineLost, InternalProblem, NonFinite, QueueFull
from serving.model.load import Model
from serving.observability.timings import Timings
from tests.harness.processes import TIMEOUT
from tests.serving.client import on_a_loop
from tests.serving.engine.hosting import SLOTS, Engine, hosted, sample, settle


class NaN:
    """A session whose guard (see ``serving.model.inspection``) is NaN in a run with the first latent of seed 42."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self._latent = draw({"z": Normal(20)}, [42])["z"][0]

    def run(self, names: None, inputs: Any) -> Any:
        rows, *_ = self._session.run(names, inputs)
        return [rows, np.where((inputs["z"] == self._latent).all(axis=1), np.nan, 0)]


@pytest.fixture
def engine(models: dict[str, Model]) -> Iterator[Engine]:
    with hosted(models) as engine:
        yield engine


@pytest.mark.slow
def test_rows_are_those_of_the_model(engine: Engine, models: dict[str, Model]) -> None:
    """D-01: rows of several requests and several workers are those that the model gives for each seed alone."""
    leased = [engine.lease(), engine.lease()]

    @on_a_loop
    async def ask() -> None:
        batchers = [engine.batcher(model) for model in leased]
        rows = await asyncio.gather(*(sample(batchers[k % 2], [k, 100 + k, 200 + k]) for k in range(20)))
        for k, found in enumerate(rows):
            assert np.array_equal(found, models["grey"].sample([k, 100 + k, 200 + k]))
        assert engine.loads == ["grey"]  # once for both workers

    ask()


@pytest.mark.slow
def test_requests_of_two_workers_are_one_batch(engine: Engine) -> None:
    """What waits in the tables of two workers while the runners are busy is run together."""
    leased = [engine.lease(), engine.lease()]

    @on_a_loop
    async def ask() -> None:
        batchers = [engine.batcher(model) for model in leased]
        engine.gate.clear()
        tasks = []
        for k in range(2):  # one for each runner
            tasks.append(sample(batchers[0], [k]))
            await engine.wait_begun(k + 1)
        tasks += [sample(batcher, [7]) for batcher in batchers]
        await settle()
        engine.gate.set()
        await asyncio.gather(*tasks)
        assert sorted(engine.batches) in ([1, 1, 2], [1, 1, 1, 1])  # the second if both runners were idle again

    ask()


@pytest.mark.slow
def test_every_worker_has_its_turn_with_every_model(models: dict[str, Model]) -> None:
    """O-16: of two models in two workers, each of which asks for more than a batch, the first four batches have one of each."""
    with hosted(models, runners=1) as engine:

        @on_a_loop
        async def ask() -> None:
            batchers = [engine.batcher(engine.lease(name, 17), max_batch=8) for name in ("grey", "colour") for _ in range(2)]
            await asyncio.gather(*(sample(batcher, [0]) for batcher in batchers))  # the runner sees each lease from now on
            engine.gate.clear()
            tasks = [sample(batchers[0], [0])]
            await engine.wait_begun(len(engine.begun) + 1)  # the runner has it, alone
            runs: list[tuple[int, Timings]] = []
            for place, batcher in enumerate(batchers):
                for _ in range(2):
                    runs.append((place, Timings()))
                    tasks.append(asyncio.create_task(batcher.sample(range(8), {}, runs[-1][1])))
            await settle()
            engine.gate.set()
            await asyncio.gather(*tasks)
            ordered = sorted(runs, key=lambda run: run[1].runs[0].batch.begun)
            assert {place for place, _ in ordered[:4]} == {0, 1, 2, 3}

        ask()


@pytest.mark.slow
def test_a_full_queue_refuses_and_cancelled_requests_free_their_slots(engine: Engine) -> None:
    """O-02: rows beyond the slots wait in the queue, and beyond the queue are refused; what is cancelled makes room again."""
    leased = engine.lease()

    @on_a_loop
    async def ask() -> None:
        batcher = engine.batcher(leased, queue_limit=SLOTS)
        engine.gate.clear()
        tasks = [sample(batcher, [k]) for k in range(SLOTS)]
        await settle()
        waiting = [sample(batcher, [10 + k]) for k in range(SLOTS)]
        await settle()
        with pytest.raises(QueueFull):
            await batcher.sample([20], {}, Timings())
        for task in [*tasks, *waiting]:
            task.cancel()
        await settle()
        engine.gate.set()
        assert len(await batcher.sample([1, 2, 3, 4], {}, Timings())) == 4
        assert sum(engine.batches) <= SLOTS + 4

    ask()


@pytest.mark.slow
def test_a_cancelled_request_lets_the_one_behind_it_go(engine: Engine) -> None:
    """O-07: a row that waits behind a request for which there is no room gets a free slot when that one is cancelled."""
    leased = engine.lease()

    @on_a_loop
    async def ask() -> None:
        batcher = engine.batcher(leased)
        engine.gate.clear()
        tasks = [sample(batcher, [1])]
        await settle()
        tasks += [sample(batcher, [1, 2, 3, 4]), sample(batcher, [5])]
        await settle()
        assert batcher.backend.room() == SLOTS - 1
        tasks.pop(1).cancel()
        await settle()
        assert batcher.backend.room() == SLOTS - 2
        engine.gate.set()
        await asyncio.gather(*tasks)

    ask()


@pytest.mark.slow
def test_a_fault_answers_its_batch_with_the_id_in_the_log(engine: Engine) -> None:
    """A run that fails is a 500 with the id of the engine's log line, and the next batch is answered."""
    leased = engine.lease()

    @on_a_loop
    async def ask() -> None:
        batcher = engine.batcher(leased)
        engine.is_broken = True
        with pytest.raises(InternalProblem) as problem:
            await batcher.sample([1], {}, Timings())
        assert problem.value.facts == {"id": "0000000000000abc"}
        engine.is_broken = False
        assert len(await batcher.sample([1], {}, Timings())) == 1

    ask()


@pytest.mark.slow
def test_nan_fails_for_its_own_request(engine: Engine) -> None:
    """F-14: a batch with NaN is run again in halves; the requests without NaN get their rows."""
    bad = Model(**{**vars(engine.models["grey"]), "session": NaN(engine.models["grey"].session)})
    engine.models = {"grey": bad}
    leased = engine.lease()

    @on_a_loop
    async def ask() -> None:
        batcher = engine.batcher(leased)
        answers = await asyncio.gather(*(sample(batcher, seeds) for seeds in ([1], [42, 2], [3])), return_exceptions=True)
        assert [type(answer) for answer in answers] == [np.ndarray, NonFinite, np.ndarray]

    ask()


@pytest.mark.slow
def test_nan_costs_a_batch_few_runs(models: dict[str, Model]) -> None:
    """F-14: of eight rows one of which has NaN, the others come from runs of halves, not each from a run of its own."""
    good = models["grey"]
    bad = Model(**{**vars(good), "session": NaN(good.session)})
    with hosted({"grey": bad}, runners=1) as engine:

        @on_a_loop
        async def ask() -> None:
            batcher = engine.batcher(engine.lease(slots=8), max_batch=8)
            seeds = [1, 2, 3, 4, 5, 42, 6, 7]
            answers = await asyncio.gather(*(sample(batcher, [seed]) for seed in seeds), return_exceptions=True)
            for seed, answer in zip(seeds, answers, strict=True):
                if isinstance(answer, BaseException):
                    assert (seed, type(answer)) == (42, NonFinite)
                else:
                    assert np.array_equal(answer, good.sample([seed]))
            assert engine.batches == [8, 4, 4, 2, 1, 1, 2]

        ask()


class Unreadable:
    """The outputs of a table, for whose first copy there is too little memory."""

    def __init__(self, outputs: Array) -> None:
        self._outputs = outputs
        self._is_short = True

    def __getitem__(self, slots: Any) -> Array:
        if self._is_short:
            self._is_short = False
            raise MemoryError
        return np.asarray(self._outputs[slots])


@pytest.mark.slow
def test_an_answer_that_does_not_fit_fails_alone(engine: Engine) -> None:
    """F-06: a batch whose rows a worker cannot copy is 503, its slots are free, and batches answered with it get their rows."""
    leased = engine.lease()
    leased.lease.table.output = Unreadable(leased.lease.table.output)  # type: ignore[assignment]

    @on_a_loop
    async def ask() -> None:
        batcher = engine.batcher(leased)
        engine.gate.clear()
        tasks = []
        for seed in (1, 2):
            tasks.append(sample(batcher, [seed]))
            await settle()
        engine.gate.set()
        answers = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), TIMEOUT)
        assert sorted(type(answer).__name__ for answer in answers) == ["OutOfMemory", "ndarray"]
        assert batcher.backend.room() == SLOTS

    ask()


@pytest.mark.slow
def test_whoever_waits_is_answered_when_the_engine_ends(engine: Engine) -> None:
    """F-28: requests in slots and in the queue fail at once when the connection ends, and so does every later one."""
    leased = engine.lease()

    @on_a_loop
    async def ask() -> None:
        batcher = engine.batcher(leased)
        engine.gate.clear()
        tasks = [sample(batcher, [k]) for k in range(3 * SLOTS)]
        await settle()
        assert not leased.lease.is_lost()
        end = socket.socket(fileno=leased.lease.end)
        end.shutdown(socket.SHUT_RDWR)  # what the kernel does to the other end when a process is killed
        end.detach()
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        assert {type(answer) for answer in answers} == {EngineLost}
        assert leased.lease.is_lost()
        with pytest.raises(EngineLost):
            await batcher.sample([1], {}, Timings())

    ask()
