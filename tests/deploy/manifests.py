"""The manifests as tests read them: single files as they are written, and whole folders as kustomize builds them."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import yaml

from deploy.manifests.kustomize import Document, build, find_kubectl
from tests.repository.files import ROOT

KUBERNETES = ROOT / "deploy/kubernetes"
KUBECTL = find_kubectl()
needs_kubectl = pytest.mark.skipif(KUBECTL is None, reason="needs kubectl, which `make manifests-check` installs on Linux")


def written(path: str) -> Document:
    """The one object of a file below deploy/kubernetes."""
    document: Document = yaml.safe_load((KUBERNETES / path).read_text())
    return document


@cache
def built(folder: str) -> dict[str, Document]:
    """By kind and name the objects of a folder, the Jobs of a TrainingRuntime among them."""
    assert KUBECTL is not None
    return {f"{document['kind']}/{document['metadata']['name']}": document for document in build(folder, KUBECTL)}


def pod_of(document: Document) -> Document:
    """The pod of a Deployment or a Job."""
    pod: Document = document["spec"]["template"]["spec"]
    return pod


def container_of(document: Document) -> Document:
    """The one container of a Deployment or a Job."""
    (container,) = pod_of(document)["containers"]
    found: Document = container
    return found


def settings_of(container: Document) -> dict[str, Any]:
    """The environment that a container is given."""
    return {variable["name"]: variable["value"] for variable in container.get("env", [])}


def bytes_of(quantity: str) -> int:
    """A quantity of memory such as 64Mi."""
    return int(quantity[:-2]) * {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30}[quantity[-2:]]
