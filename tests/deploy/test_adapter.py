"""The metric that the autoscaler asks for is one that prometheus-adapter makes of the service's own, and always a number."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from deploy.manifests.kustomize import Document
from serving.observability.metrics import STEP_BUCKETS, Metrics
from tests.deploy.manifests import written

(RULE,) = written("adapter/values.yaml")["rules"]["custom"]
SERIES = re.match(r"\w+", RULE["seriesQuery"])


def metric_names() -> set[str]:
    """Every series of the service, as Prometheus stores it."""
    families = Metrics(None).registry.collect()
    return {f"{family.name}{suffix}" for family in families for suffix in ("", "_bucket", "_count", "_sum", "_total")}


def query(pods: str) -> str:
    """The question that the adapter asks of Prometheus for some pods, its template filled in as the adapter does."""
    assert SERIES is not None
    filled = {"Series": SERIES[0], "LabelMatchers": f'namespace="gan",pod=~"{pods}"', "GroupBy": "pod"}
    return re.sub(r"<<\.(\w+)>>", lambda found: filled[found[1]], RULE["metricsQuery"])


def test_the_adapter_reads_metrics_that_there_are() -> None:
    """Every series in the rule is the service's own."""
    named = set(re.findall(r"\bgan_\w+", query(".*") + RULE["seriesQuery"]))
    assert named <= metric_names()


def test_the_adapter_makes_the_metric_that_the_autoscaler_asks_for() -> None:
    """One name in both files."""
    assert SERIES is not None
    made = re.sub(RULE["name"]["matches"], RULE["name"]["as"], SERIES[0])
    asked = [
        metric["pods"]["metric"]["name"] for metric in written("base/autoscaler.yaml")["spec"]["metrics"] if "pods" in metric
    ]
    assert asked == [made]


def series(pod: str, waits: dict[float, int]) -> list[Document]:
    """A pod's histogram over five minutes; ``waits`` says how many requests a second waited up to each bound."""
    counted, found = 0, []
    for bound in (*STEP_BUCKETS, float("inf")):
        counted += waits.get(bound, 0)
        le = "+Inf" if bound == float("inf") else str(bound)
        found.append(_series("bucket", f'pod="{pod}",le="{le}"', counted))
    return [*found, _series("count", f'pod="{pod}"', counted)]


def _series(suffix: str, labels: str, a_second: int) -> Document:
    return {"series": f'gan_queue_wait_seconds_{suffix}{{namespace="gan",{labels}}}', "values": f"0+{15 * a_second}x20"}


@pytest.mark.process
@pytest.mark.skipif(not shutil.which("promtool"), reason="promtool is not installed (Debian: prometheus)")
def test_the_metric_is_the_wait_of_each_pod_and_nought_without_requests(tmp_path: Path) -> None:
    """By Prometheus itself: a pod whose samples wait .025 s, one where most wait .25 s, and one without requests."""
    test = {
        "evaluation_interval": "15s",
        "tests": [
            {
                "interval": "15s",
                "input_series": [*series("a", {0.025: 100}), *series("b", {0.025: 10, 0.25: 90}), *series("c", {})],
                "promql_expr_test": [
                    {
                        "expr": f"round(1000 * ({query('a|b|c')}))",
                        "eval_time": "5m",
                        "exp_samples": [
                            {"labels": '{pod="a"}', "value": 24},
                            {"labels": '{pod="b"}', "value": 242},
                            {"labels": '{pod="c"}', "value": 0},
                        ],
                    }
                ],
            }
        ],
    }
    (tmp_path / "test.yml").write_text(yaml.safe_dump(test))
    checked = subprocess.run(["promtool", "test", "rules", "test.yml"], cwd=tmp_path, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr
