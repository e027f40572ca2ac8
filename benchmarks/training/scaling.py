"""Measure how much faster two ranks train than one, each on a core of its own.

    python -m benchmarks.training.scaling --recipes dcgan cdcgan_r1 --repeats 3

Two ways of sharing, in turns with one rank: both ranks share the recipe's batch, or each has a batch of that size. Of each the
median of the repeats counts. Without ``--cores`` the first two cores that this process may use are taken. On a machine that is
busy with other programs ``--clock cpu`` counts the processor time of rank 0, without what it waits for the other.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch
import torch.distributed as dist

from training.data import DataSet, load
from training.game.loop import Game, play
from training.game.ranks import ALONE, Ranks, Several
from training.recipes import CATALOGUE

BUNDLED = {"mnist": "mnist5k", "mnist50k": "mnist5k", "stackedmnist": "mnist5k"}
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
WAYS = ("one rank", "batch shared", "batch each")


def rate(recipe_name: str, data: DataSet, batch: int, ranks: Ranks, given: argparse.Namespace) -> float:
    """Real samples a second that all ranks together use; the first step does not count."""
    game = Game(replace(CATALOGUE[recipe_name], batch=batch), data, seed=0, ranks=ranks)
    steps_of_game, clock = play(game, given.steps + 1), CLOCKS[given.clock]
    next(steps_of_game)
    ranks.any(False)
    before, started_s = game.images, clock()
    for _ in steps_of_game:
        ranks.any(False)
    return (game.images - before) / (clock() - started_s)


def measure(rank: int, meeting: Path, cores: list[int], given: argparse.Namespace) -> None:
    """What one of the two processes does; rank 0 prints."""
    os.sched_setaffinity(0, {cores[rank]})
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=2)
    if rank == 0:
        print(f"{'recipe':20} {'batch':>5}  " + "".join(f"{way + ', images/s':>24}" for way in WAYS) + "  ratio shared, each")
    for name in given.recipes:
        recipe = CATALOGUE[name]
        data = load(BUNDLED.get(recipe.data, recipe.data), size=recipe.size, environ=os.environ)
        rates: dict[str, list[float]] = {way: [] for way in WAYS}
        for _ in range(given.repeats):
            if rank == 0:
                rates["one rank"].append(rate(name, data, recipe.batch, ALONE, given))
            dist.barrier()
            rates["batch shared"].append(rate(name, data, recipe.batch, Several(torch.device("cpu")), given))
            rates["batch each"].append(rate(name, data, 2 * recipe.batch, Several(torch.device("cpu")), given))
        if rank == 0:
            alone, *others = (statistics.median(rates[way]) for way in WAYS)
            figures = "".join(f"{value:24,.1f}" for value in (alone, *others))
            print(
                f"{name:20} {recipe.batch:5}  {figures}  " + ", ".join(f"{value / alone:.2f}" for value in others), flush=True
            )
    dist.destroy_process_group()


def main() -> None:
    """Start both processes and wait for them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--recipes", nargs="+", default=["dcgan", "cdcgan_r1", "vanilla"], help="recipes to measure")
    parser.add_argument("--steps", type=int, default=8, help="steps of each measurement")
    parser.add_argument("--repeats", type=int, default=3, help="measurements of each recipe")
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="time that is measured")
    cores = sorted(os.sched_getaffinity(0))[:2]
    parser.add_argument("--cores", type=int, nargs=2, default=cores, help="cores of the two ranks, one each")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        context = multiprocessing.get_context("spawn")
        meeting = Path(folder) / "meeting"
        members = [context.Process(target=measure, args=(rank, meeting, given.cores, given)) for rank in range(2)]
        for member in members:
            member.start()
        for member in members:
            member.join()
    sys.exit(any(member.exitcode for member in members))


if __name__ == "__main__":
    main()
