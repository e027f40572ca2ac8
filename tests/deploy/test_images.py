"""The parts of `make images-test` that need no image: what it takes from its caller, finds, and says is missing."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from deploy.images.contents import faults, installed, serving_faults
from deploy.images.packages import local_path, packages_folder, pip_settings, private_words, settings_in
from deploy.images.podman import CONFINED
from tests.repository.files import ROOT


@pytest.mark.process
def test_it_says_what_is_missing(tmp_path: Path) -> None:
    """Where it cannot run it ends with exit code 1 and one sentence, and leaves nothing."""
    command = [sys.executable, "-m", "deploy.images.proof"]
    given = {"PATH": "/nowhere", "TMPDIR": str(tmp_path)}
    done = subprocess.run(command, cwd=ROOT, env=given, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    right = "there is no podman, runc, " if os.geteuid() == 0 else "it needs root on Linux"
    assert done.stderr.startswith(f"images-test cannot run here: {right}")
    assert list(tmp_path.iterdir()) == []


def test_variables_win_over_files() -> None:
    """As in pip itself: an index of PIP_INDEX_URL takes the place of a file's; what is not about packages is left out."""
    listed = [
        ":env:.index-url='https://c.example/simple'",
        "global.extra-index-url='https://b.example'",
        "global.index-url='https://a.example/simple'",
        "global.quiet='1'",
        "install.timeout='7'",
    ]
    found = {"index-url": "https://c.example/simple", "extra-index-url": "https://b.example", "timeout": "7"}
    assert settings_in(listed, {}) == found


def test_certificates_come_from_variables_too() -> None:
    """SSL_CERT_FILE is what a build trusts, unless pip is configured otherwise."""
    assert settings_in([], {"SSL_CERT_FILE": "/a.pem"}) == {"cert": "/a.pem"}
    assert settings_in(["global.cert='/b.pem'"], {"SSL_CERT_FILE": "/a.pem"}) == {"cert": "/b.pem"}


@pytest.mark.process
def test_pip_is_asked(tmp_path: Path) -> None:
    """What the caller's files and variables say arrives."""
    (tmp_path / "conf").write_text("[global]\nindex-url = https://a.example/simple\n")
    given = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "PIP_CONFIG_FILE": str(tmp_path / "conf"),
        "PIP_PROXY": "http://p",
    }
    settings = pip_settings(given)
    assert (settings["index-url"], settings["proxy"]) == ("https://a.example/simple", "http://p")


def test_a_build_finds_the_callers_index_and_certificates(tmp_path: Path) -> None:
    """They are in the folder's pip.conf, and the certificates next to it under the name they have in the build."""
    (tmp_path / "ca").write_text("certificates")
    (tmp_path / "folder").mkdir()
    settings = {"index-url": "https://me@index.example/simple", "cert": str(tmp_path / "ca")}
    with packages_folder(tmp_path / "folder", settings) as folder:
        text = (folder / "pip.conf").read_text()
        assert text == "[global]\nindex-url = https://me@index.example/simple\ncert = /packages/ca.pem\n"
        assert (folder / "ca.pem").read_text() == "certificates"


def can_mount() -> bool:
    """Whether this process may mount a folder."""
    probe = ["unshare", "--mount", "true"]
    return os.geteuid() == 0 and subprocess.run(probe, capture_output=True).returncode == 0


@pytest.mark.process
@pytest.mark.skipif(not can_mount(), reason="needs root and the right to mount")
def test_a_build_finds_the_callers_local_packages(tmp_path: Path) -> None:
    """Folders are mounted read-only, an index with the files next to it, and are whole and unmounted afterwards."""
    for name in ("wheels", "index/simple", "index/files", "folder"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "wheels/a.whl").write_text("a")
    (tmp_path / "index/files/b.whl").write_text("b")
    settings = {"find-links": str(tmp_path / "wheels"), "extra-index-url": f"file://{tmp_path}/index/simple https://x.example"}
    with packages_folder(tmp_path / "folder", settings) as folder:
        links, indexes = (folder / "pip.conf").read_text().splitlines()[1:]
        assert links == "find-links = file:///packages/local0"
        assert indexes == "extra-index-url = file:///packages/local1/simple https://x.example"
        assert (folder / "local0/a.whl").read_text() == "a"
        assert (folder / "local1/files/b.whl").read_text() == "b"
        with pytest.raises(OSError, match="Read-only"):
            (folder / "local0/a.whl").unlink()
    assert list((tmp_path / "folder/local0").iterdir()) == []
    assert (tmp_path / "wheels/a.whl").read_text() == "a"


@pytest.mark.parametrize(
    ("place", "path"), [("https://x.example/simple", None), ("file:///a%20b/simple", Path("/a b/simple")), ("/nowhere", None)]
)
def test_local_places_are_told_from_others(place: str, path: Path | None) -> None:
    """An address of a host is none, nor is a path that leads nowhere."""
    assert local_path(place) == path


def test_hosts_and_folders_of_packages_are_private() -> None:
    """PyPI's own name is not; a password is no part of the words, as the host is looked for."""
    settings = {
        "index-url": "https://me:word@index.example:8443/simple",
        "extra-index-url": "https://pypi.org/simple file:///srv/x",
    }
    assert private_words(settings) == ["/srv/x", "index.example"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root as a serving image has it, without a fault."""
    packages = tmp_path / "venv/lib/python3.11/site-packages"
    for folder in (
        "usr/bin",
        "usr/sbin",
        "usr/local/bin",
        "venv/bin",
        "app/contract",
        "app/serving",
        "etc",
        "tmp",
        "var/cache/apt",
    ):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "usr/bin/python3").write_text("")
    install(packages, "Flask", "3.1.3")
    return tmp_path


def install(packages: Path, name: str, version: str) -> None:
    """What pip leaves of a package."""
    folder = packages / f"{name.lower().replace('-', '_')}-{version}.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")


@pytest.mark.process
def test_a_clean_image_has_no_fault(root: Path) -> None:
    """Nothing is found where nothing is; what is installed is listed by name and version."""
    assert serving_faults(root) == faults(root, "RUN true", ["index.example"]) == []
    assert installed(root) == {"flask": "3.1.3"}


def make_setuid(root: Path) -> None:
    (root / "usr/bin/su").write_text("")
    (root / "usr/bin/su").chmod(0o4755)


SPOILED: dict[str, tuple[Callable[[Path], object], str]] = {
    "a framework": (lambda root: install(root / "venv/lib/python3.11/site-packages", "torch", "2.13.0"), "torch is installed"),
    "a compiler": (lambda root: (root / "usr/bin/gcc").touch(), "usr/bin/gcc is there"),
    "an installer": (lambda root: (root / "venv/bin/pip").touch(), "venv/bin/pip is there"),
    "tests": (lambda root: (root / "app/serving/tests").mkdir(), "app/serving/tests is there"),
    "training": (lambda root: (root / "app/training").mkdir(), "/app holds contract, serving, training"),
    "a setuid file": (make_setuid, "usr/bin/su has a setuid or setgid bit"),
    "a download": (lambda root: (root / "var/cache/apt/x.deb").touch(), "/var/cache/apt is not empty"),
    "pip's file": (lambda root: (root / "etc/pip.conf").touch(), "/etc/pip.conf is there"),
    "the mount": (lambda root: (root / "packages").mkdir(), "/packages is there"),
    "an index": (lambda root: (root / "etc/x").write_text("https://index.example"), "etc/x says 'index.example'"),
}


@pytest.mark.process
@pytest.mark.parametrize("spoil", SPOILED)
def test_each_fault_of_an_image_is_found(spoil: str, root: Path) -> None:
    """Each alone, reported by one line."""
    make, line = SPOILED[spoil]
    make(root)
    found = serving_faults(root) + [fault.removeprefix(f"{root}/") for fault in faults(root, "RUN true", ["index.example"])]
    assert found == [line]


def test_an_index_in_the_history_is_found(root: Path) -> None:
    """A build argument that holds one would be readable in the image."""
    assert faults(root, "ARG x=https://index.example", ["index.example"]) == ["the history says 'index.example'"]


def test_containers_get_the_options_of_make_docker_serve() -> None:
    """Each option of the Makefile that confines the container is one of the proof's."""
    recipe = (ROOT / "Makefile").read_text().partition("\ndocker-serve:")[2]
    confining = recipe.partition("docker run --rm $(DOCKER_GPU)")[2].partition(" -p ")[0]
    found = re.findall(r"--[a-z-]+(?: [a-zA-Z/][a-zA-Z-]*)?", confining)
    assert {option.replace(" ", "=") for option in found} == set(CONFINED) - {"--network=none"}
