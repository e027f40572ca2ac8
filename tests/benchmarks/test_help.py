"""``--help`` of the benchmarks describes each option."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.serving.contender import ROOT


def options(path: Path) -> list[ast.Call]:
    """The calls of ``add_argument`` in a file."""
    calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    return [call for call in calls if isinstance(call.func, ast.Attribute) and call.func.attr == "add_argument"]


def test_each_option_of_a_benchmark_has_a_help_text() -> None:
    """A reader of ``--help`` sees what each option means, and not its name alone."""
    found = [(path, call) for path in sorted((ROOT / "benchmarks").rglob("*.py")) for call in options(path)]
    assert len(found) > 50
    assert [f"{path.name}:{call.lineno}" for path, call in found if "help" not in {word.arg for word in call.keywords}] == []


@pytest.mark.process
def test_help_of_a_benchmark_without_options_measures_nothing() -> None:
    """``--help`` prints how to call it and ends, as that of the other benchmarks."""
    command = [sys.executable, "benchmarks/contract/draw.py", "--help"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("usage: draw.py")
    assert "us a seed" not in done.stdout
