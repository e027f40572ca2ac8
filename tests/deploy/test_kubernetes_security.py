"""The manifests ask the cluster for nothing that is not needed, and lose nothing when they are taken away."""

from __future__ import annotations

import pytest

from deploy.manifests.kustomize import applied
from tests.deploy.manifests import KUBERNETES, built, bytes_of, container_of, needs_kubectl, pod_of, written
from tests.repository.files import ROOT, last_stage

WORKLOADS = [
    ("overlays/cpu", "Deployment/gan-serve", "Dockerfile.serve"),
    ("overlays/gpu", "Deployment/gan-serve", "Dockerfile.serve"),
    ("training/job", "Job/gan-train", "Dockerfile.train"),
    ("training/job-gpu", "Job/gan-train", "Dockerfile.train"),
    ("training/trainjob", "Job/gan-train-node", "Dockerfile.train"),
    ("training/job-nodes", "Job/gan-train", "Dockerfile.train"),
    ("training/publish", "Job/gan-publish", "Dockerfile.train"),
]


@pytest.mark.process
@needs_kubectl
@pytest.mark.parametrize(("folder", "name", "dockerfile"), WORKLOADS)
def test_pods_meet_the_restricted_standard(folder: str, name: str, dockerfile: str) -> None:
    """The image's own user, no capability, no escalation, the runtime's seccomp profile, no folder of the node's."""
    pod, container = pod_of(built(folder)[name]), container_of(built(folder)[name])
    (user,) = [rest for keyword, rest in last_stage(dockerfile) if keyword == "USER"]
    context = pod["securityContext"]
    assert f"{context['runAsUser']}:{context['runAsGroup']}" == user
    assert context["runAsNonRoot"]
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert {kind for volume in pod["volumes"] for kind in volume if kind != "name"} <= {"emptyDir", "persistentVolumeClaim"}
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)


@pytest.mark.process
@needs_kubectl
@pytest.mark.parametrize(("folder", "name", "dockerfile"), WORKLOADS)
def test_pods_have_no_token(folder: str, name: str, dockerfile: str) -> None:
    """An account of their own without a token, and no variables of other Services, which could be taken for settings."""
    pod = pod_of(built(folder)[name])
    assert (pod["automountServiceAccountToken"], pod["enableServiceLinks"]) == (False, False)
    assert pod["serviceAccountName"] == ("gan-serve" if dockerfile == "Dockerfile.serve" else "gan-train")


@pytest.mark.process
@needs_kubectl
@pytest.mark.parametrize(("folder", "name", "dockerfile"), WORKLOADS)
def test_pods_have_bounds(folder: str, name: str, dockerfile: str) -> None:
    """Processors, memory and disk are asked for and limited; a place in memory or on the node's disk has a size."""
    resources = container_of(built(folder)[name])["resources"]
    for kind in ("requests", "limits"):
        assert {"cpu", "memory", "ephemeral-storage"} <= set(resources[kind])
    for volume in pod_of(built(folder)[name])["volumes"]:
        if "emptyDir" in volume:
            limit = "memory" if volume["emptyDir"].get("medium") == "Memory" else "ephemeral-storage"
            assert bytes_of(volume["emptyDir"]["sizeLimit"]) <= bytes_of(resources["limits"][limit])


@pytest.mark.process
@needs_kubectl
@pytest.mark.parametrize(("folder", "name", "dockerfile"), WORKLOADS)
def test_images_are_this_projects_version(folder: str, name: str, dockerfile: str) -> None:
    """The image's name says which Dockerfile it is of, its tag the version and what it runs on."""
    image = container_of(built(folder)[name])["image"]
    needs_gpu = "nvidia.com/gpu" in container_of(built(folder)[name])["resources"]["limits"]
    version = next(
        line.split('"')[1] for line in (ROOT / "pyproject.toml").read_text().splitlines() if line.startswith("version")
    )
    assert image == f"gan-{dockerfile.partition('.')[2]}:{version}-{'cuda' if needs_gpu else 'cpu'}"


def test_namespace_enforces_the_restricted_standard() -> None:
    """It holds for anything else that is put there."""
    labels = written("ground/namespace.yaml")["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


@pytest.mark.process
@needs_kubectl
def test_deleting_a_deployment_or_a_job_loses_nothing() -> None:
    """The namespace and the volumes are in a folder of their own, and in no other."""
    lasting = {"Namespace", "PersistentVolumeClaim"}
    kinds = {folder: {document["kind"] for document in built(folder).values()} for folder in applied()}
    assert [folder for folder in kinds if kinds[folder] & lasting] == ["ground"]
    assert kinds["ground"] == lasting


@pytest.mark.process
@needs_kubectl
def test_everything_is_in_one_namespace() -> None:
    """The one that ground makes."""
    name = written("ground/namespace.yaml")["metadata"]["name"]
    places = {
        document["metadata"].get("namespace")
        for folder in applied()
        for document in built(folder).values()
        if document["kind"] != "Namespace"
    }
    assert places == {name}


def test_every_file_is_built_into_something() -> None:
    """Each manifest in a kustomization's folder is named by it."""
    for path in KUBERNETES.rglob("kustomization.yaml"):
        named = path.read_text()
        beside = {other.name for other in path.parent.glob("*.yaml")} - {"kustomization.yaml"}
        assert [name for name in beside if name not in named] == []
