"""What is installed is written down: one exact version for everything, the same for people, images and CI."""

from __future__ import annotations

import tomllib
from importlib import metadata

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.repository.files import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LINES = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
PINS = {canonicalize_name(pin.name): pin for pin in map(Requirement, LINES)}
DIRECT = {
    (extra, str(canonicalize_name(need.name))): need
    for extra, needs in {"": PROJECT["dependencies"], **PROJECT["optional-dependencies"]}.items()
    for need in map(Requirement, needs)
    if need.name != PROJECT["name"]
}
FLOORS = {"pillow": "13.0.0", "werkzeug": "3.1.6", "torch": "2.10", "onnx": "1.21", "onnxruntime": "1.31.1"}


def version_of(name: str) -> Version:
    """The one version that constraints.txt allows."""
    (pin,) = PINS[canonicalize_name(name)].specifier
    return Version(pin.version)


def test_every_line_is_one_exact_version() -> None:
    """No range, no wildcard, no address; sorted, each name once."""
    assert [line for line in LINES if [pin.operator for pin in Requirement(line).specifier] != ["=="] or "*" in line] == []
    assert [line for line in LINES if Requirement(line).url or Requirement(line).extras] == []
    assert sorted(PINS) == list(PINS)
    assert len(LINES) == len(PINS)


@pytest.mark.parametrize(("extra", "name"), DIRECT, ids=str)
def test_every_dependency_is_pinned_within_its_range(extra: str, name: str) -> None:
    """What pyproject.toml asks for has a pin that satisfies it."""
    assert DIRECT[extra, name].specifier.contains(version_of(name))


@pytest.mark.parametrize(("name", "floor"), FLOORS.items())
def test_no_pin_is_below_a_version_with_known_holes(name: str, floor: str) -> None:
    """The floors hold for the pin and for what is installed here."""
    assert version_of(name) >= Version(floor)
    try:
        assert Version(metadata.version(name)) >= Version(floor)
    except metadata.PackageNotFoundError:
        pytest.skip(f"{name} is not installed here; its pin holds the floor")


def test_both_runtimes_are_the_same_release() -> None:
    """The CPU's and the CUDA onnxruntime differ in nothing but the device."""
    assert version_of("onnxruntime") == version_of("onnxruntime-gpu")


def test_what_is_installed_is_what_is_pinned() -> None:
    """Every pinned package that is here has its pinned version; a build's suffix such as +cpu aside."""
    wrong = {}
    for name, pin in PINS.items():
        try:
            installed = Version(metadata.version(name))
        except metadata.PackageNotFoundError:
            continue
        if installed.public != str(version_of(name)):
            wrong[name] = f"{installed}, pinned {pin.specifier}"
    assert wrong == {}


def test_everything_that_is_needed_is_pinned() -> None:
    """What the installed packages need in their turn has a pin, too: nothing floats."""
    floating = {}
    for name in PINS:
        try:
            needs = [Requirement(need) for need in metadata.requires(name) or []]
        except metadata.PackageNotFoundError:
            continue
        for need in needs:
            if holds(need.marker) and canonicalize_name(need.name) not in PINS:
                floating[need.name] = name
    assert floating == {}


def holds(marker: Marker | None) -> bool:
    """Whether a requirement with this marker applies here, no extra asked for."""
    return marker is None or marker.evaluate({"extra": ""})


def test_the_tests_of_a_group_share_a_worker(request: pytest.FixtureRequest) -> None:
    """pytest-xdist sends a group behind an @ in the id; with pytest 9.2 each worker started the servers of all modules."""
    if not getattr(request.config.option, "loadgroup", False):
        pytest.skip("not a worker of pytest-xdist with --dist loadgroup")
    grouped = [item for item in request.session.items if item.get_closest_marker("xdist_group")]
    assert [item.nodeid for item in grouped if "@" not in item.nodeid] == []
