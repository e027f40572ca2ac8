"""S-28: setup and both images install archives whose SHA-256 is written down, and no others."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from deploy.install.__main__ import canonical, digests, locked, requirements
from tests.repository.files import ROOT

INSTALL = ROOT / "deploy/install"
KNOWN = digests((INSTALL / name).read_text() for name in ("hashes.txt", "torch-cpu.txt"))
PINS = dict(
    line.split(" ")[0].split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")
)


def test_every_pin_has_digests_and_nothing_else_has() -> None:
    """S-28: hashes.txt is of the versions in constraints.txt; PyTorch's own index has torch under another version."""
    cpu = ("torch", f"{PINS['torch']}+cpu")
    assert set(KNOWN) == {(canonical(name), version) for name, version in PINS.items()} | {cpu}
    assert not set(KNOWN[cpu]) & set(KNOWN["torch", PINS["torch"]])


def test_extras_are_followed() -> None:
    """An extra that names others of the project stands for their packages."""
    project = {
        "name": "us",
        "dependencies": ["a>=1"],
        "optional-dependencies": {"x": ["us[y,z]", "b"], "y": ["c"], "z": ["d[e]"]},
    }
    assert list(requirements(project, ["x"])) == ["a>=1", "c", "d[e]", "b"]


def test_a_package_without_digests_matches_nothing() -> None:
    """The line of an unknown package has a digest that no archive has; a version may be stated with a v before it."""
    assert locked("numpy", f"v{PINS['numpy']}", KNOWN) == locked("numpy", PINS["numpy"], KNOWN)
    assert locked("New_Package", "1.0", KNOWN) == f"New_Package==1.0 --hash=sha256:{64 * '0'}\n"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project that needs ``tiny``, the wheel of ``tiny`` in a folder, and its digest."""
    for name in ("deploy", "wheels"):
        (tmp_path / name).mkdir()
    with zipfile.ZipFile(tmp_path / "wheels/tiny-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("tiny.py", "")
        wheel.writestr("tiny-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n")
        wheel.writestr("tiny-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr("tiny-1.0.dist-info/RECORD", "")
    shutil.copytree(INSTALL, tmp_path / "deploy/install", ignore=shutil.ignore_patterns("__pycache__"))
    digest = hashlib.sha256((tmp_path / "wheels/tiny-1.0-py3-none-any.whl").read_bytes()).hexdigest()
    (tmp_path / "deploy/install/hashes.txt").write_text(f"tiny==1.0 \\\n    --hash=sha256:{digest}\n")
    (tmp_path / "constraints.txt").write_text("tiny==1.0\n")
    (tmp_path / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\n[project]\nname = "us"\ndependencies = []\noptional-dependencies = {x = ["tiny"]}\n'
    )
    return tmp_path


def install(project: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    """Install the extra ``x`` into a folder, from the folder of wheels alone."""
    folders = {"PIP_TARGET": str(project / "site"), "PIP_FIND_LINKS": str(project / "wheels")}
    env = {**os.environ, "PIP_CONFIG_FILE": os.devnull, "PIP_NO_INDEX": "1", **folders, **environ}
    command = [sys.executable, "deploy/install", "x"]
    return subprocess.run(command, cwd=project, env=env, capture_output=True, text=True, check=False)


@pytest.mark.process
def test_a_changed_archive_is_refused(project: Path) -> None:
    """S-28: an archive with the listed digest is installed, also from a folder; with one byte more it is not."""
    assert install(project).returncode == 0
    assert (project / "site/tiny.py").exists()
    shutil.rmtree(project / "site")
    with (project / "wheels/tiny-1.0-py3-none-any.whl").open("ab") as wheel:
        wheel.write(b"x")
    refused = install(project)
    assert refused.returncode == 1
    assert "DO NOT MATCH THE HASHES" in refused.stderr
    assert not (project / "site").exists()
    assert install(project, HASHES="off").returncode == 0


def test_setup_and_images_install_by_digests() -> None:
    """S-28: what installs packages is deploy/install; only the project itself, which needs no package, is left to pip."""
    makefile = (ROOT / "Makefile").read_text()
    assert "$(BIN)/python deploy/install '$(EXTRAS)'" in makefile
    assert "pip install --quiet --no-deps --no-build-isolation -e ." in makefile
    assert '/venv/bin/python deploy/install "${RUNTIME},signed,tracing"' in (ROOT / "Dockerfile.serve").read_text()
    assert "make setup" in (ROOT / "Dockerfile.train").read_text()
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"] == ["setuptools>=77"]
