"""The page on which Prometheus reads a run: what is on it during a real run, and where it cannot be."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import urllib.request
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from tests.harness.processes import free_port
from tests.training.conftest import tiny_config, tiny_context
from training.errors import TrainingError
from training.report.meters import COLLAPSE, KID, PrometheusMetrics, serve_metrics
from training.report.recorder import Recorder
from training.run.job import train


def read(port: int) -> dict[str, float]:
    """The page's samples by name and labels' values."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as page:
        families = list(text_string_to_metric_families(page.read().decode()))
    return {" ".join([s.name, *s.labels.values()]): s.value for family in families for s in family.samples}


@pytest.mark.slow
def test_a_run_is_seen_while_it_lasts(tmp_path: Path) -> None:
    """The page shows the last record: step, images, their rate, each player's loss, the accuracies and the checkpoint."""
    port, config = free_port(), tiny_config("gan_ring8_small", tmp_path, steps=2)
    with serve_metrics(PrometheusMetrics(tmp_path, 2), "127.0.0.1", port) as watch:
        before = read(port)
        assert (before["gan_training_step"], before["gan_training_planned_steps"]) == (0, 2)
        assert "gan_training_kid" not in before
        train(config, replace(tiny_context(tmp_path), watch=watch))
        after = read(port)
    assert (after["gan_training_step"], after["gan_training_images_total"]) == (2, 2 * 8)
    assert after["gan_training_images_per_second"] > 0
    assert {name for name in after if name.startswith("gan_training_loss ")} == {"gan_training_loss D", "gan_training_loss G"}
    assert 0 <= after["gan_training_accuracy real"] <= 1
    assert "gan_training_collapse" not in after  # two steps are too few to tell
    assert after["gan_training_checkpoint_timestamp_seconds"] <= after["gan_training_logged_timestamp_seconds"] + 60
    assert after["process_resident_memory_bytes"] > 0


def test_a_resumed_run_begins_where_it_was(tmp_path: Path) -> None:
    """Before its first record the page tells the last one of the part before, so that nothing seems to start over."""
    Recorder(tmp_path).log(5, 40, {"D/loss": 1.5})
    meters = PrometheusMetrics(tmp_path, 9)
    Recorder(tmp_path, from_step=5, watch=meters.watch)
    found = {s.name: s.value for family in meters.collect() for s in family.samples}
    assert (found["gan_training_step"], found["gan_training_images_total"], found["gan_training_loss"]) == (5, 40, 1.5)


def test_what_was_recorded_stands_until_it_is_recorded_again(tmp_path: Path) -> None:
    """KID and the alarm are noted at checkpoints only; the records between leave them as they are."""
    meters = PrometheusMetrics(tmp_path, 9)
    meters.watch(1, 8, {"score/kid": 0.25, "alarm/collapse": 1.0, "D/loss": 1.0, "D/r1": 2.0}, None)
    meters.watch(2, 16, {"D/loss": 3.0}, 40.0)
    found = {s.name: s.value for family in meters.collect() for s in family.samples}
    assert found["gan_training_kid"] == 0.25
    assert found["gan_training_collapse"] == 1
    assert (found["gan_training_loss"], found["gan_training_scalar"]) == (3, 2)
    assert found["gan_training_images_per_second"] == 40


def test_the_page_ends_with_the_run(tmp_path: Path) -> None:
    """Its port is free again, also when the run fails."""
    port = free_port()
    with pytest.raises(TrainingError, match="lost"), serve_metrics(PrometheusMetrics(tmp_path, 1), "127.0.0.1", port):
        raise TrainingError("lost")
    socket.create_server(("127.0.0.1", port)).close()


@pytest.mark.process
def test_a_port_that_is_taken_is_refused_at_once(root: Path, tmp_path: Path) -> None:
    """Before any data is read and any directory made, with exit code 2 and one sentence."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        command = [
            sys.executable,
            "-m",
            "training",
            "train",
            "parabola",
            "--out",
            str(tmp_path / "run"),
            "--metrics-port",
            port,
        ]
        done = subprocess.run(command, cwd=root, env=os.environ, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert done.stderr == f"error: --metrics-port {port}: cannot listen on 127.0.0.1:{port}: Address already in use\n"
    assert not (tmp_path / "run").exists()


@pytest.mark.process
@pytest.mark.skipif(not shutil.which("promtool"), reason="promtool is not installed (Debian: prometheus)")
def test_promtool_finds_nothing(tmp_path: Path) -> None:
    """Names, kinds and units are as Prometheus wants them."""
    registry = CollectorRegistry()
    registry.register(meters := PrometheusMetrics(tmp_path, 9))
    meters.watch(1, 8, {KID: 0.25, COLLAPSE: 0.0, "D/loss": 1.0, "accuracy/real": 0.5, "D/r1": 2.0}, 40.0)
    checked = subprocess.run(["promtool", "check", "metrics"], input=generate_latest(registry), capture_output=True)
    assert (checked.returncode, checked.stderr) == (0, b"")


def test_a_port_that_the_system_chooses_is_said(tmp_path: Path) -> None:
    """With the whole address; a port that was asked for is known."""
    said: list[str] = []
    with serve_metrics(PrometheusMetrics(tmp_path, 3), "127.0.0.1", 0, said.append):
        (address,) = re.findall(r"^metrics at http://127\.0\.0\.1:(\d+)/metrics$", said[0])
        assert read(int(address))["gan_training_planned_steps"] == 3
    with serve_metrics(PrometheusMetrics(tmp_path, 3), "127.0.0.1", free_port(), said.append):
        assert len(said) == 1


def test_what_is_no_address_is_refused(tmp_path: Path) -> None:
    """Also a text that no name of a host can be."""
    with (
        pytest.raises(TrainingError, match="cannot listen on ü..x:9"),
        serve_metrics(PrometheusMetrics(tmp_path, 1), "ü..x", 9),
    ):
        pass


@pytest.mark.parametrize("port", [-1, 65536])
def test_what_is_no_port_is_refused(tmp_path: Path, port: int) -> None:
    """With the number in the sentence."""
    with (
        pytest.raises(TrainingError, match=f"--metrics-port {port}"),
        serve_metrics(PrometheusMetrics(tmp_path, 1), "127.0.0.1", port),
    ):
        pass
