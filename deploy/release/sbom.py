"""The bill of materials of an image's Python packages, in CycloneDX 1.6: the same text for the same packages."""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from deploy.release.lock import PROJECT, Pin


def sbom(version: str, pins: Sequence[Pin]) -> str:
    """The document as JSON text; the project is its subject, every pin a component."""
    document: dict[str, Any] = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": {"type": "application", **_identity(PROJECT, version)}},
        "components": [_component(pin) for pin in pins],
    }
    named = uuid.uuid5(
        uuid.NAMESPACE_URL, json.dumps(document, sort_keys=True)
    )  # a serial number that no clock or dice has made
    return json.dumps({**document, "serialNumber": f"urn:uuid:{named}"}, indent=1, sort_keys=True) + "\n"


def components(text: str) -> dict[str, str]:
    """Name to version of every component in a document."""
    return {component["name"]: component["version"] for component in json.loads(text)["components"]}


def _component(pin: Pin) -> dict[str, Any]:
    return {"type": "library", **_identity(pin.name, pin.version), "hashes": [{"alg": "SHA-256", "content": pin.digest}]}


def _identity(name: str, version: str) -> dict[str, str]:
    purl = f"pkg:pypi/{name}@{quote(version, safe='.')}"
    return {"bom-ref": purl, "name": name, "version": version, "purl": purl}
