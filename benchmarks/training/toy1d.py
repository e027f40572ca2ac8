"""Train twenty seeds of the 1-D toys, with and without minibatch discrimination; measure mean, spread and distance to the data.

    python benchmarks/training/toy1d.py --seeds 20 --out runs/toy1d.jsonl

Each line of the output is one finished game; a second call continues where the first one stopped. Games of another number of
steps stay in the file, and are not counted.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
from collections.abc import Mapping
from pathlib import Path

import torch

from training.data import DataSet, load
from training.export.sample_grid import sample_game
from training.game.loop import Game, play
from training.metrics.points import deviation, mean, w1
from training.recipes import CATALOGUE

RECIPES = ("toy1d", "toy1d_minibatch", "toy1d_clamped", "toy1d_minibatch_clamped")
SAMPLES = 10_000


def measure(name: str, seed: int, data: DataSet, truth: DataSet, steps: int) -> dict[str, object]:
    """Play one game to its end and measure 10,000 samples as they would be served."""
    game = Game(CATALOGUE[name], data, seed=seed)
    for _ in play(game, steps):
        pass
    game.settle()
    points = torch.from_numpy(sample_game(game, data, range(SAMPLES)))
    real = truth.items[:SAMPLES]
    values = {"mean": mean(points)[0], "std": deviation(points)[0], "w1": w1(points, real)}
    return {"recipe": name, "seed": seed, "steps": steps, **values}


def summarise(rows: list[Mapping[str, object]]) -> None:
    """A line a recipe: medians over the seeds, and how many games met the bar."""
    print(f"{'recipe':26} {'seeds':>5} {'median std':>10} {'|mean-4|':>9} {'W1':>7}  std >= .35 and |mean-4| <= .25")
    for name in RECIPES:
        mine = [{key: float(str(row[key])) for key in ("mean", "std", "w1")} for row in rows if row["recipe"] == name]
        if not mine:
            continue
        std, w = (statistics.median(row[key] for row in mine) for key in ("std", "w1"))
        off = statistics.median(abs(row["mean"] - 4) for row in mine)
        good = sum(row["std"] >= 0.35 and abs(row["mean"] - 4) <= 0.25 for row in mine)
        print(f"{name:26} {len(mine):5} {std:10.3f} {off:9.3f} {w:7.3f}  {good}")


def main() -> None:
    """Play what is not played yet, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seeds", type=int, default=20, help="number of seeds of each recipe")
    parser.add_argument("--steps", type=int, default=None, help="steps of each game; by default the recipe's own number")
    parser.add_argument(
        "--out", type=Path, default=Path("runs/toy1d.jsonl"), help="file to which a line for each game is written"
    )
    given = parser.parse_args()
    torch.set_num_threads(1)
    data, truth = (load("gaussian1d", split=split, environ=os.environ) for split in ("train", "test"))
    given.out.parent.mkdir(parents=True, exist_ok=True)
    rows = [json.loads(line) for line in given.out.read_text().splitlines()] if given.out.exists() else []
    steps = {name: given.steps or CATALOGUE[name].steps for name in RECIPES}
    played = {(row["recipe"], row["seed"], row.get("steps")) for row in rows}
    with given.out.open("a") as file:
        for seed in range(given.seeds):
            for name in RECIPES:
                if (name, seed, steps[name]) not in played:
                    rows.append(measure(name, seed, data, truth, steps[name]))
                    file.write(json.dumps(rows[-1]) + "\n")
                    file.flush()
    summarise([row for row in rows if row.get("steps") == steps[row["recipe"]]])


if __name__ == "__main__":
    main()
