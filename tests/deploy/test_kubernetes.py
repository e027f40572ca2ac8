"""The manifests say what the code says: ports, probes, times, settings, metrics."""

from __future__ import annotations

import re

import pytest
import yaml

from deploy.manifests.kustomize import Document
from serving.http.routes import ROUTES, is_operations
from serving.http.transport import MAX_UNREAD_BYTES
from serving.observability.metrics import Metrics
from serving.process.supervisor import EXIT_GRACE_SECONDS
from serving.settings import Settings, from_environ
from tests.deploy.manifests import built, bytes_of, container_of, needs_kubectl, pod_of, settings_of, written
from tests.deploy.rules import rules
from tests.repository.files import ROOT, environment, last_stage

LARGEST_BYTES_A_PIXEL = 46
"""Of an AVIF of noise, and of a plot, while they are encoded (docs/LOG.md)."""
LOADED_BYTES = 396 * 2**20
"""Of the service after half an hour of load (docs/OPERATIONS.md)."""
DEPLOYMENT = written("base/deployment.yaml")
SERVE = container_of(DEPLOYMENT)
IMAGE = environment(last_stage("Dockerfile.serve"))


def serving_settings(folder: str) -> Settings:
    """What the service makes of the image's environment and a Deployment's."""
    return from_environ(IMAGE | settings_of(container_of(built(folder)["Deployment/gan-serve"])))


def patience_s(probe: Document) -> int:
    """How long a probe may fail before it has failed."""
    return int(probe["periodSeconds"]) * int(probe["failureThreshold"])


def test_ports_are_those_of_the_settings() -> None:
    """The public port is the image's, the other one GAN_OPERATIONS_PORT; the Service has both by their names."""
    settings = from_environ(IMAGE | settings_of(SERVE))
    ports = {port["name"]: port["containerPort"] for port in SERVE["ports"]}
    assert ports == {"http": settings.port, "operations": settings.operations_port}
    assert [rest for keyword, rest in last_stage("Dockerfile.serve") if keyword == "EXPOSE"] == [str(ports["http"])]
    assert [(port["name"], port["targetPort"]) for port in written("base/service.yaml")["spec"]["ports"]] == [
        (name, name) for name in ports
    ]


def test_only_requests_from_the_ingress_and_scrapes_are_admitted() -> None:
    """S-27: the ingress reaches the public port, monitoring that of the metrics, nothing else any, and nothing goes out."""
    policy = written("base/network.yaml")["spec"]
    admitted = {
        (namespace, port["port"])
        for rule in policy["ingress"]
        for source in rule["from"]
        for namespace in source["namespaceSelector"]["matchExpressions"][0]["values"]
        for port in rule["ports"]
    }
    (scraped,) = written("base/monitor.yaml")["spec"]["endpoints"]
    assert admitted == {("ingress-nginx", "http"), ("monitoring", "operations")}
    assert scraped["port"] == "operations"
    assert is_operations(scraped["path"])
    assert (policy["policyTypes"], policy["egress"]) == (["Ingress", "Egress"], [])


@pytest.mark.parametrize("probe", ["startupProbe", "readinessProbe", "livenessProbe"])
def test_probes_ask_routes_that_there_are(probe: str) -> None:
    """Each on the service's port by name."""
    asked = SERVE[probe]["httpGet"]
    assert asked["path"] in ROUTES
    assert asked["port"] == SERVE["ports"][0]["name"]


def test_readiness_and_life_are_told_apart() -> None:
    """A service that drains is not ready and yet alive: only /readyz says 503 then."""
    paths = {probe: SERVE[probe]["httpGet"]["path"] for probe in ("startupProbe", "readinessProbe", "livenessProbe")}
    assert paths == {"startupProbe": "/readyz", "readinessProbe": "/readyz", "livenessProbe": "/healthz"}


def test_metrics_are_scraped_where_they_are() -> None:
    """ServiceMonitor and ROUTES agree, and the job is called as in deploy/prometheus."""
    (endpoint,) = written("base/monitor.yaml")["spec"]["endpoints"]
    assert endpoint["path"] in ROUTES
    jobs = [
        job["job_name"] for job in yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())["scrape_configs"]
    ]
    (relabelled,) = endpoint["relabelings"]
    assert (relabelled["targetLabel"], relabelled["replacement"] in jobs) == ("job", True)


def test_a_pod_has_time_to_drain_and_to_stop() -> None:
    """preStop, GAN_DRAIN_SECONDS, GAN_STOP_SECONDS and workers' farewells, then a few seconds: the kubelet kills no earlier."""
    settings = from_environ(IMAGE | settings_of(SERVE))
    pause_s = SERVE["lifecycle"]["preStop"]["sleep"]["seconds"]
    needed_s = pause_s + settings.drain_seconds + settings.stop_seconds + EXIT_GRACE_SECONDS
    assert needed_s + 5 <= pod_of(DEPLOYMENT)["terminationGracePeriodSeconds"] <= needed_s + 10


def test_every_accepted_request_may_finish() -> None:
    """What came before SIGTERM may wait for its answer as long as ever."""
    settings = from_environ(IMAGE | settings_of(SERVE))
    assert settings.deadline_seconds <= settings.stop_seconds


def test_a_draining_pod_is_seen_as_such() -> None:
    """/readyz says 503 for long enough that the readiness probe fails while requests are still answered."""
    settings = from_environ(IMAGE | settings_of(SERVE))
    assert settings.drain_seconds >= patience_s(SERVE["readinessProbe"])


def test_the_launcher_comes_before_the_kubelet() -> None:
    """A worker that hangs is replaced by the launcher; the liveness probe is slower than that."""
    assert patience_s(SERVE["livenessProbe"]) > Settings().stall_seconds


def test_a_rollout_waits_for_the_slowest_start() -> None:
    """The progress deadline is longer than the startup probe's patience, also where an overlay gives a start more time."""
    for overlay in ("cpu", "gpu"):
        patch = written(f"overlays/{overlay}/deployment.yaml")
        probe = SERVE["startupProbe"] | container_of(patch).get("startupProbe", {})
        assert (DEPLOYMENT["spec"] | patch["spec"])["progressDeadlineSeconds"] > patience_s(probe)


def test_no_start_pages() -> None:
    """An instance may be silent for as long as a Deployment lets it start, pulling its image included, before it is down."""
    (expr,) = [rule["expr"] for rule in rules("alerts.yml") if rule.get("alert") == "GanDown"]
    windows = {int(minutes) for minutes in re.findall(r"(?:\[|offset )(\d+)m\b", expr)}
    slowest = max(
        written(f"{folder}/deployment.yaml")["spec"]["progressDeadlineSeconds"] for folder in ("base", "overlays/gpu")
    )
    (window,) = windows
    assert 60 * window >= slowest


@pytest.mark.process
@needs_kubectl
@pytest.mark.parametrize(("folder", "provider"), [("overlays/cpu", "cpu"), ("overlays/gpu", "cuda")])
def test_settings_are_ones_that_the_service_takes(folder: str, provider: str) -> None:
    """Every variable is a setting with a right value, and the provider is named, so that no replica falls back."""
    given = settings_of(container_of(built(folder)["Deployment/gan-serve"]))
    assert {name.lower().removeprefix("gan_") for name in given} <= set(vars(Settings()))
    assert serving_settings(folder).provider == provider


@pytest.mark.process
@needs_kubectl
@pytest.mark.parametrize("folder", ["overlays/cpu", "overlays/gpu"])
def test_models_are_mounted_where_they_are_looked_for(folder: str) -> None:
    """GAN_MODELS is a volume that the service can only read, and the publishing Job writes into the same claim."""
    container = container_of(built(folder)["Deployment/gan-serve"])
    mounts = {mount["mountPath"]: mount for mount in container["volumeMounts"]}
    (models,) = serving_settings(folder).models
    assert mounts[models]["readOnly"]
    published = built("training/publish")["Job/gan-publish"]
    claims = [
        {v["persistentVolumeClaim"]["claimName"] for v in pod_of(d)["volumes"] if "persistentVolumeClaim" in v}
        for d in (built(folder)["Deployment/gan-serve"], published)
    ]
    assert claims == [{"gan-models"}, {"gan-models", "gan-runs"}]


@pytest.mark.process
@needs_kubectl
def test_a_gpu_replica_asks_for_one_gpu() -> None:
    """One, as the service has one worker on CUDA; the replica of the CPU asks for none."""
    gpu, cpu = (container_of(built(f"overlays/{name}")["Deployment/gan-serve"])["resources"] for name in ("gpu", "cpu"))
    assert gpu["limits"]["nvidia.com/gpu"] == gpu["requests"]["nvidia.com/gpu"] == "1"
    assert "nvidia.com/gpu" not in cpu["limits"]


def test_the_processors_are_whole() -> None:
    """The service starts a worker for each core of its quota, so that requests are limits and whole numbers."""
    resources = SERVE["resources"]
    assert resources["requests"]["cpu"] == resources["limits"]["cpu"]
    assert int(resources["limits"]["cpu"]) >= 1


def test_what_is_in_memory_fits() -> None:
    """The folder in memory and every worker's kept answers leave three quarters of the limit to the models."""
    resources = SERVE["resources"]
    (tmp,) = [volume["emptyDir"] for volume in pod_of(DEPLOYMENT)["volumes"] if volume["name"] == "tmp"]
    kept = Settings().cache_bytes * int(resources["limits"]["cpu"])
    assert 4 * (bytes_of(tmp["sizeLimit"]) + kept) <= 2 * bytes_of(resources["limits"]["memory"])


def test_the_largest_answers_fit_into_memory() -> None:
    """While every worker encodes the largest picture and holds what clients have not read, the pod is not killed."""
    resources, settings = SERVE["resources"], from_environ(IMAGE | settings_of(SERVE))
    answers = LARGEST_BYTES_A_PIXEL * settings.max_pixels + MAX_UNREAD_BYTES
    assert LOADED_BYTES + int(resources["limits"]["cpu"]) * answers <= bytes_of(resources["limits"]["memory"])


# -------------------------------------------------------------------------------------------------------------- scaling


def test_autoscaler_counts_a_bound_of_the_histogram() -> None:
    """The target is one of the buckets' bounds, where a quantile is exact, and below the service level's threshold."""
    (wait,) = [metric["pods"] for metric in written("base/autoscaler.yaml")["spec"]["metrics"] if metric["type"] == "Pods"]
    target = wait["target"]["averageValue"]
    assert target.endswith("m")
    bounds = Metrics(None).queue_wait._upper_bounds
    assert int(target[:-1]) / 1000 in bounds
    assert int(target[:-1]) / 1000 < 0.25


@pytest.mark.process
@needs_kubectl
@pytest.mark.parametrize(("folder", "kinds"), [("overlays/cpu", ["Pods", "Resource"]), ("overlays/gpu", ["Pods"])])
def test_autoscaler_looks_at_the_queue_first(folder: str, kinds: list[str]) -> None:
    """On the CPU at the processors, too; on a GPU they say nothing."""
    scaler = built(folder)["HorizontalPodAutoscaler/gan-serve"]["spec"]
    assert [metric["type"] for metric in scaler["metrics"]] == kinds
    assert scaler["scaleTargetRef"]["name"] in {document["metadata"]["name"] for document in built(folder).values()}
    assert "replicas" not in built(folder)["Deployment/gan-serve"]["spec"]


@pytest.mark.process
@needs_kubectl
@pytest.mark.parametrize("folder", ["overlays/cpu", "overlays/gpu"])
def test_everything_means_the_same_pods(folder: str) -> None:
    """Service, budget, policy, monitor and spread select the labels that the pods have."""
    objects = built(folder)
    labels = objects["Deployment/gan-serve"]["spec"]["template"]["metadata"]["labels"]
    spread = [
        rule["labelSelector"]["matchLabels"] for rule in pod_of(objects["Deployment/gan-serve"])["topologySpreadConstraints"]
    ]
    selectors = [
        objects["Service/gan-serve"]["spec"]["selector"],
        objects["Deployment/gan-serve"]["spec"]["selector"]["matchLabels"],
        objects["PodDisruptionBudget/gan-serve"]["spec"]["selector"]["matchLabels"],
        objects["NetworkPolicy/gan-serve"]["spec"]["podSelector"]["matchLabels"],
        *spread,
    ]
    assert all(selector and selector.items() <= labels.items() for selector in selectors)
    monitored = objects["ServiceMonitor/gan-serve"]["spec"]["selector"]["matchLabels"]
    assert monitored.items() <= objects["Service/gan-serve"]["metadata"]["labels"].items()


def test_a_drained_node_leaves_the_service_up() -> None:
    """The budget lets fewer go at once than the autoscaler keeps at least."""
    assert written("base/disruption.yaml")["spec"]["maxUnavailable"] < written("base/autoscaler.yaml")["spec"]["minReplicas"]
