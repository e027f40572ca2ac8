"""Pins, bill of materials and audit of a release, without making one."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from deploy.release.audit import Vulnerable, audit
from deploy.release.lock import Pin, pins_of, requirements
from deploy.release.sbom import components, sbom

PINS = [Pin("numpy", "2.4.6", "a" * 64), Pin("torch", "2.13.0+cpu", "b" * 64)]


def test_the_bill_is_cyclonedx_and_no_dice(tmp_path: Path) -> None:
    """Names, versions, digests and package addresses of every pin; the serial number changes with them alone."""
    document = json.loads(sbom("0.1.0", PINS))
    assert (document["bomFormat"], document["specVersion"]) == ("CycloneDX", "1.6")
    assert document["metadata"]["component"]["purl"] == "pkg:pypi/gan-serve@0.1.0"
    assert [c["purl"] for c in document["components"]] == ["pkg:pypi/numpy@2.4.6", "pkg:pypi/torch@2.13.0%2Bcpu"]
    assert document["components"][0]["hashes"] == [{"alg": "SHA-256", "content": "a" * 64}]
    assert sbom("0.1.0", PINS) == sbom("0.1.0", PINS)
    assert json.loads(sbom("0.1.0", PINS[:1]))["serialNumber"] != document["serialNumber"]
    assert components(sbom("0.1.0", PINS)) == {"numpy": "2.4.6", "torch": "2.13.0+cpu"}


def test_pins_are_what_pip_reports() -> None:
    """In their canonical names, in order, the project itself left out; written as pip reads them back."""

    def item(name: str, version: str, digest: str) -> dict[str, object]:
        return {
            "metadata": {"name": name, "version": version},
            "download_info": {"archive_info": {"hashes": {"sha256": digest}}},
        }

    project = {"metadata": {"name": "gan-serve", "version": "0"}, "download_info": {"dir_info": {}}}
    report = {"install": [project, item("torch", "2.13.0+cpu", "b" * 64), item("NumPy", "2.4.6", "a" * 64)]}
    assert pins_of(report) == PINS  # type: ignore[arg-type]
    assert requirements(PINS[:1]) == f"numpy==2.4.6 --hash=sha256:{'a' * 64}\n"


AUDITS = {
    "clean": ('{"dependencies": [{"name": "a", "version": "1", "vulns": []}]}', 0, "audited: no known hole in 1 packages"),
    "unreachable": ("", 1, "not audited: the service is away"),
}


def put_audit(folder: Path, said: str, code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program of the name and the outcome of pip-audit, in front of all others."""
    (folder / "pip-audit").write_text(f"#!/bin/sh\necho 'the service is away' >&2\necho '{said}'\nexit {code}\n")
    (folder / "pip-audit").chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(folder / "python"))


@pytest.mark.process
@pytest.mark.parametrize("case", AUDITS)
def test_an_audit_says_whether_it_was_run(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """S-28: a service that cannot be reached is reported as such, and is no clean audit."""
    said, code, line = AUDITS[case]
    put_audit(tmp_path, said, code, monkeypatch)
    assert audit(tmp_path / "requirements.txt") == line


@pytest.mark.process
def test_a_known_hole_stops_the_release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """S-28: and is named with its package."""
    put_audit(tmp_path, '{"dependencies": [{"name": "a", "version": "1", "vulns": [{"id": "PYSEC-1"}]}]}', 1, monkeypatch)
    with pytest.raises(Vulnerable, match="known holes: a 1: PYSEC-1"):
        audit(tmp_path / "requirements.txt")
