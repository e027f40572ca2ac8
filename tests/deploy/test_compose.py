"""deploy/compose.yaml says what the images, the settings and the routes say, and gives no container more than it needs."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import yaml

from serving.http.routes import ROUTES
from serving.process.supervisor import EXIT_GRACE_SECONDS
from serving.settings import Settings, from_environ
from tests.repository.files import ROOT, environment, instructions, last_stage

Service = dict[str, Any]
COMPOSE = yaml.safe_load((ROOT / "deploy/compose.yaml").read_text())
SERVICES: dict[str, Service] = COMPOSE["services"]
SERVE, TRAIN, OTHERS = ("serve", "serve-gpu"), ("train", "train-gpu"), ("prometheus", "grafana")
IMAGE = environment(last_stage("Dockerfile.serve"))
DOCKERFILES = {"train": "Dockerfile.train", "serve": "Dockerfile.serve"}
VERSION = re.findall(r'^version = "(.*)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)[0]


def settings(name: str) -> Settings:
    """What the service makes of the image's environment and the compose file's."""
    return from_environ(IMAGE | SERVICES[name]["environment"])


def seconds(text: str) -> int:
    """A duration such as 40s."""
    assert text.endswith("s")
    return int(text[:-1])


def mounts(name: str) -> dict[str, tuple[str, bool]]:
    """By the place in the container: what is mounted there, and whether it can only be read."""
    found = [volume.split(":") for volume in SERVICES[name]["volumes"]]
    return {target: (source, mode == ["ro"]) for source, target, *mode in found}


@pytest.mark.parametrize("name", SERVICES)
def test_every_container_is_confined(name: str) -> None:
    """Read-only root, no capability, no new privileges, no rights of the machine's, and /tmp in memory."""
    service = SERVICES[name]
    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["tmpfs"] == ["/tmp"]
    assert not {"privileged", "cap_add", "pid", "ipc", "network_mode", "devices", "user"} & set(service)


@pytest.mark.parametrize("name", SERVICES)
def test_nothing_is_reached_from_outside(name: str) -> None:
    """Ports are published on the loopback address only, and each number once in a profile."""
    ports = SERVICES[name].get("ports", [])
    assert [port for port in ports if not re.fullmatch(r"127\.0\.0\.1:(\d+):\1", port)] == []


@pytest.mark.parametrize("name", OTHERS)
def test_other_images_are_pinned(name: str) -> None:
    """By a whole version, never by latest."""
    assert re.fullmatch(r"[a-z]+/[a-z]+:v?\d+\.\d+\.\d+", SERVICES[name]["image"])


@pytest.mark.parametrize("name", [*SERVE, *TRAIN])
def test_our_images_are_built_from_the_repository(name: str) -> None:
    """By their Dockerfile, with arguments that it has; on the CPU they are the ones that it names."""
    dockerfile = DOCKERFILES[name.partition("-")[0]]
    build = SERVICES[name]["build"]
    assert (ROOT / "deploy" / build["context"]).resolve() == ROOT
    assert build["dockerfile"] == dockerfile
    arguments = {rest.partition("=")[0] for keyword, rest in instructions(dockerfile) if keyword == "ARG"}
    given = build.get("args", {})
    assert set(given) <= arguments
    assert " ".join(f"--build-arg {key}={value}" for key, value in given.items()) in (ROOT / dockerfile).read_text()
    assert ("gpu" in name) == (given == {})
    assert SERVICES[name]["image"] == f"gan-{name.partition('-')[0]}:{VERSION}-{'cuda' if 'gpu' in name else 'cpu'}"


@pytest.mark.parametrize("name", SERVE)
def test_settings_are_ones_that_the_service_takes(name: str) -> None:
    """Every variable is a setting with a right value; the provider is named, so that a GPU's absence is an error."""
    given = {variable.lower().removeprefix("gan_") for variable in SERVICES[name]["environment"]}
    assert given <= set(vars(Settings()))
    assert settings(name).provider == ("cuda" if "gpu" in name else "cpu")


@pytest.mark.parametrize("name", SERVE)
def test_a_stopped_service_has_time_to_drain(name: str) -> None:
    """The engine kills no earlier than the service would have ended by itself."""
    needed_s = settings(name).drain_seconds + settings(name).stop_seconds + EXIT_GRACE_SECONDS
    assert needed_s + 5 <= seconds(SERVICES[name]["stop_grace_period"]) <= needed_s + 10


@pytest.mark.parametrize("name", SERVE)
def test_port_and_health_check_are_the_images(name: str) -> None:
    """The published port is the image's, and what is healthy is ready."""
    (port,) = SERVICES[name]["ports"]
    assert port.endswith(f":{IMAGE['GAN_PORT']}")
    command, *arguments = SERVICES[name]["healthcheck"]["test"]
    (own,) = [rest for keyword, rest in last_stage("Dockerfile.serve") if keyword == "HEALTHCHECK"]
    assert command == "CMD"
    assert arguments == [word.replace("/healthz", "/readyz") for word in json.loads(own.partition("CMD ")[2])]
    assert "/readyz" in ROUTES


@pytest.mark.parametrize(("serve", "train"), [("serve", "train"), ("serve-gpu", "train-gpu")])
def test_what_is_trained_is_served(serve: str, train: str) -> None:
    """The model is the run's own file, on the volume that training writes and serving only reads, once the run has ended."""
    command = SERVICES[train]["command"]
    out = command[command.index("--out") + 1]
    written, read = mounts(train)["/app/runs"], mounts(serve)["/models"]
    assert (written, read) == (("runs", False), ("runs", True))
    assert settings(serve).models == (f"/models/{out.removeprefix('runs/')}/model.onnx",)
    assert SERVICES[serve]["depends_on"] == {train: {"condition": "service_completed_successfully"}}
    assert SERVICES[serve]["profiles"] == SERVICES[train]["profiles"] == ["gpu" if "gpu" in serve else "cpu"]


@pytest.mark.parametrize("name", [*SERVE, *TRAIN])
def test_a_gpu_is_asked_for_in_its_profile_only(name: str) -> None:
    """One, of NVIDIA's."""
    (device,) = SERVICES[name].get("deploy", {}).get("resources", {}).get("reservations", {}).get("devices", [None])
    assert device == ({"driver": "nvidia", "count": 1, "capabilities": ["gpu"]} if "gpu" in name else None)


def test_every_volume_is_declared_and_used() -> None:
    """Named ones at the bottom of the file, and no other."""
    used = {source for name in SERVICES for source, _ in mounts(name).values() if not source.startswith(".")}
    assert used == set(COMPOSE["volumes"])


def test_prometheus_finds_the_service() -> None:
    """What it scrapes are names in the compose network: services, or what a service is called besides."""
    config = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())
    aliases = {
        alias for service in SERVICES.values() for alias in service.get("networks", {}).get("default", {}).get("aliases", [])
    }
    assert mounts("prometheus")["/etc/prometheus/prometheus.yml"] == ("./prometheus/prometheus.yml", True)
    named = [name for job in config["scrape_configs"] for found in job.get("dns_sd_configs", []) for name in found["names"]]
    assert set(named) <= aliases | set(SERVICES)


@pytest.mark.parametrize("name", OTHERS)
def test_what_is_mounted_is_there(name: str) -> None:
    """Every file and folder of the repository, which the container can only read."""
    found = {source: is_read_only for source, is_read_only in mounts(name).values() if source.startswith("./")}
    assert all(found.values())
    assert [source for source in found if not (ROOT / "deploy" / source).exists()] == []


def test_grafana_finds_its_boards_and_its_source() -> None:
    """Its provisioning names the folder that the boards are mounted at, and Prometheus by its name and port in this file."""
    files = [yaml.safe_load(path.read_text()) for path in (ROOT / "deploy/grafana/provisioning").rglob("*.yml")]
    folders = [provider["options"]["path"] for file in files for provider in file.get("providers", [])]
    sources = [source["url"] for file in files for source in file.get("datasources", [])]
    mounted = {target for target, (source, _) in mounts("grafana").items() if source == "./grafana/dashboards"}
    assert set(folders) == mounted
    assert sources == ["http://prometheus:9090"]


@pytest.mark.parametrize("name", TRAIN)
def test_training_stays_in_one_process(name: str) -> None:
    """The engine's signals reach it, and on a GPU it never falls back."""
    command = SERVICES[name]["command"]
    assert command[:3] == ["/app/.venv/bin/python", "-m", "training"]
    assert (command[-2:] == ["--device", "cuda"]) == ("gpu" in name)


@pytest.mark.parametrize("name", OTHERS)
def test_others_have_a_health_check_on_their_own_port(name: str) -> None:
    """By a program that their image has."""
    (port,) = [port.rpartition(":")[2] for port in SERVICES[name]["ports"]]
    command = SERVICES[name]["healthcheck"]["test"]
    assert command[:2] == ["CMD", "wget"]
    assert f"http://127.0.0.1:{port}/" in command[-1]
