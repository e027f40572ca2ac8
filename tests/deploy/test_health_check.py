"""The health checks of image and composition, executed against a real service at each address that the page names."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from tests.harness.processes import free_port, wait_for, wait_until
from tests.repository.files import ROOT, last_stage
from tests.serving import tiny_onnx

pytestmark = pytest.mark.process

HOSTS = {"127.0.0.1": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "[::1]", "localhost": "localhost"}
"""Values of GAN_HOST, and where a client finds the service then."""


def checks() -> list[list[str]]:
    """The commands of the image and of the composition, run by this Python."""
    (own,) = [rest for keyword, rest in last_stage("Dockerfile.serve") if keyword == "HEALTHCHECK"]
    composed = yaml.safe_load((ROOT / "deploy/compose.yaml").read_text())["services"]["serve"]["healthcheck"]["test"]
    return [[sys.executable, *words[1:]] for words in (json.loads(own.partition("CMD ")[2]), composed[1:])]


def codes(env: dict[str, str]) -> list[int]:
    """Exit codes of both."""
    return [subprocess.run(check, env=env, stderr=subprocess.DEVNULL).returncode for check in checks()]


def has_ipv6() -> bool:
    """Whether the loopback has an address of IPv6."""
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


@contextmanager
def serving(host: str, folder: Path, drain_seconds: int = 0) -> Iterator[tuple[subprocess.Popen[bytes], dict[str, str]]]:
    """A service that listens on that address, and its environment, which the checks see as well."""
    (folder / "tiny.onnx").write_bytes(tiny_onnx.grey())
    env = {name: value for name, value in os.environ.items() if not name.startswith("GAN_")}
    env |= {"GAN_MODELS": str(folder), "GAN_HOST": host, "GAN_PORT": str(free_port()), "GAN_WORKERS": "1"}
    env |= {"GAN_DRAIN_SECONDS": str(drain_seconds)}
    command = [sys.executable, "-m", "serving"]
    process = subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: urllib.request.urlopen(f"http://{HOSTS[host]}:{env['GAN_PORT']}/readyz", timeout=10).close(), process)
        yield process, env
    finally:
        process.terminate()
        process.wait(60)


@pytest.mark.parametrize("host", HOSTS)
def test_a_good_service_is_healthy_at_each_address(host: str, tmp_path: Path) -> None:
    """With GAN_HOST of IPv4, of IPv6 alone and by name, also where a proxy is set; once the service has ended, it is not."""
    if host == "::" and not has_ipv6():
        pytest.skip("needs IPv6 on the loopback")
    with serving(host, tmp_path) as (_, env):
        assert codes(env) == [0, 0]
        assert codes({**env, "http_proxy": f"http://127.0.0.1:{free_port()}"}) == [0, 0]
    assert 0 not in codes(env)


def test_a_draining_service_is_healthy_but_not_ready(tmp_path: Path) -> None:
    """The image asks whether the service lives, the composition whether it takes requests: only 200 passes."""
    with serving("127.0.0.1", tmp_path, drain_seconds=60) as (process, env):
        process.terminate()  # a second signal ends the draining
        wait_until(lambda: codes(env) == [0, 1], "it drains")
