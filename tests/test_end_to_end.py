"""The main commands in sequence: make train, make serve, curl, promtool."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import signal
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.harness.processes import free_port, wait_for

ROOT = Path(__file__).resolve().parents[1]
pytestmark = [
    pytest.mark.process,
    pytest.mark.slow,
    pytest.mark.skipif(not shutil.which("make") or not shutil.which("curl"), reason="needs make and curl"),
]


def make(*arguments: str) -> list[str]:
    return ["make", "--no-print-directory", *arguments]


def environment() -> dict[str, str]:
    """The environment without settings of an outer make and of the tests."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "GAN_", "MFLAGS", "PYTEST"))}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run directory made by ``make train`` on the smallest data set, in a few seconds."""
    out = tmp_path_factory.mktemp("run")
    command = make("train", "RECIPE=cdcgan_r1", "DATA=digits", "STEPS=60", f"OUT={out}")
    done = subprocess.run(command, cwd=ROOT, env=environment(), text=True, capture_output=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"exported {out}/model.onnx" in done.stdout.replace("\n", "")
    return out


@pytest.fixture(scope="module")
def service(run: Path) -> Iterator[str]:
    """The address of ``make serve``, once it is ready; Ctrl-C ends it without a stack trace."""
    port = free_port()
    command = make("serve", f"MODEL={run / 'model.onnx'}", f"PORT={port}")
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment(), text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, process_group=0
    )
    address = f"http://127.0.0.1:{port}"
    try:
        wait_for(lambda: urllib.request.urlopen(f"{address}/readyz", timeout=5).close(), process)
        yield address
    finally:
        os.killpg(process.pid, signal.SIGINT)
        output = process.communicate(timeout=60)[0]
    assert "Traceback" not in output
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(f"{address}/readyz", timeout=5)


def curl(*arguments: str) -> bytes:
    return subprocess.run(["curl", "--silent", "--show-error", *arguments], check=True, capture_output=True, timeout=60).stdout


def test_a_run_directory_has_every_documented_file(run: Path) -> None:
    """Model, configuration, statistics, TensorBoard events, grids, a time-lapse and both curves."""
    assert {"model.onnx", "config.json", "stats.jsonl", "samples.webp", "learning-curve.png", "accuracy-curve.png"} <= {
        path.name for path in run.iterdir()
    }
    assert list(run.glob("*tfevents*"))
    assert json.loads((run / "config.json").read_text())["config"]["data"] == "digits"
    with Image.open(run / "samples.webp") as lapse:
        assert getattr(lapse, "n_frames", 1) > 10


def test_the_same_seed_gives_the_same_bytes(service: str) -> None:
    """Ten requests for seed 42 give one PNG of 8x8; seed 43 gives another."""
    images = {curl(f"{service}/generate?seed=42") for _ in range(10)}
    assert len(images) == 1
    with Image.open(io.BytesIO(images.pop())) as image:
        assert (image.format, image.mode, image.size) == ("PNG", "L", (8, 8))
        first = np.asarray(image)
    with Image.open(io.BytesIO(curl(f"{service}/generate?seed=43"))) as image:
        assert (np.asarray(image) != first).any()


def test_a_class_can_be_asked_for(service: str) -> None:
    """y=3 and y=4 differ for one seed, and the headers name the seed."""
    three, four = (curl("-i", f"{service}/generate?seed=42&y={y}") for y in (3, 4))
    assert three != four
    assert b"200" in three.splitlines()[0]
    assert re.search(rb"(?i)^x-seed: 42\r?$", three, re.MULTILINE)


def test_a_wrong_value_is_answered_with_the_valid_range(service: str) -> None:
    """seed=abc is 400, as problem+json that names the value and the range."""
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(f"{service}/generate?seed=abc", timeout=10)
    with caught.value as answer:  # closed here: Python 3.13 and later warn of an error that is collected open
        problem = json.loads(answer.read())
    assert (caught.value.code, caught.value.headers["Content-Type"]) == (400, "application/problem+json")
    assert "abc" in problem["detail"]
    assert "4294967295" in problem["detail"]


@pytest.mark.skipif(not shutil.which("promtool"), reason="promtool is not installed (Debian: prometheus)")
def test_the_metrics_pass_prometheus_own_check(service: str) -> None:
    """After real requests promtool has no complaint, and the requests were counted."""
    for seed in range(5):
        curl(f"{service}/generate?seed={seed}")
    text = curl(f"{service}/metrics")
    checked = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True)
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, b"")
    counted = re.findall(
        rb'^gan_http_requests_total\{(?=[^}]*code="200")(?=[^}]*route="/generate")[^}]*\} (\S+)', text, re.MULTILINE
    )
    assert sum(map(float, counted)) >= 5
