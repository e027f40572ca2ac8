"""The training manifests: one run, declared in two ways, that writes where its checkpoints last."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest
import tyro
import yaml

from tests.deploy.manifests import built, container_of, needs_kubectl, pod_of, settings_of, written
from tests.repository.files import ROOT, last_stage
from tests.serving.client import service_of
from tests.serving.reloading import make_app, reload, retrained
from training.__main__ import Train
from training.recipes import DEFAULT

COMPOSE = yaml.safe_load((ROOT / "deploy/compose.yaml").read_text())["services"]
PROMETHEUS = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())
ARGUMENTS = {
    "job": container_of(written("training/job/job.yaml"))["args"],
    **{name: COMPOSE[name]["command"][3:] for name in ("train", "train-gpu")},
}


def test_training_job_and_trainjob_run_the_same() -> None:
    """The same command with the same arguments, one process on one node."""
    job, trainer = container_of(written("training/job/job.yaml")), written("training/trainjob/trainjob.yaml")["spec"]["trainer"]
    assert (trainer["command"], trainer["args"]) == (job["command"], job["args"])
    assert (trainer["numNodes"], "--nproc-per-node=1" in trainer["command"]) == (1, True)


def test_the_page_waits_for_what_there_is() -> None:
    """For each way to train the command in docs/OPERATIONS.md names an object that its manifests have."""
    page = (ROOT / "docs/OPERATIONS.md").read_text()
    (command,) = [line for line in page.splitlines() if line.startswith("kubectl -n gan wait")]
    objects = [written(f"training/{file}.yaml") for file in ("job/job", "trainjob/trainjob")]
    assert set(re.findall(r"\b(\w+)/([\w-]+)", command)) == {(o["kind"].lower(), o["metadata"]["name"]) for o in objects}


@pytest.mark.process
@needs_kubectl
def test_pods_of_one_run_meet() -> None:
    """Numbered pods, as many as torchrun waits for; the first has a name of the Service's; the policy lets them talk."""
    objects = built("training/job-nodes")
    job, service, policy = (objects[name] for name in ("Job/gan-train", "Service/gan-train", "NetworkPolicy/gan-train-nodes"))
    container = container_of(job)
    given = {variable["name"]: variable.get("value") for variable in container["env"]}
    assert (job["spec"]["completionMode"], job["spec"]["completions"], job["spec"]["parallelism"]) == ("Indexed", 2, 2)
    assert given["PET_NNODES"] == "2"
    assert given["PET_MASTER_ADDR"] == f"{job['metadata']['name']}-0.{service['metadata']['name']}"
    assert pod_of(job)["subdomain"] == service["metadata"]["name"]
    labels = job["spec"]["template"]["metadata"]["labels"].items()
    assert service["spec"]["selector"].items() <= labels
    for selector in (
        policy["spec"]["podSelector"],
        policy["spec"]["ingress"][0]["from"][0]["podSelector"],
        policy["spec"]["egress"][0]["to"][0]["podSelector"],
    ):
        assert selector["matchLabels"].items() <= labels


@pytest.mark.process
@needs_kubectl
def test_trainjob_of_several_pods_runs_the_same() -> None:
    """The command of the Job of several pods, with as many of them; the controller sets what the Job sets by itself."""
    trainer = built("training/trainjob-nodes")["TrainJob/gan-train"]["spec"]["trainer"]
    container = container_of(built("training/job-nodes")["Job/gan-train"])
    assert (trainer["command"], trainer["args"], trainer["numNodes"]) == (container["command"], container["args"], 2)
    assert "--standalone" not in trainer["command"]


def test_trainjob_names_its_runtime() -> None:
    """By the group and kind that it has, in the same namespace."""
    runtime = written("training/trainjob/runtime.yaml")
    reference = written("training/trainjob/trainjob.yaml")["spec"]["runtimeRef"]
    assert reference == {
        "apiGroup": runtime["apiVersion"].partition("/")[0],
        "kind": runtime["kind"],
        "name": runtime["metadata"]["name"],
    }


def test_runtime_and_job_give_the_same_pod() -> None:
    """But for the container's name, which Kubeflow prescribes, and the command, which is the TrainJob's."""
    (replicated,) = written("training/trainjob/runtime.yaml")["spec"]["template"]["spec"]["replicatedJobs"]
    assert replicated["template"]["metadata"]["labels"] == {"trainer.kubeflow.org/trainjob-ancestor-step": "trainer"}
    runtime, job = replicated["template"], written("training/job/job.yaml")
    ours, theirs = dict(container_of(job)), dict(container_of(runtime))
    assert (theirs.pop("name"), ours.pop("name")) == ("node", "train")
    assert theirs == {key: value for key, value in ours.items() if key not in ("command", "args")}
    assert {**pod_of(runtime), "containers": []} == {**pod_of(job), "containers": []}


def test_checkpoints_are_written_to_the_volume() -> None:
    """--out is below the mount, at the image's own place for runs."""
    container = container_of(written("training/job/job.yaml"))
    (mount,) = [mount["mountPath"] for mount in container["volumeMounts"] if mount["name"] == "runs"]
    assert [rest for keyword, rest in last_stage("Dockerfile.train") if keyword == "VOLUME"] == [f'["{mount}"]']
    out = container["args"][container["args"].index("--out") + 1]
    assert f"{container['workingDir']}/{out}".startswith(f"{mount}/")


@pytest.mark.process
def test_a_second_run_is_published_in_the_place_of_the_first(tmp_path: Path) -> None:
    """The Job's own commands, with RUN changed as OPERATIONS.md says: the service swaps, another starts, and RUN goes back."""
    container = container_of(written("training/publish/job.yaml"))
    shell, options, script = container["command"]
    folder = tmp_path / "models"
    folder.mkdir()

    def publish(run: str) -> None:
        environ = settings_of(container) | {"RUN": run, "PATH": os.environ["PATH"]}
        subprocess.run([shell, options, script.replace("/models/", f"{folder}/")], cwd=tmp_path, env=environ, check=True)

    runs = [settings_of(container)["RUN"], "another-seed"]
    for seed, run in enumerate(runs):
        (tmp_path / "runs" / run).mkdir(parents=True)
        (tmp_path / "runs" / run / "model.onnx").write_bytes(retrained(seed, "digits"))
    publish(runs[0])
    app = make_app(folder)
    first = [entry.model.digest for entry in service_of(app).registry.values()]
    publish(runs[1])
    assert [outcome.result for outcome in reload(app)] == ["swapped"]
    second = [entry.model.digest for entry in service_of(app).registry.values()]
    assert second != first
    assert [entry.model.digest for entry in service_of(make_app(folder)).registry.values()] == second
    publish(runs[0])
    assert [outcome.result for outcome in reload(app)] == ["swapped"]
    assert [entry.model.digest for entry in service_of(app).registry.values()] == first
    assert [path.name for path in folder.iterdir()] == [f"{settings_of(container)['MODEL']}.onnx"]


def test_what_is_published_is_what_is_trained() -> None:
    """The publishing Job takes the model from the run that the training Job writes."""
    args = container_of(written("training/job/job.yaml"))["args"]
    assert (
        settings_of(container_of(written("training/publish/job.yaml")))["RUN"]
        == args[args.index("--out") + 1].partition("/")[2]
    )


@pytest.mark.parametrize("place", ARGUMENTS)
def test_arguments_are_ones_that_training_takes(place: str) -> None:
    """The command line parses them, and they play the default recipe."""
    program, *arguments = ARGUMENTS[place]
    assert program == "train"
    assert tyro.cli(Train, args=arguments).recipe == DEFAULT


def test_jobs_patch_asks_for_the_gpu_by_an_argument_that_training_takes() -> None:
    """The overlay's addition parses, too."""
    (patch,) = [p["patch"] for p in written("training/job-gpu/kustomization.yaml")["patches"] if "patch" in p]
    (operation,) = yaml.safe_load(patch)
    assert tyro.cli(Train, args=[*ARGUMENTS["job"][1:], operation["value"]]).device == "cuda"


@pytest.mark.parametrize("place", ARGUMENTS)
def test_the_run_is_shown_where_prometheus_looks(place: str) -> None:
    """The port is the one of deploy/prometheus, on every address of the container."""
    (job,) = [job for job in PROMETHEUS["scrape_configs"] if job["job_name"] == "gan-training"]
    asked = tyro.cli(Train, args=ARGUMENTS[place][1:])
    assert (asked.metrics_port, asked.metrics_address) == (job["dns_sd_configs"][0]["port"], "0.0.0.0")


def test_the_pod_monitor_looks_at_the_jobs_port() -> None:
    """By its name, in the container and in the policy, under the job's name of deploy/prometheus."""
    (port,) = container_of(written("training/job/job.yaml"))["ports"]
    (endpoint,) = written("training/base/monitor.yaml")["spec"]["podMetricsEndpoints"]
    (allowed,) = written("training/base/network.yaml")["spec"]["ingress"][0]["ports"]
    assert endpoint["port"] == allowed["port"] == port["name"]
    assert port["containerPort"] == tyro.cli(Train, args=ARGUMENTS["job"][1:]).metrics_port
    (relabelled,) = endpoint["relabelings"]
    assert relabelled["replacement"] in {job["job_name"] for job in PROMETHEUS["scrape_configs"]}
