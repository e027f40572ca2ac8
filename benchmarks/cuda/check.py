"""Measure training, export, equal bytes and the service on an NVIDIA GPU: ``benchmarks/cuda_check.sh figures.json``."""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

BUDGET_S = 510.0
NEEDED = {
    "matplotlib": "matplotlib",
    "numpy": "numpy",
    "onnx": "onnx",
    "onnxruntime": "onnxruntime",
    "onnxscript": "onnxscript",
    "PIL": "pillow",
    "rich": "rich",
    "scipy": "scipy",
    "tensorboard": "tensorboard",
    "torch": "torch",
    "torchmetrics": "torchmetrics",
}
"""Module -> package of everything that training and export import."""


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run every stage that the time allows; the answer is the exit code: 0, 1 if anything failed, 2 if nothing could begin."""
    asked = parse(arguments)
    if why := why_not(asked.device, asked.data, environ):
        print(f"cuda_check: not run: {why}", file=sys.stderr)
        return 2
    # Only now: all of these import what may be missing.
    from benchmarks.cuda.about import about
    from benchmarks.cuda.bench import new_bench
    from benchmarks.cuda.stage import Budget, Report, run_stages
    from benchmarks.cuda.stages import STAGES
    from benchmarks.cuda.table import failures, print_report

    asked.out.parent.mkdir(parents=True, exist_ok=True)
    budget = Budget(total_s=asked.budget)
    report: Report = {"about": about(asked.device), "is_tiny": asked.tiny, "budget_s": asked.budget, "stages": {}}
    with tempfile.TemporaryDirectory(prefix="cuda-check-") as folder:
        bench = new_bench(asked.device, asked.data, Path(folder), environ, is_tiny=asked.tiny)
        bench.console.print(f"checking {report['about']['device']}, {asked.budget:.0f} s at most", highlight=False)
        run_stages(STAGES, bench, budget, report, asked.out)
    print_report(report, bench.console)
    bench.console.print(f"\nwritten to {asked.out} after {budget.took_s():.0f} s", highlight=False)
    return 1 if failures(report["stages"]) else 0


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="cuda_check", description=__doc__)
    parser.add_argument("out", type=Path, help="JSON file of figures, written anew after each stage")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="device that trains and serves")
    parser.add_argument("--tiny", action="store_true", help="run all stages in seconds, as a test; the figures mean nothing")
    parser.add_argument("--budget", type=float, default=BUDGET_S, help="seconds for all stages together")
    parser.add_argument("--data", help="data set; by default mnist, and mnist5k with --tiny")
    asked = parser.parse_args(arguments)
    asked.data = asked.data or ("mnist5k" if asked.tiny else "mnist")
    return asked


def why_not(device: str, data: str, environ: Mapping[str, str]) -> str | None:
    """The sentence that says why nothing can begin here, or None."""
    missing = [package for module, package in NEEDED.items() if importlib.util.find_spec(module) is None]
    if missing:
        return f"{sys.executable} lacks {', '.join(missing)}: install them, or name another Python by PYTHON."
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        return f"torch {torch.__version__} sees no CUDA device here; --device cpu --tiny tries the script without one."
    from training.data.mnist import MNIST, find_folder

    if data == "mnist" and find_folder(MNIST, environ) is None:
        return "there is no MNIST here, and nothing is fetched: put its four IDX files under $DATA_ROOT/mnist."
    return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
