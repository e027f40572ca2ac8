"""`make manifests-check` finds a wrong field in each kind of object, and checks every folder that can be applied."""

from __future__ import annotations

import copy
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.manifests.kustomize import INSTALLED, Document, applied
from tests.deploy.manifests import built, needs_kubectl
from tests.repository.files import ROOT

BIN = INSTALLED.with_name("venv") / "bin"
needs_checkers = pytest.mark.skipif(not (BIN / "checkov").exists(), reason="needs what `make manifests-check` installs")
KUBERNETES: list[Any] = [BIN / "kubernetes-validate", "--strict", "-k", "1.30"]
OPERATORS: list[Any] = [BIN / "python", "-m", "deploy.manifests.operators"]
COMPOSE: list[Any] = [BIN / "check-jsonschema", "--builtin-schema", "vendor.compose-spec"]
POD = ("spec", "template", "spec", "containers", 0)
CASES: dict[str, tuple[list[Any], str, str, tuple[Any, ...]]] = {
    "Deployment": (KUBERNETES, "overlays/cpu", "Deployment/gan-serve", (*POD, "readinessProbe")),
    "ServiceMonitor": (OPERATORS, "overlays/cpu", "ServiceMonitor/gan-serve", ("spec", "endpoints", 0, "path")),
    "TrainJob": (OPERATORS, "training/trainjob", "TrainJob/gan-train", ("spec", "trainer", "numNodes")),
    "TrainingRuntime": (
        OPERATORS,
        "training/trainjob",
        "TrainingRuntime/gan-train",
        ("spec", "template", "spec", "replicatedJobs", 0, "template", *POD, "volumeMounts"),
    ),
}
"""Checker, folder, object, and a field that is given a wrong name."""


@pytest.mark.process
def test_asking_for_help_builds_nothing(tmp_path: Path) -> None:
    """A first argument that is an option is no folder."""
    command = [sys.executable, "-m", "deploy.manifests", "--help"]
    done = subprocess.run(command, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert (done.returncode, done.stdout.split()[:2]) == (0, ["usage:", "python"])
    assert list(tmp_path.iterdir()) == []


def passes(command: list[Any], document: Any, file: Path) -> bool:
    """Whether a checker accepts an object."""
    file.write_text(yaml.safe_dump(document))
    return subprocess.run([*command, file], cwd=ROOT, capture_output=True).returncode == 0


def with_a_wrong_name(document: Document, path: tuple[Any, ...]) -> Document:
    """A copy of an object with the field at a path renamed."""
    changed = copy.deepcopy(document)
    parent: Any = changed
    for step in path[:-1]:
        parent = parent[step]
    parent["wrong"] = parent.pop(path[-1])
    return changed


@pytest.mark.process
@needs_checkers
@pytest.mark.process
@needs_kubectl
@pytest.mark.parametrize("kind", CASES)
def test_a_field_that_an_api_does_not_know_is_found(kind: str, tmp_path: Path) -> None:
    """By Kubernetes' schemas, and by the models of the operators' APIs."""
    command, folder, name, path = CASES[kind]
    document = built(folder)[name]
    assert passes(command, document, tmp_path / "right.yaml")
    assert not passes(command, with_a_wrong_name(document, path), tmp_path / "wrong.yaml")


@pytest.mark.process
@needs_checkers
def test_a_wrong_key_of_compose_is_found(tmp_path: Path) -> None:
    """By the Compose Specification's own schema."""
    compose = yaml.safe_load((ROOT / "deploy/compose.yaml").read_text())
    assert passes(COMPOSE, compose, tmp_path / "right.yaml")
    compose["services"]["serve"]["readonly"] = compose["services"]["serve"].pop("read_only")
    assert not passes(COMPOSE, compose, tmp_path / "wrong.yaml")


def test_the_makefile_calls_these_checkers() -> None:
    """With the options that the tests above use."""
    recipe = (ROOT / "Makefile").read_text().partition("\nmanifests-check:")[2].partition("\n\n")[0]
    for command in (KUBERNETES, OPERATORS, COMPOSE):
        assert " ".join([command[0].name, *command[1:]]).replace("-k 1.30", "-k $$version") in recipe
    assert re.search(r"^KUBERNETES := 1\.30 ", (ROOT / "Makefile").read_text(), re.MULTILINE)


@pytest.mark.process
@needs_kubectl
def test_everything_that_can_be_applied_is_built() -> None:
    """A folder with a kustomization is checked itself or is the base of one that is."""
    assert {"ground", "overlays/cpu", "overlays/gpu", "training/job", "training/job-gpu", "training/trainjob"} <= set(applied())
    assert all(built(folder) for folder in applied())


def test_checkers_are_pinned() -> None:
    """Every line of the requirements is one exact version, and the wheel with kubectl has its digest."""
    lines = [line for line in (ROOT / "deploy/manifests/requirements.txt").read_text().splitlines() if not line.startswith("#")]
    assert [line for line in lines if line.count("==") != 1 or "://" in line] == []
    (kubectl,) = [line for line in (ROOT / "deploy/manifests/kubectl.txt").read_text().splitlines() if not line.startswith("#")]
    assert "==" in kubectl
    assert "--hash=sha256:" in kubectl
