"""The Prometheus operator gets the rules that Prometheus gets."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from deploy.manifests.rules import CONFIG, prometheus_rule
from tests.deploy.manifests import written
from tests.repository.files import ROOT

GROUPS = [
    {"name": "one", "rules": [{"record": "a:b", "expr": "sum(up)"}]},
    {"name": "two", "interval": "1m", "rules": [{"alert": "Gone", "expr": "up == 0", "for": "5m"}]},
]


def test_every_group_of_every_rule_file_is_there(tmp_path: Path) -> None:
    """In the order of the configuration, unchanged."""
    (tmp_path / "prometheus.yml").write_text("rule_files: [first.yml, second.yml]")
    for name, group in zip(("first", "second"), GROUPS, strict=True):
        (tmp_path / f"{name}.yml").write_text(yaml.safe_dump({"groups": [group]}))
    assert prometheus_rule(tmp_path / "prometheus.yml")["spec"]["groups"] == GROUPS


@pytest.mark.process
def test_the_command_prints_what_kubectl_takes() -> None:
    """One object of the operator's, in the namespace of everything else, with the groups of deploy/prometheus."""
    command = [sys.executable, "-m", "deploy.manifests.rules"]
    (printed,) = yaml.safe_load_all(subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout)
    assert printed == prometheus_rule(CONFIG)
    assert printed["kind"] == "PrometheusRule"
    assert printed["metadata"]["namespace"] == written("ground/namespace.yaml")["metadata"]["name"]


@pytest.mark.process
def test_a_reader_that_wants_no_more_sees_no_traceback() -> None:
    """``python -m deploy.manifests.rules | head`` ends without a word on stderr."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        command = [sys.executable, "-m", "deploy.manifests.rules"]
        done = subprocess.run(command, cwd=ROOT, stdout=writer, stderr=subprocess.PIPE, text=True)
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (1, "")
