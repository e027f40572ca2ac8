"""The images keep their promises: pinned, small, without privileges; and what the serving image installs can serve."""

from __future__ import annotations

import ast
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

from deploy.release.lock import resolve
from deploy.release.sbom import components, sbom
from tests.harness.processes import free_port, wait_for
from tests.repository.files import ROOT, commands, environment, instructions, last_stage
from tests.serving import tiny_onnx

DOCKERFILES = ["Dockerfile.train", "Dockerfile.serve"]
OFFLINE = re.compile(r"Temporary failure in name resolution|Network is unreachable|NewConnectionError|ConnectTimeoutError")


@pytest.mark.parametrize("dockerfile", DOCKERFILES)
def test_every_installation_is_pinned(dockerfile: str) -> None:
    """Packages come by deploy/install, in the Dockerfile or through `make setup`."""
    installing = [run for run in commands(instructions(dockerfile)) if re.search("pip install|deploy/install|make setup", run)]
    assert len(installing) == 1
    own = installing[0].split("pip install")[1:]  # its name and version, which the service tells
    assert all("--no-index --no-deps" in rest for rest in own)


@pytest.mark.parametrize("dockerfile", DOCKERFILES)
def test_no_image_runs_as_root(dockerfile: str) -> None:
    """The user is a number, so that an orchestrator can see that it is not root."""
    assert [rest for keyword, rest in last_stage(dockerfile) if keyword == "USER"] == ["65532:65532"]


@pytest.mark.parametrize("dockerfile", DOCKERFILES)
def test_base_image_is_cuda_and_can_be_replaced(dockerfile: str) -> None:
    """One build argument, tagged by version, stands behind every FROM but the empty stage that packages may come from."""
    found = instructions(dockerfile)
    assert [rest for keyword, rest in found if keyword == "ARG"][0].startswith("BASE=nvidia/cuda:13.")
    assert {rest.split()[0] for keyword, rest in found if keyword == "FROM" and rest != "scratch AS packages"} == {"${BASE}"}


@pytest.mark.parametrize("dockerfile", DOCKERFILES)
def test_image_takes_the_code_that_it_needs_and_no_other(dockerfile: str) -> None:
    """What is copied exists, .dockerignore lets it in, and serving gets nothing of training."""
    copied = {
        name
        for keyword, rest in instructions(dockerfile)
        if keyword == "COPY" and "--from" not in rest
        for name in rest.split()[:-1]
    }
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert copied <= allowed
    assert [name for name in copied if not (ROOT / name).exists()] == []
    assert ("training" in copied) == (dockerfile == "Dockerfile.train")


def test_serving_image_has_no_compiler_and_no_installer() -> None:
    """The final stage adds Python alone to its base, and the environment comes without pip."""
    installed = [word for run in commands(last_stage("Dockerfile.serve")) for word in re.findall(r"install (.*?) &&", run)]
    assert installed == ["-y --no-install-recommends python3"]
    assert any("pip uninstall --yes setuptools pip" in rest for _, rest in instructions("Dockerfile.serve"))


def test_commands_get_signals() -> None:
    """Commands are lists, with neither a shell nor make between the container and the program."""
    for dockerfile in DOCKERFILES:
        (command,) = [rest for keyword, rest in last_stage(dockerfile) if keyword == "CMD"]
        assert Path(json.loads(command)[0]).name == "python"


@pytest.mark.parametrize("dockerfile", DOCKERFILES)
def test_nothing_is_sent_home(dockerfile: str) -> None:
    """onnxruntime's telemetry is off in both images, and in everything that make runs."""
    assert environment(last_stage(dockerfile))["ORT_DISABLE_TELEMETRY"] == "1"
    assert "export ORT_DISABLE_TELEMETRY := 1" in (ROOT / "Makefile").read_text()


# ------------------------------------------------------------------- what the serving image installs, in a fresh environment


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the serving image would hold: ``venv`` by the Dockerfile's own command, for the CPU, and ``app``."""
    place = tmp_path_factory.mktemp("image")
    (place / "build").mkdir()
    (place / "app").mkdir()
    for keyword, rest in instructions("Dockerfile.serve"):
        if keyword == "COPY" and "--from" not in rest:
            *names, target = rest.split()
            for name in names:
                copy(ROOT / name, place / ("build" if target in ("./", "deploy/install") else "app") / name)
    (run,) = [run for run in commands(instructions("Dockerfile.serve")) if "deploy/install" in run]
    command = run.replace("python3 -m venv", f"{shlex.quote(sys.executable)} -m venv").replace("/venv", str(place / "venv"))
    done = subprocess.run(
        ["sh", "-ec", command.replace("uninstall --yes setuptools pip", "--version")],  # the tests below need pip once more
        cwd=place / "build",
        capture_output=True,
        text=True,
        env={**os.environ, "RUNTIME": "serve"},
    )
    if done.returncode and OFFLINE.search(done.stdout + done.stderr):
        pytest.skip("needs PyPI, which cannot be reached")
    assert done.returncode == 0, done.stdout + done.stderr
    return place


def copy(source: Path, target: Path) -> None:
    """A file or a folder, without what Python compiled."""
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copy(source, target)


def python(image: Path, *arguments: str, cwd: Path | None = None) -> str:
    """What the image's Python prints."""
    done = subprocess.run(
        [str(image / "venv/bin/python"), *arguments],
        cwd=cwd or image / "app",
        capture_output=True,
        text=True,
        env={"PATH": f"{image / 'venv/bin'}:/usr/bin:/bin", "HOME": str(image), "TMPDIR": str(image)},
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return done.stdout


@pytest.mark.process
@pytest.mark.slow
def test_image_holds_no_training_framework(image: Path) -> None:
    """Neither torch nor onnx nor training is there, and the service imports without them."""
    python(image, "-c", "import serving.__main__, serving.app")
    modules = ["torch", "onnx", "onnxscript", "matplotlib", "scipy", "sklearn", "training"]
    found = python(image, "-c", f"from importlib.util import find_spec; print([m for m in {modules} if find_spec(m)])")
    assert found.strip() == "[]"


@pytest.mark.process
@pytest.mark.slow
def test_bill_of_materials_is_what_the_image_installs(image: Path) -> None:
    """S-28: the CycloneDX document of a release names what ``pip freeze`` finds, version by version, and nothing else."""
    frozen = python(image, "-m", "pip", "freeze", "--exclude", "gan-serve").split()
    billed = components(sbom("0", resolve(ROOT, ["serve", "signed", "tracing"])))
    assert {canonicalize_name(name): version for name, version in (line.split("==") for line in frozen)} == billed


@pytest.fixture
def service(image: Path, tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], dict[str, str]]]:
    """The image's command with the image's environment, a folder with one model, and a read-only application."""
    (tmp_path / "models").mkdir()
    (tmp_path / "tmp").mkdir()
    (tmp_path / "home").mkdir()
    (tmp_path / "models/tiny.onnx").write_bytes(tiny_onnx.grey())
    stage = last_stage("Dockerfile.serve")
    given = {name: value for name, value in environment(stage).items() if name != "PATH"}
    env = given | {
        "GAN_MODELS": str(tmp_path / "models"),
        "GAN_HOST": "127.0.0.1",
        "GAN_PORT": str(free_port()),
        "GAN_WORKERS": "1",
        "PATH": f"{image / 'venv/bin'}:/usr/bin:/bin",
        "TMPDIR": str(tmp_path / "tmp"),
        "HOME": str(tmp_path / "home"),
    }
    (command,) = [json.loads(rest) for keyword, rest in stage if keyword == "CMD"]
    process = subprocess.Popen(command, cwd=image / "app", env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        yield process, env
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def get(env: dict[str, str], path: str) -> tuple[int, bytes]:
    """Status and body of an answer."""
    with urllib.request.urlopen(f"http://127.0.0.1:{env['GAN_PORT']}{path}", timeout=60) as reply:
        return reply.status, reply.read()


@pytest.mark.process
@pytest.mark.slow
def test_image_serves(image: Path, service: tuple[subprocess.Popen[str], dict[str, str]]) -> None:
    """Its command answers /generate with a PNG, its health check passes, SIGTERM ends it with 0 and nothing is left behind."""
    process, env = service
    before = sorted(path for path in (image / "app").rglob("*"))
    wait_for(lambda: get(env, "/readyz"), process)
    status, body = get(env, "/generate?seed=42")
    assert (status, body[:8]) == (200, b"\x89PNG\r\n\x1a\n")
    (check,) = [rest for keyword, rest in last_stage("Dockerfile.serve") if keyword == "HEALTHCHECK"]
    health = json.loads(check.partition("CMD ")[2])
    assert subprocess.run(health, env=env).returncode == 0
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    assert subprocess.run(health, env=env, stderr=subprocess.DEVNULL).returncode != 0
    assert sorted(path for path in (image / "app").rglob("*")) == before
    assert list(Path(env["TMPDIR"]).iterdir()) == []
    assert list(Path(env["HOME"]).iterdir()) == []


@pytest.mark.process
@pytest.mark.slow
def test_all_that_the_service_imports_is_there(image: Path) -> None:
    """Each module that a line of contract or serving names can be imported, also where a function imports it late."""
    named = {
        name
        for package in ("contract", "serving")
        for path in (image / "app" / package).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        for name in names_of(node)
    } - {"pynvml"}  # of NVIDIA's image; the service does without
    assert {"PIL.PngImagePlugin", "onnxruntime", "opentelemetry.sdk.trace", "serving.app"} <= named
    python(image, "-c", f"from importlib import import_module; [import_module(name) for name in {sorted(named)}]")


def names_of(node: ast.AST) -> list[str]:
    """The modules that a line imports."""
    match node:
        case ast.Import(names=names):
            return [name.name for name in names]
        case ast.ImportFrom(module=str(name)):
            return [name]
    return []


@pytest.mark.process
@pytest.mark.slow
def test_a_seed_gives_its_bytes_without_torch(image: Path) -> None:
    """The tests of draws, of encoders and of equal bytes, in the image's environment with nothing added but what tests."""
    python(image, "-m", "pip", "install", "--quiet", "-c", str(ROOT / "constraints.txt"), "pytest", "hypothesis")
    command = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not slow and not process and not hypothesis"]
    tests = ["contract", "serving/latents", "serving/encoding", "serving/generation/test_determinism.py"]
    assert re.search(r"\d+ passed", python(image, *command, *(f"tests/{name}" for name in tests), cwd=ROOT))
