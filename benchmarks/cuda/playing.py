"""Stages that train: the same run twice, a whole job, and the export of what came out."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
import torch
from torch.backends import cudnn

from benchmarks.cuda.bench import Bench
from benchmarks.cuda.stage import Skipped
from contract import Latents, card_from_metadata
from training.export.sample_grid import sampler_of
from training.export.to_onnx import Upsampling, export
from training.game.loop import Game, play
from training.report.journal import read_rows
from training.report.recorder import TIMINGS
from training.run.job import card_of, train

RECIPES = ("renom", "dcgan")
VARIANTS = {"as it comes": (False, True), "deterministic": (True, True), "deterministic, without graphs": (True, False)}
"""Whether cuDNN is held to deterministic algorithms, and whether updates of the second run are graphs, by name."""
EPOCH_STEPS = 195
"""Steps of 256 images in which renom's tutorial counts an epoch of MNIST."""
MODELS: tuple[tuple[str, Upsampling], ...] = (("renom", "convtranspose"), ("dcgan", "convtranspose"), ("dcgan", "depthtospace"))


@dataclass(frozen=True, kw_only=True)
class ExportedModel:
    """An exported generator."""

    recipe: str
    upsampling: Upsampling
    path: Path

    @property
    def name(self) -> str:
        return self.recipe if self.recipe == "renom" else f"{self.recipe}, {self.upsampling}"

    def latents(self) -> Latents:
        """What its card declares."""
        return card_from_metadata({entry.key: entry.value for entry in onnx.load(self.path).metadata_props}).latents


def compare_twins(bench: Bench) -> dict[str, Any]:
    """Two runs of one seed, weights compared bit for bit.

    As torch comes; with cuDNN held to deterministic algorithms; and so held, the second run without graphs of its updates.
    """
    figures: dict[str, Any] = {}
    pairs = [(recipe, variant) for recipe in RECIPES for variant in VARIANTS]
    for done, (recipe, variant) in enumerate(pairs):
        if bench.left_s() <= 0:
            figures.setdefault("not_reached", []).append(f"{recipe}, {variant}")
            continue
        is_held, has_graphs = VARIANTS[variant]
        with cudnn.flags(enabled=True, benchmark=False, deterministic=is_held, allow_tf32=cudnn.allow_tf32):
            found = _compare_two(bench, recipe, bench.left_s() / (len(pairs) - done), has_graphs=has_graphs)
        figures.setdefault(recipe, {})[variant] = found
    return figures


def _compare_two(bench: Bench, recipe: str, seconds: float, *, has_graphs: bool) -> dict[str, Any]:
    """The first run stops at half of the time, if it is not over by then; the second plays as many steps."""
    first, _ = _play_timed(bench, recipe, bench.scale.twin_steps, bench.share(seconds / 2))
    second, rate = _play_timed(bench, recipe, first.step, lambda: 1.0, has_graphs=has_graphs)
    pairs = [
        (f"{role}.{name}", value, second.nets[role].state_dict()[name])
        for role, net in first.nets.items()
        for name, value in net.state_dict().items()
    ]
    unequal = [name for name, a, b in pairs if not torch.equal(a, b)]
    greatest = max(float((a.double() - b.double()).abs().max()) for _, a, b in pairs)
    return {
        "steps": first.step,
        "is_equal": not unequal,
        "unequal_tensors": len(unequal),
        "greatest_difference": greatest,
        "steps_per_s": round(rate, 1),
    }


def _play_timed(
    bench: Bench, recipe: str, steps: int, left_s: Callable[[], float], *, has_graphs: bool = True
) -> tuple[Game, float]:
    """A game after ``steps`` steps, or fewer if the time is over, and 1 / the median time of a step of its second half."""
    game, _ = bench.game(recipe, seed=1)
    game.graphs.are_on &= has_graphs
    took: list[float] = []
    started_s = time.perf_counter()
    for _ in play(game, steps):
        _synchronise(bench.device)
        took.append(time.perf_counter() - started_s)
        if left_s() <= 0:
            break
        started_s = time.perf_counter()
    return game, 1 / statistics.median(took[len(took) // 2 :])


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def train_whole(bench: Bench, recipe: str) -> dict[str, Any]:
    """The job as ``python -m training train`` does it, records and all, to the end or as far as the time goes."""
    started_s = time.monotonic()
    is_whole = train(bench.config(recipe), bench.setting(recipe))
    took_s = time.monotonic() - started_s
    rows = read_rows(bench.run_of(recipe) / TIMINGS)
    if not rows:
        raise Skipped("the time was over before the first record")
    figures = {
        "is_whole": is_whole,
        "steps": rows[-1]["step"],
        "of_steps": bench.config(recipe).resolve().steps,
        "steps_per_s": statistics.median(row["steps_per_s"] for row in rows),
        "images_per_s": statistics.median(row["images_per_s"] for row in rows),
        "took_s": round(took_s, 1),
    }
    if recipe == "renom":
        figures["s_per_epoch"] = round(EPOCH_STEPS / figures["steps_per_s"], 3)
    return figures


def export_all(bench: Bench) -> dict[str, Any]:
    """Each model in each form, compared with torch on the CPU by the export itself."""
    figures: dict[str, Any] = {}
    for model in models(bench):
        if bench.left_s() <= 0:
            figures.setdefault("not_reached", []).append(model.name)
            continue
        game, data = bench.trained(model.recipe)
        started_s = time.perf_counter()
        difference = export(sampler_of(game, data), card_of(game, data), model.path, upsampling=model.upsampling)
        figures[model.name] = {
            "steps": game.step,
            "relative_difference": difference["float"],
            "grey_levels": difference["output"],
            "bytes": model.path.stat().st_size,
            "took_s": round(time.perf_counter() - started_s, 1),
        }
    return figures


def models(bench: Bench) -> list[ExportedModel]:
    """What is exported, and where."""
    return [ExportedModel(recipe=r, upsampling=u, path=bench.folder / f"{r}-{u}.onnx") for r, u in MODELS]
