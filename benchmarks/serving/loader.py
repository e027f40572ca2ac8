"""Loads for the service, from a process of their own: a closed loop that finds its capacity, an open loop that does not wait.

In the open loop requests arrive as a Poisson process does, however slowly they are answered, and the time of each runs from the
moment it was due: a service that answers late is not asked less.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import resource
import time
from collections.abc import Callable, Coroutine, Iterable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import Any, TypeVar

import numpy as np
import uvloop
from numpy.typing import NDArray

from benchmarks.serving.clients import Again, Ask, Clients, Kind

T = TypeVar("T")

PATIENCE_SECONDS = 35.0
"""How long answers are waited for after the last request: the service's own deadline, and a little."""
WARM_SECONDS = 1.0


@dataclass(frozen=True, kw_only=True)
class Step:
    """A while of one rate."""

    rate: float
    """Requests a second, on average."""
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Mix:
    """What is asked, by chance.

    Each target is a request and its relative frequency; ``{seed}`` in it is a new seed.
    """

    targets: tuple[tuple[float, Kind, str, str], ...] = ((1.0, "stay", "GET", "/generate?seed={seed}"),)
    """Weight, whether the client stays, method, target."""
    first_seed: int = 10**9

    def draw(self, rng: np.random.Generator, many: int) -> Iterable[tuple[Kind, str, str]]:
        """That many requests: kind, method and target of each."""
        weights = np.array([weight for weight, *_ in self.targets])
        for place, number in enumerate(rng.choice(len(weights), many, p=weights / weights.sum())):
            _, kind, method, target = self.targets[number]
            yield kind, method, target.format(seed=self.first_seed + place)


@dataclass(frozen=True, kw_only=True)
class Trace:
    """What became of every request, in arrays of equal length; times in seconds from ``start`` of ``time.monotonic``."""

    start: float
    step: NDArray[np.int64]
    due: NDArray[np.float64]
    done: NDArray[np.float64]
    status: NDArray[np.int64]
    tries: NDArray[np.int64]
    cpu: NDArray[np.float64]
    """The loader's own processor seconds in each step."""
    refusals: int
    """Answers with ``Retry-After``, repeated tries among them."""
    connections: int
    """The most that were open at the same time."""


@contextmanager
def own_process(work: Callable[..., T], *arguments: object, **named: object) -> Any:
    """Run it in another process; gives the future of what it returns."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        future: Future[T] = process.submit(work, *arguments, **named)
        yield future


def measure_capacity(port: int, *, seconds: float, connections: int = 64, mix: Mix | None = None) -> float:
    """Answers of 200 a second that this number of clients gets, each asking again as soon as it has its answer."""
    return _run(_saturate(port, seconds, connections, mix or Mix()))


def offer(
    port: int,
    steps: Sequence[Step],
    *,
    seed: int = 0,
    limit: int = 4096,
    again: Again = "never",
    tries: int = 1,
    mix: Mix | None = None,
) -> Trace:
    """Offer one step after the other, without a pause, independent of the answers."""
    return _run(_offer(port, steps, np.random.default_rng(seed), mix or Mix(), limit, again, tries))


def _run(work: Coroutine[Any, Any, T]) -> T:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)


async def _saturate(port: int, seconds: float, connections: int, mix: Mix) -> float:
    start = time.monotonic() + WARM_SECONDS
    answered = 0
    seeds = count(mix.first_seed)

    def ask_next(ask: Ask) -> None:
        nonlocal answered
        now = time.monotonic()
        answered += ask.status == 200 and start <= now < start + seconds
        if now < start + seconds:
            ask_now()

    def ask_now() -> None:
        _, kind, method, target = mix.targets[0]
        clients.send(Ask(0, time.monotonic(), target.format(seed=next(seeds)), method, kind))

    clients = Clients(port, limit=connections, finished=ask_next)
    for _ in range(connections):
        ask_now()
    await asyncio.sleep(WARM_SECONDS + seconds)
    clients.close()
    return answered / seconds


async def _offer(
    port: int, steps: Sequence[Step], rng: np.random.Generator, mix: Mix, limit: int, again: Again, tries: int
) -> Trace:
    arrivals = [(number, at) for number, step in enumerate(steps) for at in _arrivals(steps, number, step, rng)]
    all_done = asyncio.Event()
    left = len(arrivals)

    def finished(ask: Ask) -> None:
        nonlocal left
        left -= 1
        if not left:
            all_done.set()

    clients = Clients(port, limit=limit, finished=finished, again=again, tries=tries)
    start = time.monotonic()
    marks, all_marked = _mark_cpu(steps)
    asks = []
    for (number, at), (kind, method, target) in zip(arrivals, mix.draw(rng, len(arrivals)), strict=True):
        ask = Ask(number, start + at, target, method, kind)
        await asyncio.sleep(max(0.0, ask.due - time.monotonic()))
        clients.send(ask)
        asks.append(ask)
    if asks:
        with suppress(TimeoutError):  # what is not answered then counts as unanswered
            await asyncio.wait_for(all_done.wait(), PATIENCE_SECONDS)
    await all_marked.wait()
    clients.close()
    return _trace(asks, start, marks, clients)


def _arrivals(steps: Sequence[Step], number: int, step: Step, rng: np.random.Generator) -> NDArray[np.float64]:
    """When the requests of a step are due, from the start of the first: as many as chance has it, at moments of no order."""
    begin = sum(earlier.seconds for earlier in steps[:number])
    return begin + np.sort(rng.uniform(0, step.seconds, rng.poisson(step.rate * step.seconds)))


def _mark_cpu(steps: Sequence[Step]) -> tuple[list[float], asyncio.Event]:
    """A list that gets this process's processor seconds at the end of each step, and the event of the last."""
    marks, all_marked = [time.process_time()], asyncio.Event()

    def mark() -> None:
        marks.append(time.process_time())
        if len(marks) > len(steps):
            all_marked.set()

    for end in np.cumsum([step.seconds for step in steps]):
        asyncio.get_running_loop().call_later(float(end), mark)
    return marks, all_marked


def _trace(asks: Sequence[Ask], start: float, marks: Sequence[float], clients: Clients) -> Trace:
    column = partial(np.array, dtype=np.int64)
    return Trace(
        start=start,
        step=column([ask.step for ask in asks]),
        due=np.array([ask.due - start for ask in asks]),
        done=np.array([ask.done - start for ask in asks]),
        status=column([ask.status for ask in asks]),
        tries=column([ask.tries for ask in asks]),
        cpu=np.diff(marks),
        refusals=clients.refusals,
        connections=clients.most,
    )
