"""Train plain GANs, EBGANs and EBGANs with the pulling-away term at the same random points of EBGAN's grid.

    python benchmarks/training/ebgan_grid.py --points 32 --steps 2000 --out runs/ebgan_grid

Each line of stats.jsonl there is one finished game; a second call continues where the first one stopped. Games of other steps,
data or seed, or by another classifier, stay there and are not counted. The score is that of
the paper (arXiv:1609.03126, section 4.1), I' = E_x KL(p(y) || p(y|x))^2 by a classifier of digits; the table counts games
above each bar.
On a CPU leave out the widest generators: --largest 800.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from training.data import DataSet, load
from training.errors import NonFinite
from training.export.sample_grid import sample_game
from training.files import cache_folder
from training.game.loop import Game, play
from training.game.recipe import Recipe
from training.metrics.classifier import Classifier, classifier_for
from training.metrics.command import CLASSIFIERS
from training.recipes.energy import KINDS, grid
from training.report.journal import Record, append_row, cut_journal, read_rows
from training.run.launch import device_of

SAMPLES = 2_000
BARS = (25.0, 50.0, 100.0, 200.0, 300.0)
LEAST = 1e-30
"""Probabilities below it count as it."""


def inception_prime(shares: Tensor) -> float:
    """I' of p(y|x), [N,K]: the mean of KL(p(y) || p(y|x))^2, with p(y) the mean of p(y|x)."""
    shares = shares.clamp_min(LEAST)
    marginal = shares.mean(0)
    return float((marginal * (marginal.log() - shares.log())).sum(1).square().mean())


def key_of(recipe: Recipe, data: DataSet, classifier: Classifier, *, seed: int) -> dict[str, str | int]:
    """What a game's score depends on but for its recipe's name: steps, data, seed and classifier."""
    return {"step": recipe.steps, "data": data.name, "seed": seed, "classifier": classifier.name}


def measure(recipe: Recipe, data: DataSet, classifier: Classifier, *, seed: int) -> Record:
    """Play one game to its end and score samples as they would be served; a game that breaks scores nothing."""
    kind, size = recipe.name.rsplit("_g", 1)
    game = Game(recipe, data, seed=seed)
    played: Record = {"recipe": recipe.name, "kind": kind, "size": size, **key_of(recipe, data, classifier, seed=seed)}
    try:
        for _ in play(game, recipe.steps):
            pass
        game.settle()
    except NonFinite as error:
        return {**played, "score": 0.0, "broke": str(error)}
    images = torch.from_numpy(sample_game(game, data, range(SAMPLES))).permute(0, 3, 1, 2)
    score = inception_prime(classifier.features_of(images.contiguous()).probabilities)
    return {**played, "score": score}


def summarise(rows: Sequence[Record]) -> None:
    """A line a kind: how many of its games are above each bar."""
    print(f"{'kind':10} {'games':>5}" + "".join(f"{f'> {bar:g}':>8}" for bar in BARS))
    for kind in KINDS:
        scores = [float(str(row["score"])) for row in rows if row["kind"] == kind]
        shares = [sum(score > bar for score in scores) / max(1, len(scores)) for bar in BARS]
        print(f"{kind:10} {len(scores):5}" + "".join(f"{share:8.2f}" for share in shares))


def main() -> None:
    """Play what is not played yet, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--points", type=int, default=32, help="number of points of the grid, with three games each")
    parser.add_argument("--steps", type=int, default=2000, help="steps of each game")
    parser.add_argument("--largest", type=int, default=3200, help="most units of a layer of G: 400, 800, 1600 or 3200")
    parser.add_argument("--data", default="mnist", help="data set; mnist5k needs no download")
    parser.add_argument("--seed", type=int, default=0, help="random seed of the points and of their games")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="auto is cuda where there is a GPU")
    parser.add_argument("--out", type=Path, default=Path("runs/ebgan_grid"), help="directory of stats.jsonl")
    given = parser.parse_args()
    data = load(given.data, environ=os.environ)
    classifier = classifier_for(data, cache=cache_folder(os.environ) / CLASSIFIERS)
    data = data.to(device_of(given.device))
    given.out.mkdir(parents=True, exist_ok=True)
    journal, timings = given.out / "stats.jsonl", given.out / "timings.jsonl"
    cut_journal(journal, last_step=sys.maxsize)  # a kill may have left a torn line, behind which none would be read
    rows = read_rows(journal)
    last = cut_journal(timings, last_step=len(rows))
    spent = last["wall_s"] if last else 0.0
    mine: list[Record] = []
    for recipe in grid(given.points, seed=given.seed, steps=given.steps, largest=given.largest):
        key = {"recipe": recipe.name, **key_of(recipe, data, classifier, seed=given.seed)}
        if found := [row for row in rows if {**row, **key} == row]:
            mine += found[:1]
        else:
            begun = time.monotonic()
            rows.append(measure(recipe, data, classifier, seed=given.seed))
            with journal.open("a") as file:
                file.write(json.dumps(rows[-1]) + "\n")
            spent += time.monotonic() - begun
            append_row(timings, {"step": len(rows), "wall_s": spent})
            mine.append(rows[-1])
    summarise(mine)


if __name__ == "__main__":
    main()
