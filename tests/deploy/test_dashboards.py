"""The dashboards: written by code, readable by Grafana's provider, and of metrics that there are."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.grafana.__main__ import BOARDS, FOLDER, main
from serving.observability.gpu_metrics import GpuCollector
from serving.observability.metrics import Metrics
from serving.observability.process_metrics import ProcessCollector
from tests.deploy.rules import rules
from tests.repository.files import ROOT
from training.report.meters import PrometheusMetrics

PROVISIONING = ROOT / "deploy" / "grafana" / "provisioning"


def board(name: str) -> dict[str, Any]:
    """A committed dashboard."""
    found: dict[str, Any] = json.loads((FOLDER / name).read_text())
    return found


def test_what_is_committed_is_what_the_code_makes(tmp_path: Path) -> None:
    """Made again, byte for byte; `make dashboards` mends it."""
    assert main([], tmp_path) == 0
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {p.name: p.read_text() for p in FOLDER.iterdir()}
    assert main(["--check"]) == 0


def test_check_sees_a_change_by_hand(tmp_path: Path) -> None:
    """One byte more, or a file less, is shown by the exit code."""
    main([], tmp_path)
    (tmp_path / "service.json").write_text((tmp_path / "service.json").read_text() + " ")
    assert main(["--check"], tmp_path) == 1
    main([], tmp_path)
    (tmp_path / "training.json").unlink()
    assert main(["--check"], tmp_path) == 1


@pytest.mark.parametrize("name", BOARDS)
def test_no_panel_covers_another(name: str) -> None:
    """Each has a number and a place of its own within the columns."""
    panels = board(name)["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert at["x"] + at["w"] <= 24
        assert not taken & cells, panel["title"]
        taken |= cells


@pytest.mark.parametrize("name", BOARDS)
def test_every_metric_of_a_board_exists(name: str) -> None:
    """In the service, the training job, or a recording rule."""
    collectors = [Metrics().registry.collect(), ProcessCollector().describe(), GpuCollector().describe()]
    known = {family.name for families in collectors for family in families}
    known |= {family.name for family in PrometheusMetrics(Path(), 1).describe()} | {
        rule["record"] for rule in rules("rules.yml")
    }
    for panel in board(name)["panels"]:
        for target in panel.get("targets", []):
            for metric in re.findall(r"\b(?:job\w*:[\w:]+|gan_\w+)", target["expr"]):
                assert metric in known or re.sub(r"_(total|bucket|count|sum)$", "", metric) in known, metric


@pytest.mark.parametrize("name", BOARDS)
def test_every_query_asks_the_chosen_source(name: str) -> None:
    """Panels and queries name the board's variable, none a source of one installation."""
    for panel in board(name)["panels"]:
        if panel["type"] != "row":
            assert panel["datasource"]["uid"] == "${datasource}"
            assert [target["datasource"]["uid"] for target in panel["targets"]] == ["${datasource}"] * len(panel["targets"])


def test_grafana_finds_source_and_boards() -> None:
    """Provisioning names the Prometheus of the composition and the folder at which the boards are mounted."""
    (source,) = yaml.safe_load((PROVISIONING / "datasources" / "prometheus.yml").read_text())["datasources"]
    assert (source["type"], source["url"], source["isDefault"]) == ("prometheus", "http://prometheus:9090", True)
    (provider,) = yaml.safe_load((PROVISIONING / "dashboards" / "boards.yml").read_text())["providers"]
    assert (provider["type"], provider["options"]["path"]) == ("file", "/var/lib/grafana/dashboards")
