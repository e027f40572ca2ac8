"""Builds every kustomization and judges what comes out, and the compose file: what ``make manifests-check`` runs."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

from deploy.manifests.kubectl import ROOT, find_kubectl
from deploy.manifests.kustomize import BuildError, Document, applied, build, unfolded
from deploy.manifests.rules import prometheus_rule
from deploy.manifests.schemas import KUBERNETES, compose_faults, faults

CHECKOV_CONFIG = Path(__file__).with_name("checkov.yaml")


def main() -> int:
    """The exit code; each fault is a line on stderr."""
    kubectl = find_kubectl()
    if kubectl is None:
        print("there is no kubectl here, which builds the manifests: install it, then try again", file=sys.stderr)
        return 2
    try:
        built = {**{folder: build(folder, kubectl) for folder in applied()}, "rules": [prometheus_rule()]}
    except BuildError as error:
        print(error, file=sys.stderr)
        return 1
    built = {folder: [*documents, *(job for d in documents for job in unfolded(d))] for folder, documents in built.items()}
    found = [
        *(f"{folder}: {fault}" for folder in built for d in built[folder] for fault in faults(d)),
        *compose_faults((ROOT / "deploy/compose.yaml").read_text()),
    ]
    for fault in found:
        print(fault, file=sys.stderr)
    for folder, documents in built.items():
        print(f"built    {folder}: {', '.join(document['kind'] for document in documents)}")
    if found:
        return 1
    print(f"valid    by the schemas of Kubernetes {' and '.join(KUBERNETES)}, of their operators, and of compose")
    return _checkov(built)


def _checkov(built: dict[str, list[Document]]) -> int:
    """checkov's exit code over what was built; it prints what it finds."""
    with tempfile.TemporaryDirectory() as place:
        command = [str(Path(sys.executable).with_name("checkov")), "--config-file", str(CHECKOV_CONFIG)]
        for folder, documents in built.items():
            file = Path(place) / f"{folder.replace('/', '-')}.yaml"
            file.write_text(yaml.safe_dump_all(documents))
            command += ["--file", str(file)]
        done = subprocess.run(command)
    if done.returncode == 0:
        print("secure   by checkov")
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
