"""The engine and a worker's backend in one process: rows are the model's, faults and lost engines are answered."""

from __future__ import annotations

import asyncio
import gc
import os
import select
import socket
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from contract import Array, Inputs, Normal, draw
from serving.engine import host
from serving.engine.batcher import Batcher
from serving.engine.host import Host
from serving.engine.lease import LeasedModel, grant, lease_model
from serving.engine.shared import SharedBackend
from serving.errors import EngineLost, InternalProblem, ModelError, NonFinite, QueueFull
from serving.model.load import Model
from serving.observability.metrics import Metrics
from serving.observability.timings import Timings
from tests.harness.processes import TIMEOUT, wait_until
from tests.serving.client import on_a_loop

SLOTS = 4


class NaN:
    """A session whose guard (see ``serving.model.inspection``) is NaN in a run with the first latent of seed 42."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self._latent = draw({"z": Normal(20)}, [42])["z"][0]

    def run(self, names: None, inputs: Any) -> Any:
        rows, *_ = self._session.run(names, inputs)
        return [rows, np.where((inputs["z"] == self._latent).all(axis=1), np.nan, 0)]


class Engine:
    """A host whose runs wait for ``gate``, and what it has run."""

    def __init__(self, models: dict[str, Model]) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.batches: list[int] = []
        self.loads: list[str] = []
        self.is_broken = False
        self.is_stopping = False
        self.models = models
        self.asking, granting = socket.socketpair(type=socket.SOCK_SEQPACKET)
        host = Host(self.load, self.make_run, runners=2, max_batch=8, on_fault=lambda error: 0xABC)
        host.start()
        serving = {"is_stopping": lambda: self.is_stopping, "beat": lambda: None, "seconds": 0.01}
        self.thread = threading.Thread(target=host.serve, args=(granting,), kwargs=serving, daemon=True)
        self.thread.start()
        self.granting = granting

    def load(self, path: Path, digest: str | None = None) -> Model:
        self.loads.append(path.name)
        if path.name not in self.models:
            raise ModelError(f"{path}: refused")
        return self.models[path.name]

    def make_run(self, model: Model, activity: object) -> Callable[[Inputs], Array]:
        def run(inputs: Inputs) -> Array:
            assert self.gate.wait(TIMEOUT)
            if self.is_broken:
                raise RuntimeError("cable cut")
            self.batches.append(len(next(iter(inputs.values()))))
            return model.run(inputs)

        return run

    def lease(self, name: str = "grey", slots: int = SLOTS) -> LeasedModel:
        return lease_model(Path(name), rendezvous=self.asking, slots=slots, is_stopping=lambda: False)

    def batcher(self, model: LeasedModel, queue_limit: int = 1000) -> Batcher:
        return Batcher(SharedBackend(model), max_batch=SLOTS, queue_limit=queue_limit, metrics=Metrics())


@pytest.fixture
def engine(models: dict[str, Model]) -> Iterator[Engine]:
    engine = Engine(models)
    yield engine
    engine.gate.set()
    engine.is_stopping = True
    gc.collect()
    engine.thread.join(5)
    engine.asking.close()
    engine.granting.close()


def sample(batcher: Batcher, seeds: Sequence[Any]) -> asyncio.Task[Array]:
    return asyncio.create_task(batcher.sample(seeds, {}, Timings()))


async def settle() -> None:
    """Let the loop make its next turns."""
    for _ in range(5):
        await asyncio.sleep(0)


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
            await asyncio.sleep(0.1)
        tasks += [sample(batcher, [7]) for batcher in batchers]
        await asyncio.sleep(0.1)
        engine.gate.set()
        await asyncio.gather(*tasks)
        assert sorted(engine.batches) in ([1, 1, 2], [1, 1, 1, 1])  # the second if both runners were idle again

    ask()


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


def test_a_request_may_come_before_the_lease_is_known(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker asks as soon as it has its lease: a runner that looked too early looks once more."""
    is_asked = threading.Event()

    def grant_and_wait(*how: Any) -> Any:
        granted = grant(*how)
        assert is_asked.wait(TIMEOUT)
        return granted

    monkeypatch.setattr(host, "grant", grant_and_wait)
    leased = engine.lease()

    @on_a_loop
    async def ask() -> None:
        answer = sample(engine.batcher(leased), [1])
        await settle()
        while select.select([leased.lease.work], [], [], 0)[0]:  # until a runner has looked
            await asyncio.sleep(0.001)
        is_asked.set()
        assert len(await answer) == 1

    ask()


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


def test_nan_fails_for_its_own_request(engine: Engine) -> None:
    """F-14: a batch with NaN is run again row by row; the requests without NaN get their rows."""
    bad = Model(**{**vars(engine.models["grey"]), "session": NaN(engine.models["grey"].session)})
    engine.models = {"grey": bad}
    leased = engine.lease()

    @on_a_loop
    async def ask() -> None:
        batcher = engine.batcher(leased)
        answers = await asyncio.gather(*(sample(batcher, seeds) for seeds in ([1], [42, 2], [3])), return_exceptions=True)
        assert [type(answer) for answer in answers] == [np.ndarray, NonFinite, np.ndarray]

    ask()


def test_a_refused_file_is_the_error_of_a_local_load(engine: Engine) -> None:
    """The engine's refusal is raised in the worker, and the engine goes on."""
    with pytest.raises(ModelError, match="nothing: refused"):
        engine.lease("nothing")
    assert engine.lease().card.name == "grey"


def test_a_worker_that_leaves_while_its_model_loads_leaves_nothing_open(models: dict[str, Model]) -> None:
    """A lease that cannot be sent costs the engine no descriptor: workers may crash and come back any number of times."""
    ours, theirs = Pipe()
    theirs.close()
    work = os.eventfd(0)
    before = os.listdir("/proc/self/fd")
    with pytest.raises(BrokenPipeError):
        grant(ours, models["grey"], SLOTS, work)
    assert os.listdir("/proc/self/fd") == before
    os.close(work)
    ours.close()


def test_a_model_is_let_go_with_its_last_lease(engine: Engine, models: dict[str, Model]) -> None:
    """A swap or the end of a worker ends its lease; the engine keeps a model as long as any worker has it."""
    engine.models = {"grey": Model(**vars(models["grey"]))}
    model = weakref.ref(engine.models["grey"])
    leases = [engine.lease(), engine.lease()]
    engine.models = {}
    leases.pop()
    threading.Event().wait(0.1)
    assert model() is not None
    leases.pop()

    def is_let_go() -> bool:
        gc.collect()
        return model() is None

    wait_until(is_let_go, "the engine lets go of it")


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
