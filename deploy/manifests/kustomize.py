"""The kustomizations of ``deploy/kubernetes``, and the objects that kustomize builds from them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "deploy/kubernetes"
INSTALLED = ROOT / ".build/manifests/kubectl"
"""Installed by ``make manifests-check``."""

Document = dict[str, Any]
"""A Kubernetes object as YAML has it."""


class BuildError(Exception):
    """kustomize cannot build a folder; the message is its own."""


def find_kubectl() -> Path | None:
    """The kubectl that ``make manifests-check`` installed, else the one on PATH, else None."""
    if INSTALLED.exists():
        return INSTALLED
    found = shutil.which("kubectl")
    return Path(found) if found else None


def applied() -> list[str]:
    """The folders below ``deploy/kubernetes`` that a person applies: every kustomization that is not another's base."""
    folders = [path.parent.relative_to(FOLDER) for path in FOLDER.rglob("kustomization.yaml")]
    return sorted(str(folder) for folder in folders if folder.name != "base")


def build(folder: str, kubectl: Path) -> list[Document]:
    """The objects of a kustomization, and the Jobs inside its TrainingRuntimes.

    Raises:
        BuildError: kustomize refuses it, or prints no objects.
    """
    done = subprocess.run([kubectl, "kustomize", str(FOLDER / folder)], capture_output=True, text=True)
    if done.returncode or done.stderr:
        raise BuildError(f"{folder}: {done.stderr.strip()}")
    try:
        documents = list(yaml.safe_load_all(done.stdout))
    except yaml.YAMLError:
        documents = []
    if not documents or not all(
        isinstance(document, dict) and {"apiVersion", "kind"} <= document.keys() for document in documents
    ):
        raise BuildError(f"{folder}: kubectl printed something else than objects of Kubernetes, or nothing")
    return [*documents, *(job for document in documents for job in jobs_of(document))]


def jobs_of(document: Document) -> list[Document]:
    """The Jobs that Kubeflow Trainer makes from a TrainingRuntime, to be checked as Jobs; none for another object."""
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
