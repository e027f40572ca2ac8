"""The real service with a Deployment's settings, asked what the kubelet would ask it, from readiness to its end."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.deploy.manifests import container_of, settings_of, written
from tests.harness.service import running
from tests.repository.files import ROOT
from tests.serving import tiny_onnx

SERVE = container_of(written("base/deployment.yaml"))
PROBES = {name: SERVE[name]["httpGet"]["path"] for name in ("startupProbe", "readinessProbe", "livenessProbe")}


@pytest.mark.process
@pytest.mark.slow
def test_a_pod_that_leaves_is_alive_and_not_ready(tmp_path: Path) -> None:
    """All probes succeed; from SIGTERM on readiness fails, life goes on, requests are answered, and the exit code is 0."""
    (tmp_path / "tiny.onnx").write_bytes(tiny_onnx.grey())
    given = {name.lower().removeprefix("gan_"): value for name, value in settings_of(SERVE).items()}
    with running(ROOT, **(given | {"models": tmp_path})) as server:
        assert {name: server.get(path)[0] for name, path in PROBES.items()} == dict.fromkeys(PROBES, 200)
        server.drain()
        assert server.get(PROBES["readinessProbe"])[0] == 503
        assert server.get(PROBES["livenessProbe"])[0] == 200
        assert server.get("/generate?seed=1")[0] == 200
        assert server.process.wait(60) == 0
