"""The check of a GPU, tried without one: its logic on the CPU, its budget, and what it says where it cannot begin."""

from __future__ import annotations

import io
import itertools
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from rich.console import Console

from benchmarks.cuda import check, engines
from benchmarks.cuda.bench import TINY, Bench, new_bench
from benchmarks.cuda.rows import Difference, alone, compare_rows
from benchmarks.cuda.stage import Budget, Report, Skipped, Stage, run_stages
from benchmarks.cuda.stages import STAGES
from benchmarks.cuda.table import failures, print_report
from contract import Drawn, Uniform
from tests.training.conftest import fit_classifier

LATENTS = {"z": Uniform(3)}


def run_script(root: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    given = {**os.environ, "PYTHON": sys.executable, "OMP_NUM_THREADS": "1", **environ}
    return subprocess.run([root / "benchmarks" / "cuda_check.sh", *arguments], capture_output=True, text=True, env=given)


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_the_script_runs_every_stage(device: str, root: Path, tmp_path: Path) -> None:
    """In tiny, each stage is done, each model is examined on each engine, and rows are bit-equal on onnxruntime's CPU."""
    fit_classifier("mnist5k", tmp_path)
    out = tmp_path / "new" / "figures.json"
    answer = run_script(root, str(out), "--device", device, "--tiny", XDG_CACHE_HOME=os.environ["TEST_CACHE"])
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert f"written to {out}" in answer.stdout
    stages = json.loads(out.read_text())["stages"]
    assert {name: stage["status"] for name, stage in stages.items()} == {stage.name: "done" for stage in STAGES}
    models = {"renom", "dcgan, convtranspose", "dcgan, depthtospace"}
    used = {"rows on the CPU": [engines.cpu_engine()], "rows on the device": engines.engines_for(torch.device(device))}
    for name, expected in used.items():
        rows = stages[name]["figures"]["rows"]
        assert {(row["model"], row["engine"]) for row in rows} == set(itertools.product(models, {e.name for e in expected}))
        assert all(row["sizes_tried"] == len(TINY.sizes) for row in rows)
    assert all(row["company"]["floats_equal"] for row in stages["rows on the CPU"]["figures"]["rows"])
    assert all(stages["export"]["figures"][model]["grey_levels"] <= 1 for model in models)
    services = stages["the service"]["figures"]["services"]
    assert [(row["engine"], row["bytes_equal"]) for row in services] == [("worker", True), ("worker", True), ("shared", True)]
    twice = stages["training twice"]["figures"]["renom"]
    assert twice["deterministic"]["is_equal"]
    assert twice["deterministic, without graphs"]["is_equal"]


@pytest.mark.process
def test_a_python_without_torch_is_refused(root: Path, tmp_path: Path) -> None:
    """The script says that PYTHON cannot import torch, and stops."""
    answer = run_script(root, str(tmp_path / "figures.json"), PYTHON="false")
    assert answer.returncode == 2
    assert "PYTHON=false cannot import torch" in answer.stderr


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sentence names the package by which a module that is not there is installed."""
    monkeypatch.setitem(check.NEEDED, "no_such_module", "no-such-package")
    assert "lacks no-such-package: install" in str(check.why_not("cpu", "mnist5k", {}))


def test_a_device_or_data_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without CUDA, or without MNIST's files, nothing is begun; with both, there is nothing to say."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert "sees no CUDA device" in str(check.why_not("cuda", "mnist", {}))
    environ = {"HOME": str(tmp_path), "DATA_ROOT": str(tmp_path)}
    assert "$DATA_ROOT/mnist" in str(check.why_not("cpu", "mnist", environ))
    (tmp_path / "mnist").mkdir()
    assert check.why_not("cpu", "mnist", environ) is None


def test_an_onnxruntime_without_cuda_is_left_out_with_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the provider only torch is examined on CUDA, and why is said; with it every search is, without TF32."""
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    assert "no CUDAExecutionProvider (it offers CPUExecutionProvider)" in str(engines.why_no_cuda())
    assert {engine.name.split(",")[0] for engine in engines.engines_for(torch.device("cuda"))} == {"torch"}
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"])
    assert engines.why_no_cuda() is None
    settings = [dict(engine.settings) for engine in engines.engines_for(torch.device("cuda"))]
    for search in ("DEFAULT", "HEURISTIC", "EXHAUSTIVE"):
        assert {"cudnn_conv_algo_search": search, "use_tf32": "0"} in settings


class Clock:
    """A clock that a test advances."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def quiet_bench(folder: Path, words: io.StringIO) -> Bench:
    bench = new_bench("cpu", "mnist5k", folder, {}, is_tiny=True)
    bench.console = Console(file=words)
    return bench


def test_stages_share_the_time_and_each_has_its_own_outcome(tmp_path: Path) -> None:
    """Done, skipped, failed and not reached stages stand in the JSON with their reasons; a share never exceeds what is left."""
    clock, bench, shares = Clock(), quiet_bench(tmp_path, io.StringIO()), []

    def spend(seconds: float, error: Exception | None = None) -> Callable[[Bench], Report]:
        def run(bench: Bench) -> Report:
            shares.append(bench.left_s())
            clock.now_s += seconds
            if error:
                raise error
            return {"left_s": bench.left_s()}

        return run

    stages = [
        Stage(name="one", share=0.6, run=spend(10)),
        Stage(name="two", share=0.6, run=spend(10, Skipped("not here"))),
        Stage(name="three", share=0.6, run=spend(0, ValueError("wrong"))),
        Stage(name="four", share=0.6, run=lambda bench: {"rate": float("nan")}),
        Stage(name="five", share=6, run=spend(28)),
        Stage(name="six", share=6, run=spend(1)),
    ]
    report: Report = {"about": {}, "stages": {}}
    run_stages(stages, bench, Budget(total_s=50, clock=clock), report, tmp_path / "out.json")
    written = json.loads((tmp_path / "out.json").read_text())["stages"]
    assert [written[stage.name]["status"] for stage in stages] == ["done", "skipped", "failed", "failed", "done", "not reached"]
    assert shares == [30, 30, 30, 30]
    assert written["one"]["figures"] == {"left_s": 20}
    assert written["two"]["why"] == "not here"
    assert written["three"]["why"] == "ValueError: wrong"
    assert len(failures(written)) == 2


def test_what_was_not_done_is_printed(tmp_path: Path) -> None:
    """The words after the tables name each stage, engine and model that was not reached, left out or failed."""
    stages = {
        "renom": {"status": "not reached", "why": "the time was over"},
        "rows on the device": {
            "status": "done",
            "figures": {
                "rows": [{"model": "dcgan", "engine": "torch", "failed": "RuntimeError: no"}],
                "not_reached": ["renom on torch"],
                "left_out": "onnxruntime on CUDA: none",
            },
        },
    }
    about = {"device": "a GPU", "driver": None, "torch": "2", "onnxruntime": "1", "python": "3"}
    words = io.StringIO()
    print_report({"about": about, "stages": stages}, quiet_bench(tmp_path, words).console)
    for sentence in ("the time was over", "renom on torch", "onnxruntime on CUDA: none", "dcgan on torch: RuntimeError: no"):
        assert sentence in words.getvalue()


def answer_of(drawn: Drawn, off: float = 0.0) -> engines.Answer:
    levels = (drawn["z"].astype(np.float32) * 100 + 120 + np.float32(off)).reshape(-1, 1, 3, 1)
    return np.round(levels).astype(np.uint8), levels


def test_rows_that_depend_on_nothing_are_bit_equal() -> None:
    """A run whose rows are functions of their seeds passes every comparison."""
    found = compare_rows(answer_of, answer_of, LATENTS, (1, 2, 64), lambda: 1.0)
    assert found["is_complete"]
    assert all(found[kind]["floats_equal"] for kind in ("company", "repeats", "one_fixed_size", "sessions"))


def test_a_row_that_depends_on_the_size_of_its_batch_is_found() -> None:
    """Sizes at which rows differ are named, and one fixed size is still found equal at all positions."""
    found = compare_rows(lambda d: answer_of(d, 2.0 * (len(d["z"]) == 64)), answer_of, LATENTS, (1, 2, 64), lambda: 1.0)
    assert found["company"]["sizes"] == [64]
    assert found["company"]["grey_levels"] == 2
    assert found["company"]["pixel_rows"] == 2 * 64
    assert found["repeats"]["floats_equal"]
    assert found["one_fixed_size"]["floats_equal"]
    assert not found["sessions"]["floats_equal"]


def test_a_row_that_depends_on_its_position_is_found() -> None:
    """A last row that differs is found at every size and even at one fixed size."""

    def run(drawn: Drawn) -> engines.Answer:
        pixels, levels = answer_of(drawn)
        levels[-1:] += np.float32(len(levels) > 1) * np.float32(1e-3)
        return pixels, levels

    found = compare_rows(run, run, LATENTS, (1, 2, 64), lambda: 1.0)
    assert found["company"]["sizes"] == [2, 64]
    assert found["company"]["pixels_equal"]
    assert found["company"]["greatest"] == pytest.approx(1e-3, rel=0.1)
    assert not found["one_fixed_size"]["floats_equal"]


def test_a_run_that_differs_from_itself_is_found() -> None:
    """The same batch given twice with different answers is no repeat."""
    calls = itertools.count()
    found = compare_rows(lambda d: answer_of(d, next(calls) % 2), answer_of, LATENTS, (2,), lambda: 1.0)
    assert not found["repeats"]["floats_equal"]


def test_sizes_are_left_out_when_the_time_is_over() -> None:
    """The attempts so far are reported, and that they are not all."""
    left = iter([1.0, 1.0, 0.0])
    found = compare_rows(answer_of, answer_of, LATENTS, (1, 2, 64), lambda: next(left))
    assert (found["sizes_tried"], found["is_complete"]) == (2, False)


def test_no_number_counts_as_a_difference() -> None:
    """NaN is unequal to NaN: an engine that gives none is never found bit-equal."""
    pixels, levels = alone(answer_of, LATENTS)
    levels[0] = np.nan
    difference = Difference()
    difference.add((pixels, levels), (pixels, levels))
    assert difference.float_rows == 1
