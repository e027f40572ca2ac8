"""The stages of the check, in order, each with its share of the time."""

from __future__ import annotations

from functools import partial
from typing import Any

from benchmarks.cuda.bench import Bench
from benchmarks.cuda.engines import Engine, cpu_engine, engines_for, why_no_cuda
from benchmarks.cuda.playing import ExportedModel, compare_twins, export_all, models, train_whole
from benchmarks.cuda.rows import alone, compare_answers, compare_rows, measure_rates
from benchmarks.cuda.services import compare_services
from benchmarks.cuda.stage import Skipped, Stage
from training.errors import first_line

MOST_S = 20.0
"""The most that one model on one engine may take of its stage."""


def check_rows_on_cpu(bench: Bench) -> dict[str, Any]:
    """The promise where it is made, on onnxruntime's CPU provider with one thread."""
    return _check_rows(bench, [cpu_engine()])


def check_rows_on_device(bench: Bench) -> dict[str, Any]:
    """The same on the device, by every engine that there is."""
    figures = _check_rows(bench, engines_for(bench.device))
    if bench.device.type == "cuda" and (why := why_no_cuda()):
        figures["left_out"] = f"onnxruntime on CUDA: {why}"
    return figures


def _check_rows(bench: Bench, engines: list[Engine]) -> dict[str, Any]:
    figures: dict[str, Any] = {"rows": []}
    there = [model for model in models(bench) if model.path.exists()]
    if not there:
        raise Skipped("no model was exported")
    for engine in engines:
        for model in there:
            if bench.left_s() <= 0:
                figures.setdefault("not_reached", []).append(f"{model.name} on {engine.name}")
                continue
            figures["rows"].append(_check_model(bench, engine, model))
            bench.console.print(f"{model.name} on {engine.name}", highlight=False)
    return figures


def _check_model(bench: Bench, engine: Engine, model: ExportedModel) -> dict[str, Any]:
    figures: dict[str, Any] = {"model": model.name, "engine": engine.name, "settings": dict(engine.settings)}
    latents, left_s = model.latents(), bench.share(MOST_S)
    reference = alone(cpu_engine().open(bench, model), latents)
    try:
        with engine.held():
            run, again = engine.open(bench, model), engine.open(bench, model)
            figures["off_cpu"] = compare_answers(alone(run, latents), reference)
            figures["images_per_s"] = measure_rates(run, latents, bench.scale.rate_s)
            figures |= compare_rows(run, again, latents, bench.scale.sizes, left_s)
    except Exception as error:  # a provider that fails on one model may do another
        figures["failed"] = f"{type(error).__name__}: {first_line(error)[:300]}"
    return figures


STAGES = (
    Stage(name="training twice", share=0.1, run=compare_twins),
    Stage(name="renom", share=0.2, run=partial(train_whole, recipe="renom")),
    Stage(name="dcgan", share=0.24, run=partial(train_whole, recipe="dcgan")),
    Stage(name="export", share=0.12, run=export_all),
    Stage(name="rows on the CPU", share=0.1, run=check_rows_on_cpu),
    Stage(name="the service", share=0.12, run=compare_services),
    Stage(name="rows on the device", share=0.6, run=check_rows_on_device),
)
