"""The archive's own code, unpacked and run as a worker of TorchServe runs it, without this checkout."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from deploy.torchserve.contents import MANIFEST
from serving.app import create_app
from serving.model.load import load_model
from serving.settings import Settings
from tests.serving.client import ask

pytestmark = pytest.mark.process

pytest.importorskip("ts", reason="torchserve is not installed (the extra torchserve)")

WORKER = """
import hashlib, json, sys
from pathlib import Path
from ts.context import Context, RequestProcessor
from ts.model_loader import list_classes_from_module
import gan_handler

def context_for(folder, headers):
    manifest = json.loads(Path(folder, "MAR-INF/MANIFEST.json").read_text())
    context = Context("conditional", folder, manifest, 32, None, "0.12.0")
    context.request_processor = [RequestProcessor(each) for each in headers]
    return context

(kind,) = list_classes_from_module(gan_handler)
handler = kind()
folder, queries = sys.argv[1], json.loads(sys.argv[2])
handler.initialize(context_for(folder, []))
context = context_for(folder, [{"Content-Type": "text/plain"}] * len(queries))
bodies = handler.handle([{"body": query} for query in queries], context)
sizes = handler.service.metrics.batch_size.collect()[0].samples
print(json.dumps({
    "bodies": [hashlib.sha256(body).hexdigest() for body in bodies],
    "statuses": [context.get_response_status(index)[0] for index in range(len(queries))],
    "inferences": next(s.value for s in sizes if s.name.endswith("_count")),
    "rows": next(s.value for s in sizes if s.name.endswith("_sum")),
    "modules": sorted(name for name in sys.modules if name.partition(".")[0] in ("contract", "serving")),
    "folders": sorted({str(Path(sys.modules[name].__file__).parents[name.count(".")]) for name in sys.modules
                      if name.startswith(("contract.", "serving.")) and not hasattr(sys.modules[name], "__path__")}),
}))
"""
"""What TorchServe's worker does with a batch; its protocol module imports torch and is left out."""


@pytest.fixture(scope="module")
def unpacked(mar: bytes, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The archive as TorchServe unpacks it."""
    folder = tmp_path_factory.mktemp("unpacked").resolve()
    with zipfile.ZipFile(io.BytesIO(mar)) as archive:
        archive.extractall(folder)
    return folder


def work(folder: Path, queries: list[str], *, path: str | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    """A worker that is asked for one batch."""
    env = os.environ | {"PYTHONPATH": path or str(folder), "OMP_NUM_THREADS": "1", **environment}
    command = [sys.executable, "-P", "-c", WORKER, str(folder), json.dumps(queries)]
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True)


def facts_of(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """What a worker printed at the end."""
    assert done.returncode == 0, done.stderr
    facts: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return facts


@pytest.fixture(scope="module")
def thirty_two(unpacked: Path) -> dict[str, Any]:
    """What a worker tells of a full batch."""
    return facts_of(work(unpacked, [f"seed={seed}" for seed in range(32)]))


def test_a_batch_of_thirty_two_is_one_inference(thirty_two: dict[str, Any], archives: Path) -> None:
    """What TorchServe hands over at once is run at once, and each body is the one that its request gets alone."""
    assert (thirty_two["inferences"], thirty_two["rows"]) == (1, 32)
    service = create_app(
        Settings(models=(str(archives / "conditional.onnx"),), provider="cpu"), log=lambda event, **facts: None
    )
    alone = [ask(service, f"seed={seed}").body for seed in range(32)]
    assert thirty_two["bodies"] == [hashlib.sha256(body).hexdigest() for body in alone]


def test_a_wrong_request_spoils_no_other_of_its_batch(unpacked: Path) -> None:
    """It has its own status, and is no row of the inference."""
    facts = facts_of(work(unpacked, ["seed=1", "seed=01", "y=10", "seed=2"]))
    assert facts["statuses"] == [200, 400, 400, 200]
    assert facts["rows"] == 2


def test_a_batch_of_the_largest_requests_is_not_refused(unpacked: Path) -> None:
    """Thirty-two sheets of 256 images: more rows than the service lets wait, all of them answered."""
    facts = facts_of(work(unpacked, [f"seed={seed}&n=256" for seed in range(32)]))
    assert facts["statuses"] == [200] * 32


def test_only_the_archive_s_own_code_is_used(unpacked: Path, thirty_two: dict[str, Any]) -> None:
    """Every module of contract and serving that is loaded lies in the archive, and each of its modules is loaded."""
    assert thirty_two["folders"] == [str(unpacked)]
    files = [path.relative_to(unpacked) for package in ("contract", "serving") for path in (unpacked / package).rglob("*.py")]
    names = {str(path.with_suffix("")).replace("/", ".").removesuffix(".__init__") for path in files}
    assert names == set(thirty_two["modules"])


def test_the_limits_of_the_service_can_be_set(unpacked: Path) -> None:
    """By the same variables, with the same refusal of a wrong one."""
    assert facts_of(work(unpacked, ["n=5"], GAN_MAX_IMAGES="4", GAN_MAX_BULK="4"))["statuses"] == [400]
    assert "GAN_MAX_IMAGES" in work(unpacked, ["n=5"], GAN_MAX_IMAGES="many").stderr


def test_code_in_front_of_the_archive_s_is_refused(root: Path, unpacked: Path) -> None:
    """Another installation of the service on the path would answer with another version: the worker does not start."""
    done = work(unpacked, ["seed=1"], path=f"{root}{os.pathsep}{unpacked}")
    assert "the archive's own code must be used" in done.stderr


def test_a_model_that_is_not_the_stated_one_is_refused(unpacked: Path, archives: Path, tmp_path: Path) -> None:
    """Its digest is compared once more when a worker loads it."""
    with zipfile.ZipFile(archives / "conditional.mar") as archive:
        archive.extractall(tmp_path)
    (tmp_path / "model.onnx").write_bytes((archives / "colour.onnx").read_bytes())
    done = work(tmp_path, ["seed=1"])
    assert f"the archive says {load_model(archives / 'conditional.onnx', 'cpu').digest}" in done.stderr
    assert (tmp_path / MANIFEST).exists()
