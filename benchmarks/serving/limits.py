"""What the machine gives at most: inferences, draws and encodings a second on all cores, with no server around them."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.synchronize import Barrier
from pathlib import Path

from benchmarks.serving.contenders.generator import write_png
from contract import draw
from serving.encoding.formats import FORMATS
from serving.engine.samples import sample_of
from serving.model.load import Model, load_model

BATCHES = (1, 8, 64)
SEEDS = range(64)
MEETING_SECONDS = 120
_meeting: list[Barrier] = []
"""One barrier in each worker process, where all wait for the last one to be ready."""


def measure_limits(model: Path, seconds: float, cores: int) -> dict[str, float]:
    """Images a second by what is done to them, all cores at it."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(cores, spawn, initializer=_meet_at, initargs=(spawn.Barrier(cores),)) as workers:
        done = [workers.submit(_work, model, seconds) for _ in range(cores)]
        rates = [part.result() for part in done]
    return {name: sum(rate[name] for rate in rates) for name in rates[0]}


def _meet_at(barrier: Barrier) -> None:
    _meeting.append(barrier)


def _work(path: Path, seconds: float) -> dict[str, float]:
    model = load_model(path, "cpu")
    found = {}
    for name, (images, run) in _tasks(model).items():
        run()
        _meeting[0].wait(MEETING_SECONDS)
        found[name] = _rate(run, images, seconds)
    return found


def _rate(run: Callable[[], object], images: int, seconds: float) -> float:
    start = time.perf_counter()
    count = 0
    while (elapsed := time.perf_counter() - start) < seconds or not count:
        run()
        count += images
    return count / elapsed


def _tasks(model: Model) -> dict[str, tuple[int, Callable[[], object]]]:
    """By name: how many images one call makes, and the call."""
    rows = model.sample(SEEDS)
    encode = FORMATS[model.card.output.kind]["png"].encode
    samples = [sample_of(model, rows[i : i + 1], seed, {}) for i, seed in enumerate(SEEDS)]
    tasks: dict[str, tuple[int, Callable[[], object]]] = {
        f"session.run, batches of {batch}": (batch, _inference(model, batch)) for batch in BATCHES
    }
    tasks["latents, batches of 64"] = len(SEEDS), lambda: draw(model.card.latents, SEEDS)
    tasks["PNG by our encoder"] = len(SEEDS), lambda: [encode(sample) for sample in samples]
    tasks["PNG by Pillow"] = len(SEEDS), lambda: [write_png(pixels) for pixels in rows]
    return tasks


def _inference(model: Model, batch: int) -> Callable[[], object]:
    drawn = draw(model.card.latents, SEEDS[:batch])
    return lambda: model.session.run(None, drawn)
