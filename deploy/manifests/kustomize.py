"""The kustomizations of ``deploy/kubernetes``, and what kustomize makes of them."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import yaml

from deploy.manifests.kubectl import ROOT

FOLDER = ROOT / "deploy/kubernetes"

Document = dict[str, Any]
"""A Kubernetes object as YAML has it."""


class BuildError(Exception):
    """kustomize cannot build a folder; the message is its own."""


def applied() -> list[str]:
    """The folders below ``deploy/kubernetes`` that a person applies: every kustomization that is no other's base."""
    folders = [path.parent.relative_to(FOLDER) for path in FOLDER.rglob("kustomization.yaml")]
    return sorted(str(folder) for folder in folders if folder.name != "base")


def build(folder: str, kubectl: Path) -> list[Document]:
    """The objects of a kustomization.

    Raises:
        BuildError: kustomize refuses it.
    """
    done = subprocess.run([kubectl, "kustomize", str(FOLDER / folder)], capture_output=True, text=True)
    if done.returncode or done.stderr:
        raise BuildError(f"{folder}: {done.stderr.strip()}")
    return list(yaml.safe_load_all(done.stdout))


def unfolded(document: Document) -> list[Document]:
    """The Jobs that Kubeflow Trainer makes of a TrainingRuntime, so that they are judged as any other; else nothing."""
    if document["kind"] != "TrainingRuntime":
        return []
    jobs = document["spec"]["template"]["spec"]["replicatedJobs"]
    name, namespace = document["metadata"]["name"], document["metadata"]["namespace"]
    return [
        {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {"name": f"{name}-{job['name']}", "namespace": namespace},
            "spec": job["template"]["spec"],
        }
        for job in jobs
    ]
