"""The committed rules as data, and the same with every duration scaled down."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.repository.files import ROOT

FOLDER = ROOT / "deploy" / "prometheus"
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
DURATION = re.compile(r"(\d+)([smhd])")

Rule = dict[str, Any]


def groups(file: str) -> list[dict[str, Any]]:
    """The groups of rules.yml or alerts.yml."""
    found: list[dict[str, Any]] = yaml.safe_load((FOLDER / file).read_text())["groups"]
    return found


def rules(file: str) -> list[Rule]:
    """All rules of a file."""
    return [rule for group in groups(file) for rule in group["rules"]]


def scaled(file: str, factor: int) -> dict[str, Any]:
    """A file's groups with every window, ``for``, interval and age in seconds divided by one factor; names stay."""
    return {"groups": [_scaled_group(group, factor) for group in groups(file)]}


def write_scaled(folder: Path, factor: int) -> list[str]:
    """Both files, scaled, in a folder; their names."""
    for file in ("rules.yml", "alerts.yml"):
        (folder / file).write_text(yaml.safe_dump(scaled(file, factor)))
    return ["rules.yml", "alerts.yml"]


def _scaled_group(group: Mapping[str, Any], factor: int) -> dict[str, Any]:
    shorter = {"interval": _shorter(group["interval"], factor)} if "interval" in group else {}
    return {**group, **shorter, "rules": [_scaled_rule(rule, factor) for rule in group["rules"]]}


def _scaled_rule(rule: Rule, factor: int) -> Rule:
    windows = re.sub(r"(?<=\[)\w+(?=\])|(?<= offset )\w+", lambda found: _shorter(found[0], factor), rule["expr"])
    ages = re.sub(r"(time\(\) - \w+ > )(\d+)", lambda found: f"{found[1]}{int(found[2]) / factor:g}", windows)
    shorter = {"for": _shorter(rule["for"], factor)} if "for" in rule else {}
    return {**rule, "expr": ages, **shorter}


def _shorter(duration: str, factor: int) -> str:
    found = DURATION.fullmatch(duration)
    assert found, f"{duration} is no duration of one unit"
    return f"{int(found[1]) * SECONDS[found[2]] * 1000 // factor}ms"
