"""The soak: its verdict on runs that are known, and the whole of it, with and without a leak."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.serving.constancy import MIB, Course, Snapshot, complaints, slope
from benchmarks.serving.soak import schedule
from tests.serving import tiny_onnx

CALM = Snapshot(at=0.0, pids=(1, 2), resident=300 * MIB, threads=20, files=70, sockets=6)


def course(looks: Sequence[Snapshot], **changes: Any) -> Course:
    """Half an hour with these looks."""
    parts: dict[str, Any] = {"seconds": 1800.0, "before": CALM, "looks": looks, "after": CALM, "wrong": []}
    return Course(**parts | changes)


def every_ten_seconds(**growth: float) -> list[Snapshot]:
    """Looks at a service of which something grows by so much a second."""
    looks = []
    for at in range(10, 1801, 10):
        grown: dict[str, Any] = {name: int(getattr(CALM, name) + by * at) for name, by in growth.items()}
        looks.append(replace(CALM, at=float(at), **grown))
    return looks


def test_what_is_constant_passes() -> None:
    """And so does memory that is taken in the first five minutes only."""
    early = [replace(look, resident=200 * MIB) if look.at < 300 else look for look in every_ten_seconds()]
    assert complaints(course(every_ten_seconds())) == []
    assert complaints(course(early)) == []


@pytest.mark.parametrize(
    ("growth", "complaint"),
    [({"resident": 1024 * 50}, "memory"), ({"threads": 0.02}, "threads"), ({"files": 0.02}, "files")],
    ids=["a kilobyte a request", "a thread a minute", "a file a minute"],
)
def test_what_grows_fails(growth: dict[str, float], complaint: str) -> None:
    """And the complaint names it."""
    (found,) = complaints(course(every_ten_seconds(**growth)))
    assert complaint in found


def test_the_slope_is_in_mebibytes_per_ten_minutes() -> None:
    """For any initial level."""
    assert slope(course(every_ten_seconds(resident=MIB / 300))) == pytest.approx(2, rel=1e-3)


def test_more_connections_meanwhile_are_no_leak_but_afterwards_they_are() -> None:
    """Sockets count when every client has gone."""
    assert complaints(course([replace(look, sockets=90) for look in every_ten_seconds()])) == []
    (found,) = complaints(course(every_ten_seconds(), after=replace(CALM, sockets=7)))
    assert "sockets" in found


def test_a_worker_that_was_replaced_fails() -> None:
    """Though its successor holds as much as it did."""
    assert complaints(course(every_ten_seconds(), after=replace(CALM, pids=(1, 3)))) == ["a process has ended or begun"]


def test_a_wrong_answer_fails() -> None:
    """In the words in which it was found."""
    assert complaints(course(every_ten_seconds(), wrong=["seed 1 is another"])) == ["seed 1 is another"]


def test_reloads_come_between_looks() -> None:
    """So that each has half a period to be over."""
    assert schedule(6, 2, 3) == [(2, False), (4, False), (4, True), (6, False)]


def soak(root: Path, folder: Path, *arguments: str) -> tuple[int, dict[str, Any], str]:
    """Six seconds of it with two tiny models: exit code, report, what was printed."""
    models = [folder / "a.onnx", folder / "b.onnx"]
    for place, model in enumerate(models):
        model.write_bytes(tiny_onnx.grey(golden_seeds=(0, place + 1)))
    out = folder / "report.json"
    command = [
        sys.executable,
        "-m",
        "benchmarks.serving.soak",
        "--models",
        *map(str, models),
        "--minutes",
        ".1",
        "--every",
        "1",
        "--reload-every",
        "2",
        "--workers",
        "1",
        "--out",
        str(out),
        *arguments,
    ]
    # A worker that gets no processor for some seconds refuses nothing: requests wait in a long queue.
    environment = os.environ | {"PYTHONPATH": str(root), "GAN_QUEUE_LIMIT": "4096"}
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True)
    assert out.exists(), done.stderr
    return done.returncode, json.loads(out.read_text()), done.stdout


@pytest.mark.process
@pytest.mark.slow
def test_the_whole_run(root: Path, tmp_path: Path) -> None:
    """Every kind of request is met, models are replaced, bytes stay, and the exit code is the verdict."""
    code, report, text = soak(root, tmp_path, "--rate", "60")
    assert {"200", "400", "404", "405", "left"} >= set(report["statuses"]) >= {"200", "400", "left"}
    assert report["reloads"] > 4
    assert len(report["looks"]) == 6
    # So short a run says nothing about memory, and a pool of threads may still grow.
    assert [what for what in report["complaints"] if not what.startswith(("memory", "threads"))] == []
    assert code == (1 if report["complaints"] else 0)
    assert text.endswith(f"verdict: {'failed' if code else 'constant'}\n")


@pytest.mark.process
@pytest.mark.slow
def test_a_service_that_leaks_fails(root: Path, tmp_path: Path) -> None:
    """O-12, the control: a megabyte a request is seen within seconds."""
    code, report, text = soak(root, tmp_path, "--rate", "40", "--leak", "1000000")
    assert code == 1
    assert report["slope_mib"] > 1000
    assert "memory must grow by less" in text
