"""The rules of ``deploy/prometheus`` as one object for the Prometheus operator: ``python -m deploy.manifests.rules``.

The operator takes rules as objects, and kustomize puts no file into one. So it is made when needed, and there is no copy.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import yaml

from deploy.manifests.kustomize import ROOT, Document

CONFIG = ROOT / "deploy/prometheus/prometheus.yml"


def prometheus_rule(config: Path = CONFIG) -> Document:
    """A PrometheusRule with every group of the rule files that a Prometheus configuration names."""
    files = yaml.safe_load(config.read_text()).get("rule_files", [])
    groups = [group for file in files for group in yaml.safe_load((config.parent / file).read_text())["groups"]]
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "gan", "namespace": "gan", "labels": {"app.kubernetes.io/part-of": "gan"}},
        "spec": {"groups": groups},
    }


def main() -> int:
    """Print the object; the exit code, 1 if the reader has closed the pipe before its end, as ``head`` does."""
    try:
        yaml.safe_dump(prometheus_rule(), sys.stdout, sort_keys=False, width=1000)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the interpreter writes what is buffered when it ends
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
