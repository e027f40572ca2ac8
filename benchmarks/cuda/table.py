"""The report as tables in a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Column, Table

Stages = Mapping[str, Mapping[str, Any]]


def failures(stages: Stages) -> list[str]:
    """What failed: a whole stage, or one model on one engine."""
    whole = [f"{name}: {stage['why']}" for name, stage in stages.items() if stage["status"] == "failed"]
    rows = [row for stage in stages.values() for row in stage.get("figures", {}).get("rows", ()) if "failed" in row]
    return whole + [f"{row['model']} on {row['engine']}: {row['failed']}" for row in rows]


def print_report(report: Mapping[str, Any], console: Console) -> None:
    """Everything that was measured, then what was not and why."""
    about, stages = report["about"], report["stages"]
    console.rule("figures")
    gpu = [f"driver {about['driver']}", f"CUDA {about['cuda']}", f"cuDNN {about['cudnn']}"] if about["driver"] else []
    versions = [f"{name} {about[name]}" for name in ("torch", "onnxruntime", "python")]
    console.print(", ".join([about["device"], *gpu, *versions]), highlight=False)
    for table in (_training(stages), _twins(stages), _exports(stages), _rows(stages), _services(stages)):
        if table.row_count:
            console.print(table, highlight=False)
    for sentence in (*_not_done(stages), *(f"failed: {failure}" for failure in failures(stages))):
        console.print(sentence, style="bold yellow", markup=False, highlight=False, soft_wrap=True)


def _done(stages: Stages, name: str) -> Mapping[str, Any]:
    return {key: value for key, value in stages.get(name, {}).get("figures", {}).items() if key != "not_reached"}


def _not_done(stages: Stages) -> list[str]:
    said = [
        f"{name}: {stage['status']}, {stage['why']}"
        for name, stage in stages.items()
        if stage["status"] in ("skipped", "not reached")
    ]
    for name, stage in stages.items():
        figures = stage.get("figures", {})
        if parts := figures.get("not_reached"):
            said.append(f"{name}: not reached, the stage's time was over: {'; '.join(parts)}")
        if why := figures.get("left_out"):
            said.append(f"{name}: left out, {why}")
    return said


def _new_table(title: str, words: tuple[str, ...], numbers: tuple[str, ...]) -> Table:
    left, right = [Column(name) for name in words], [Column(name, justify="right") for name in numbers]
    return Table(*left, *right, title=title, title_justify="left", title_style="bold")


def _training(stages: Stages) -> Table:
    numbers = ("steps", "median steps/s", "median images/s", "epoch, s", "took, s")
    table = _new_table("training, records and all", ("recipe",), numbers)
    for name in ("renom", "dcgan"):
        if figures := _done(stages, name):
            steps = f"{figures['steps']:,} of {figures['of_steps']:,}"
            epoch, rates = str(figures.get("s_per_epoch", "")), (figures["steps_per_s"], figures["images_per_s"])
            table.add_row(name, steps, *(f"{rate:,.1f}" for rate in rates), epoch, f"{figures['took_s']:.1f}")
    return table


def _twins(stages: Stages) -> Table:
    table = _new_table("training twice from one seed", ("recipe", "cuDNN", "weights"), ("steps", "steps/s"))
    for recipe, variants in _done(stages, "training twice").items():
        for variant, figures in variants.items():
            off = f"{figures['unequal_tensors']} tensors differ, by at most {figures['greatest_difference']:.2g}"
            weights = "bit-equal" if figures["is_equal"] else off
            table.add_row(recipe, variant, weights, str(figures["steps"]), f"{figures['steps_per_s']:,.1f}")
    return table


def _exports(stages: Stages) -> Table:
    title = "exports: torch against onnxruntime, both on the CPU"
    table = _new_table(title, ("model",), ("trained steps", "relative difference", "grey levels"))
    for name, figures in _done(stages, "export").items():
        table.add_row(name, f"{figures['steps']:,}", f"{figures['relative_difference']:.1e}", f"{figures['grey_levels']:g}")
    return table


def _rows(stages: Stages) -> Table:
    title = "rows alone against in company, a batch twice, in two sessions, at one size, against the CPU; images/s by batch"
    words = ("model", "engine", "company", "repeats", "sessions", "size 64", "off CPU")
    table = _new_table(title, words, ("1/s", "8/s", "64/s"))
    for stage in ("rows on the CPU", "rows on the device"):
        for row in _done(stages, stage).get("rows", ()):
            table.add_row(row["model"], row["engine"], *_cells(row))
    return table


def _services(stages: Stages) -> Table:
    done = _done(stages, "the service")
    table = _new_table(f"the service: {done.get('model', '')}", ("models in", "bytes"), ("workers", "answers/s"))
    for row in done.get("services", ()):
        where = "each worker" if row["engine"] == "worker" else "the shared engine"
        rate = "" if row["answers_per_s"] is None else f"{row['answers_per_s']:,.0f}"
        table.add_row(where, "equal" if row["bytes_equal"] else "differ", str(row["workers"]), rate)
    return table


def _cells(row: Mapping[str, Any]) -> list[str]:
    if "failed" in row:
        return ["failed"]
    kinds = [_equality(row[kind]) for kind in ("company", "repeats", "sessions", "one_fixed_size", "off_cpu")]
    if not row["is_complete"]:
        kinds[0] += f" ({row['sizes_tried']} sizes)"
    return kinds + [f"{rate:,.0f}" for rate in row["images_per_s"].values()]


def _equality(difference: Mapping[str, Any]) -> str:
    if difference["floats_equal"]:
        return "bit-equal"
    if difference["pixels_equal"]:
        return f"pixels equal, {difference['greatest']:.0e}"
    return f"{difference['pixel_rows']} rows, {difference['grey_levels']} levels"
