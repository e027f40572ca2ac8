"""What stands in deploy/ is accepted by the program that it is for."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from tests.repository.files import ROOT


@pytest.mark.skipif(not shutil.which("promtool"), reason="promtool is not installed (Debian: prometheus)")
def test_prometheus_accepts_its_configuration() -> None:
    """promtool finds nothing wrong with the scrape configuration."""
    path = ROOT / "deploy" / "prometheus" / "prometheus.yml"
    checked = subprocess.run(["promtool", "check", "config", str(path)], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr
