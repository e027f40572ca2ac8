"""Measure our training loop and the usual PyTorch loop with the same nets and batch, in turns: steps a second.

python -m benchmarks.training.speed vanilla dcgan --seconds 2 --repeats 3
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import islice

import torch
from rich.console import Console
from rich.table import Column, Table
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.training.usual import usual_loop
from training.data import DataSet, load
from training.game.loop import Game, play
from training.game.precision import Precision
from training.game.recipe import Recipe
from training.recipes import CATALOGUE
from training.run.job import repeatable

RECIPES = ("vanilla", "renom", "dcgan", "cgan", "cdcgan_r1", "infogan", "salimans", "parabola")
OURS: tuple[Precision, ...] = ("float32", "bfloat16")
SIDES = ("usual", *OURS)
IMAGES = "mnist5k"
"""Images of every recipe that learns images: the installation includes them."""
COUNTED_STEPS = 8
"""Steps over which the work is counted: R1 is part of one step in eight."""
Clock = Callable[[], float]
Rates = dict[str, float]
"""Steps a second by side."""


def data_of(recipe: Recipe) -> DataSet:
    """The recipe's points, or the images that need no download."""
    is_toy = recipe.data in ("gaussian1d", "ring8", "grid25") or recipe.data.startswith("parabola")
    return load(recipe.data if is_toy else IMAGES, size=recipe.size, environ=os.environ)


def our_loop(recipe: Recipe, data: DataSet, precision: Precision) -> Iterator[int]:
    """Our game, its scalars recorded as often as in a run."""
    game = Game(recipe, data, seed=0, precision=precision)
    for step in play(game, 10**9):
        if step % recipe.log_every == 0:
            game.record()
        yield step


def measure(recipe: Recipe, data: DataSet, *, seconds: float, repeats: int, clock: Clock) -> dict[str, list[float]]:
    """Steps a second of each side, ``repeats`` times in turns, after one warm step each."""
    loops: dict[str, Iterator[object]] = {"usual": usual_loop(recipe, data)}
    loops |= {precision: our_loop(recipe, data, precision) for precision in OURS}
    for loop in loops.values():
        next(loop)
    rates: dict[str, list[float]] = {side: [] for side in SIDES}
    for _ in range(repeats):
        for side, loop in loops.items():
            rates[side].append(_rate(partial(next, loop), seconds, clock))
    return rates


class _NoModules:
    """In the place of the counter's record of modules, whose hooks do not bear penalties on gradients."""

    parents = frozenset({"Global"})

    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...


def count_work(recipe: Recipe, data: DataSet) -> tuple[float, float]:
    """Floating-point operations of one of our steps in matrix products, and in convolutions."""
    loop = our_loop(recipe, data, "float32")
    counter = FlopCounterMode(display=False)
    counter.mod_tracker = _NoModules()  # type: ignore[assignment]
    with counter:
        for _ in islice(loop, COUNTED_STEPS):
            pass
    counts = {str(op): count / COUNTED_STEPS for op, count in counter.get_flop_counts()["Global"].items()}
    convolutions = sum(count for op, count in counts.items() if "convolution" in op)
    return sum(counts.values()) - convolutions, convolutions


def peak_rates(seconds: float, clock: Clock) -> dict[Precision, tuple[float, float]]:
    """Operations a second of a product of two matrices of 1024 x 1024, and of a layer of DCGAN, in each precision."""
    rates: dict[Precision, tuple[float, float]] = {}
    for precision in OURS:
        kind = getattr(torch, precision)
        a, b = torch.randn(2, 1024, 1024).to(kind)
        x = torch.randn(128, 64, 14, 14).to(kind, memory_format=torch.channels_last)
        weight = torch.randn(128, 64, 5, 5).to(kind, memory_format=torch.channels_last)
        with torch.no_grad():
            product = _rate(partial(torch.matmul, a, b), seconds, clock) * 2 * 1024**3
            layer = _rate(partial(F.conv2d, x, weight, None, 2, 2), seconds, clock)
        rates[precision] = product, layer * 2 * 128 * 7 * 7 * weight.numel()
    return rates


def limit(work: tuple[float, float], peak: tuple[float, float]) -> float:
    """Steps a second if the machine did nothing but a step's products and convolutions, at the measured rates."""
    return 1 / sum(operations / rate for operations, rate in zip(work, peak, strict=True))


def _rate(once: Callable[[], object], seconds: float, clock: Clock) -> float:
    """Calls a second of the clock."""
    started_s, calls = clock(), 0
    while (took_s := clock() - started_s) < seconds:
        once()
        calls += 1
    return calls / took_s


def row(name: str, rates: Mapping[str, list[float]], limits: Mapping[str, float]) -> tuple[list[str], Rates]:
    """A line of the table, and the ratio of each of our precisions: the median over the repeats of ours / usual."""
    ratios: Rates = {side: statistics.median(a / b for a, b in zip(rates[side], rates["usual"], strict=True)) for side in OURS}
    steps = [f"{statistics.median(rates[side]):,.1f}" for side in SIDES]
    return [name, *steps, *(f"{ratios[side]:.2f}" for side in OURS), *(f"{limits[side]:,.0f}" for side in OURS)], ratios


def main() -> None:
    """Measure the recipes and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("recipes", nargs="*", default=RECIPES, help=f"recipes to measure; by default {' '.join(RECIPES)}")
    parser.add_argument("--seconds", type=float, default=2.0, help="seconds of each loop in each repeat")
    parser.add_argument("--repeats", type=int, default=3, help="number of measurements of each loop")
    parser.add_argument(
        "--cpu-time", action="store_true", help="measure the CPU time of one thread, for a machine that does other work"
    )
    given = parser.parse_args()
    clock = time.perf_counter
    if given.cpu_time:
        torch.set_num_threads(1)
        clock = time.process_time
    console = Console(width=140)
    numbers = ("usual", "float32", "bfloat16", "ratio", "ratio, bfloat16", "limit", "limit, bfloat16")
    table = Table(Column("steps/s"), *(Column(name, justify="right") for name in numbers), box=None, pad_edge=False)
    found: list[Rates] = []
    with repeatable():
        peaks = peak_rates(min(1.0, given.seconds), clock)
        for name in given.recipes:
            recipe = CATALOGUE[name]
            data = data_of(recipe)
            work = count_work(recipe, data)
            rates = measure(recipe, data, seconds=given.seconds, repeats=given.repeats, clock=clock)
            cells, ratios = row(name, rates, {side: limit(work, peaks[side]) for side in OURS})
            table.add_row(*cells)
            found.append(ratios)
    console.print(table)
    best = statistics.geometric_mean(max(ratios.values()) for ratios in found)
    means = ", ".join(f"{side} {statistics.geometric_mean(ratios[side] for ratios in found):.2f}" for side in OURS)
    console.print(f"geometric mean of the ratios: {means}, the better of the two {best:.2f}", highlight=False)
    for precision, (product, layer) in peaks.items():
        console.print(
            f"{precision}: products {product / 1e9:,.0f} GFLOP/s, convolutions {layer / 1e9:,.0f} GFLOP/s", highlight=False
        )
    console.print(
        f"{'CPU time, ' if given.cpu_time else ''}{torch.get_num_threads()} threads, torch {torch.__version__}", highlight=False
    )


if __name__ == "__main__":
    main()
