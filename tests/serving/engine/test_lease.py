"""Leases between the engine and a worker: granted, refused and let go, also where descriptors are short."""

from __future__ import annotations

import asyncio
import gc
import os
import select
import threading
import weakref
from collections.abc import Iterator
from multiprocessing import Pipe
from typing import Any

import pytest

from serving.engine import host
from serving.engine.lease import grant
from serving.errors import ModelError
from serving.model.load import Model
from tests.harness.processes import TIMEOUT, wait_until
from tests.serving.client import on_a_loop
from tests.serving.engine.hosting import SLOTS, Engine, hosted, sample, settle


@pytest.fixture
def engine(models: dict[str, Model]) -> Iterator[Engine]:
    with hosted(models) as engine:
        yield engine


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


def test_a_refused_file_is_the_error_of_a_local_load(engine: Engine) -> None:
    """The engine's refusal is raised in the worker, and the engine goes on."""
    with pytest.raises(ModelError, match="nothing: refused"):
        engine.lease("nothing")
    assert engine.lease().card.name == "grey"


def test_a_file_that_appears_while_it_loads_is_no_other_one(engine: Engine) -> None:
    """Two files that were not there when the engine looked are two models, not both the first one."""
    for name in ("grey", "colour"):
        (engine.directory / name).unlink()
    leased = [engine.lease(name) for name in ("grey", "colour")]
    assert [model.card.name for model in leased] == ["grey", "colour"]


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
