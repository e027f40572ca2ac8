"""Leases between the engine and a worker: granted, refused and let go, also where descriptors are short."""

from __future__ import annotations

import asyncio
import errno
import gc
import os
import resource
import select
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing import Pipe
from typing import Any

import pytest

from serving.engine import host
from serving.engine.lease import grant, lease_model
from serving.errors import ModelError, ResourceError, StartError
from serving.model.load import Model
from tests.harness.processes import TIMEOUT, wait_until
from tests.serving.client import on_a_loop
from tests.serving.engine.hosting import SLOTS, Engine, hosted, sample, settle


@pytest.fixture
def engine(models: dict[str, Model]) -> Iterator[Engine]:
    with hosted(models) as engine:
        yield engine


@pytest.mark.slow
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


@pytest.mark.slow
def test_a_refused_file_is_the_error_of_a_local_load(engine: Engine) -> None:
    """The engine's refusal is raised in the worker, and the engine goes on."""
    with pytest.raises(ModelError, match="nothing: refused"):
        engine.lease("nothing")
    assert engine.lease().card.name == "grey"


@pytest.mark.slow
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
    gc.collect()  # what earlier tests have left
    before = os.listdir("/proc/self/fd")
    with pytest.raises(BrokenPipeError):
        grant(ours, models["grey"], SLOTS, work)
    assert os.listdir("/proc/self/fd") == before
    os.close(work)
    ours.close()


@pytest.mark.slow
def test_an_engine_without_memory_refuses(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """F-17: an error of the engine's own is a refusal, not the end of the worker, which would ask again endlessly."""

    def fail(*how: Any) -> Any:
        raise OSError(errno.ENOMEM, "Cannot allocate memory")

    monkeypatch.setattr(host, "grant", fail)
    with pytest.raises(ResourceError, match="grey: the engine cannot lease the model: .*Cannot allocate memory"):
        engine.lease()


@contextmanager
def descriptors_left(count: int) -> Iterator[None]:
    """Let this process open only that number of further files."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, os.listdir("/proc/self/fd"))) + 16, limits[1]))
    taken = []
    try:
        with suppress(OSError):
            while True:
                taken.append(os.dup(0))
        for _ in range(count):
            os.close(taken.pop())
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        for descriptor in taken:
            os.close(descriptor)


@pytest.mark.slow
@pytest.mark.parametrize("count", range(12))
def test_a_lease_without_descriptors_is_refused_and_leaves_nothing_open(engine: Engine, count: int) -> None:
    """F-17: however many are missing on either side, the worker gets a lease or a refusal of one line."""
    tries = iter([False] * 3)
    held = engine.lease()
    gc.collect()
    before = len(os.listdir("/proc/self/fd"))
    with descriptors_left(count), suppress(StartError):
        lease_model(engine.directory / "grey", rendezvous=engine.asking, slots=SLOTS, is_stopping=lambda: next(tries, True))

    def is_closed() -> bool:
        gc.collect()
        return len(os.listdir("/proc/self/fd")) <= before

    wait_until(is_closed, "all is closed")
    assert not held.lease.is_lost()


@pytest.mark.slow
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
