"""An engine in this process, whose runs a test holds and releases, and batchers for its leases."""

from __future__ import annotations

import asyncio
import gc
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from contract import Array, Inputs
from serving.engine.batcher import Batcher
from serving.engine.host import Host
from serving.engine.lease import LeasedModel, lease_model
from serving.engine.shared import SharedBackend
from serving.errors import ModelError
from serving.model.load import Model
from serving.observability.metrics import Metrics
from serving.observability.timings import Timings
from tests.harness.processes import TIMEOUT

SLOTS = 4


class Engine:
    """A host whose runs wait for ``gate``, and what it has run; its files have the names of their models."""

    def __init__(self, models: dict[str, Model], runners: int, directory: Path) -> None:
        self.directory = directory
        for name in models:
            (directory / name).touch()
        self.gate = threading.Event()
        self.gate.set()
        self.begun: list[int] = []
        """Sizes of the batches that came to the gate."""
        self.batches: list[int] = []
        self.loads: list[str] = []
        self.is_broken = False
        self.is_stopping = False
        self.models = models
        self.asking, granting = socket.socketpair(type=socket.SOCK_SEQPACKET)
        host = Host(self.load, self.make_run, runners=runners, max_batch=8, on_fault=lambda error: 0xABC)
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
            self.begun.append(len(next(iter(inputs.values()))))
            assert self.gate.wait(TIMEOUT)
            if self.is_broken:
                raise RuntimeError("cable cut")
            self.batches.append(len(next(iter(inputs.values()))))
            return model.run(inputs)

        return run

    async def wait_begun(self, count: int) -> None:
        """Return when the runners have taken this number of batches since the engine's start."""
        while len(self.begun) < count:
            await asyncio.sleep(0.001)

    def lease(self, name: str = "grey", slots: int = SLOTS) -> LeasedModel:
        return lease_model(self.directory / name, rendezvous=self.asking, slots=slots, is_stopping=lambda: False)

    def batcher(self, model: LeasedModel, queue_limit: int = 1000, max_batch: int = SLOTS) -> Batcher:
        return Batcher(SharedBackend(model), max_batch=max_batch, queue_limit=queue_limit, metrics=Metrics())


@contextmanager
def hosted(models: dict[str, Model], runners: int = 2) -> Iterator[Engine]:
    """An engine with models by the names of their files."""
    with tempfile.TemporaryDirectory() as directory:
        engine = Engine(models, runners, Path(directory))
        yield engine
        engine.gate.set()
        engine.is_stopping = True
        gc.collect()
        engine.thread.join(TIMEOUT)
        assert not engine.thread.is_alive(), "the test still holds a lease, by a model or a batcher"
        engine.asking.close()
        engine.granting.close()


def sample(batcher: Batcher, seeds: Sequence[Any]) -> asyncio.Task[Array]:
    return asyncio.create_task(batcher.sample(seeds, {}, Timings()))


async def settle() -> None:
    """Let the loop make its next turns."""
    for _ in range(5):
        await asyncio.sleep(0)
