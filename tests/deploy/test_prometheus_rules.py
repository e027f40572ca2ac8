"""What Prometheus is given: accepted by its own tools, right about given series, and every alert has an action."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest
import yaml

from deploy.grafana import service, training
from serving.observability.gpu_metrics import GpuCollector
from serving.observability.metrics import LATENCY_BUCKETS, Metrics
from serving.observability.process_metrics import ProcessCollector
from tests.deploy.rules import FOLDER, rules, scaled
from tests.repository.files import ROOT

needs_promtool = pytest.mark.skipif(not shutil.which("promtool"), reason="promtool is not installed (Debian: prometheus)")

ALERTS = {rule["alert"]: rule for rule in rules("alerts.yml")}
RECORDED = {rule["record"]: rule for rule in rules("rules.yml")}
NOT_PROBES = 'route!~"/healthz|/readyz|/metrics|/v2/health/.*|/static/.*|none"'
FROM_A_MODEL = 'model!=""'


def promtool(*arguments: str) -> None:
    """Run it in the folder of the rules; it must end well."""
    done = subprocess.run(["promtool", *arguments], cwd=FOLDER, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.process
@needs_promtool
def test_promtool_accepts_configuration_and_rules() -> None:
    """The configuration names the rule files, and each of them is well formed."""
    promtool("check", "config", "prometheus.yml")
    promtool("check", "rules", "rules.yml", "alerts.yml")


@pytest.mark.process
@needs_promtool
@pytest.mark.slow
@pytest.mark.parametrize("file", ["tests.yml", "tests-days.yml"])
def test_the_rules_say_of_given_series_what_they_should(file: str) -> None:
    """Every recording rule and every alert, its exact windows, its guard, and its end."""
    promtool("test", "rules", file)


def test_groups_have_names_of_their_own_and_are_tested_in_their_order() -> None:
    """In both files together, as a cluster's PrometheusRule holds them; alerts after what they read."""
    files = [yaml.safe_load((FOLDER / name).read_text()) for name in ("rules.yml", "alerts.yml")]
    names = [group["name"] for file in files for group in file["groups"]]
    assert len(set(names)) == len(names)
    for name in ("tests.yml", "tests-days.yml"):
        assert yaml.safe_load((FOLDER / name).read_text())["group_eval_order"] == names


@pytest.mark.parametrize("name", [*ALERTS, *RECORDED])
def test_each_rule_has_a_test_of_its_own(name: str) -> None:
    """Alerts by name; recorded series by name, or by the alert that needs them."""
    tested = "".join((FOLDER / file).read_text() for file in ("tests.yml", "tests-days.yml"))
    readers = [alert for alert, rule in ALERTS.items() if re.search(rf"{re.escape(name)}\b", rule["expr"])]
    assert name in tested or any(alert in tested for alert in readers)


@pytest.mark.parametrize("name", ALERTS)
def test_each_alert_says_how_bad_it_is_and_where_its_page_is(name: str) -> None:
    """page or ticket, a sentence, and a heading of docs/OPERATIONS.md that says what it means and what to do."""
    rule = ALERTS[name]
    assert rule["labels"]["severity"] in ("page", "ticket")
    assert rule["annotations"]["summary"].endswith(".")
    page, _, anchor = rule["annotations"]["runbook_url"].partition("#")
    assert (page, anchor) == ("docs/OPERATIONS.md", name.lower())
    sections = re.split(r"^### ", (ROOT / page).read_text(), flags=re.MULTILINE)
    (section,) = [section for section in sections if section.startswith(f"{name}\n")]
    assert all(re.search(rf"\*\*[^*]*{word}[^*]*\*\*", section, re.IGNORECASE) for word in ("means", "look at", "do"))


def test_no_alert_is_described_that_there_is_not() -> None:
    """A heading without an alert is out of date."""
    text = (ROOT / "docs" / "OPERATIONS.md").read_text()
    alerts = text.partition("## Alerts")[2].partition("\n## ")[0]
    assert re.findall(r"^### (\w+)$", alerts, re.MULTILINE) == list(ALERTS)


def test_every_panel_that_an_alert_names_is_on_its_dashboard() -> None:
    """Titles in quotation marks: of the training's board in the last two sections, of the service's in the others."""
    text = (ROOT / "docs" / "OPERATIONS.md").read_text()
    for alert in ALERTS:
        section = re.sub(r"`[^`]*`", "", text.partition(f"\n### {alert}\n")[2].partition("\n### ")[0])
        board = training.BOARD if alert.startswith("GanTraining") else service.BOARD
        titles = {panel.title for row in board.rows.values() for panel in row}
        assert [title for title in re.findall(r'"([^"]+)"', section) if title not in titles] == [], alert


def test_what_the_rules_read_exists() -> None:
    """Every series of the service in an expression is one that the service has; a renamed metric would silence an alert."""
    families = [*Metrics().registry.collect(), *ProcessCollector().describe(), *GpuCollector().describe()]
    known = {family.name for family in families}
    for rule in rules("rules.yml") + rules("alerts.yml"):
        expr = re.sub(r"\bjob\w*:[\w:]+", "", rule["expr"])
        for name in re.findall(r"\bgan_(?!training)\w+", expr):
            assert re.sub(r"_(total|bucket|count|sum)$", "", name) in known, name


@pytest.mark.parametrize(
    ("kind", "of"),
    [
        ("errors:ratio", NOT_PROBES),
        ("slow:ratio", FROM_A_MODEL),
        ("requests:increase", NOT_PROBES),
        ("answers:increase", FROM_A_MODEL),
    ],
)
def test_the_windows_of_a_service_level_differ_in_nothing_else(kind: str, of: str) -> None:
    """One expression for each, in which only the window changes; probes, or all that no model answered, are left out."""
    found = {name.rpartition(kind)[2]: rule["expr"] for name, rule in RECORDED.items() if f"gan_slo_{kind}" in name}
    assert len(found) >= 4
    assert len({expr.replace(f"[{window}]", "[]") for window, expr in found.items()}) == 1
    assert all(expr.count("gan_http") == expr.count(of) for expr in found.values())


def test_the_service_level_is_a_bound_of_the_histogram() -> None:
    """250 ms must be a bucket's exact bound, written as Prometheus writes it."""
    assert 0.25 in LATENCY_BUCKETS
    assert all('le="0.25"' in rule["expr"] for name, rule in RECORDED.items() if "gan_slo_slow" in name)


def test_the_guards_are_ten_bad_requests() -> None:
    """Each burn rate's least number is the one of which ten would be bad at its threshold, of what its ratio is a share of."""
    guarded = re.compile(
        r"job:gan_slo_(\w+):ratio(\w+) > [\d.]+ \* [\d.]+\s+and\s+job:gan_slo_\1:ratio\w+ > ([\d.]+) \* ([\d.]+)\s+and\s+"
        r"job:gan_slo_(\w+):increase(\w+) > (\d+)"
    )
    found = [match for rule in ALERTS.values() for match in guarded.findall(rule["expr"])]
    assert len(found) == 8
    for level, window, rate, budget, counted, guard_window, least in found:
        assert int(least) == round(10 / (float(rate) * float(budget)))
        assert (counted, guard_window) == ({"errors": "requests", "slow": "answers"}[level], window)


def test_scaling_changes_durations_alone() -> None:
    """Sixty times shorter: windows, waits and intervals are, names and thresholds are not."""
    before, after = (
        {rule["alert"]: rule for group in made["groups"] for rule in group["rules"]}
        for made in (scaled("alerts.yml", 1), scaled("alerts.yml", 60))
    )
    assert after["GanWorkersCrash"]["expr"] == "increase(gan_worker_crashes_total[15000ms]) > 2.5"
    assert re.findall(r"\[\w+\]|offset \w+", after["GanDown"]["expr"]) == ["[10000ms]", "offset 10000ms", "[10000ms]"]
    assert after["GanTrainingStalled"]["expr"].startswith("time() - gan_training_logged_timestamp_seconds > 15 and")
    assert (before["GanErrorsBurnFast"]["for"], after["GanErrorsBurnFast"]["for"]) == ("120000ms", "2000ms")
    assert before["GanErrorsBurnFast"]["expr"] == after["GanErrorsBurnFast"]["expr"]
