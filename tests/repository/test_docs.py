"""The documentation is complete: every make target, route, setting and metric is in it."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from serving.errors import Problem
from serving.http.routes import ROUTES
from serving.observability.gpu_metrics import GpuCollector
from serving.observability.metrics import Metrics
from serving.observability.process_metrics import ProcessCollector
from serving.openapi.document import all_problems
from serving.settings import _FIELDS as VALUES
from serving.settings import Settings
from tests.repository.files import ROOT
from tests.repository.test_makefile import TARGETS
from training.recipes.page import fill
from training.report.meters import PrometheusMetrics

PAGES = [page for page in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))) if page.exists()]
SERVICE = (ROOT / "docs/SERVICE.md").read_text()
TEXT = "\n".join(page.read_text() for page in PAGES)


def metric_names() -> list[str]:
    """Every metric as Prometheus sees it."""
    families = [
        *Metrics(None).registry.collect(),
        *ProcessCollector().describe(),
        *GpuCollector().describe(),
        *PrometheusMetrics(Path(), 1).describe(),
    ]
    return [f"{family.name}_total" if family.type == "counter" else family.name for family in families]


@pytest.mark.parametrize("target", TARGETS)
def test_every_make_target_is_documented(target: str) -> None:
    """As `make target`."""
    assert f"make {target}" in TEXT


@pytest.mark.parametrize("field", dataclasses.fields(Settings), ids=lambda field: field.name)
def test_every_setting_is_documented(field: dataclasses.Field[object]) -> None:
    """By the environment variable's name."""
    assert f"`GAN_{field.name.upper()}`" in TEXT


@pytest.mark.parametrize(("name", "field"), VALUES.items())
def test_the_table_of_settings_has_the_values(name: str, field: tuple[object, str]) -> None:
    """Those that an error message names."""
    assert re.search(rf"^\| `GAN_{name.upper()}` \| [^|]+ \| {re.escape(field[1])} \| ", SERVICE, re.MULTILINE)


@pytest.mark.parametrize("problem", all_problems())
def test_every_code_of_an_error_is_in_the_table(problem: type[Problem]) -> None:
    """Next to its status; clients may rely on both."""
    rows = [row for row in SERVICE.splitlines() if re.match(rf"\| [0-9, ]*\b{problem.status}\b", row)]
    assert any(f"`{problem.code}`" in row for row in rows)


def test_no_setting_is_documented_that_does_not_exist() -> None:
    """A variable that was renamed does not live on in the documentation."""
    known = {f"GAN_{field.name.upper()}" for field in dataclasses.fields(Settings)}
    assert set(re.findall(r"\bGAN_[A-Z_]+\b", TEXT)) <= known


@pytest.mark.parametrize("route", ROUTES)
def test_every_route_is_documented(route: str) -> None:
    """With its path as the table of routes has it."""
    assert f"{route}`" in TEXT or f"{route}?" in TEXT


@pytest.mark.parametrize("metric", metric_names())
def test_every_metric_is_documented(metric: str) -> None:
    """By its full name."""
    assert f"`{metric}`" in TEXT


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    """Every relative link and picture of a page is a file of the repository."""
    targets = re.findall(r"\]\(([^)#\s]+)", page.read_text()) + re.findall(r'(?:src|href)="([^"#]+)"', page.read_text())
    broken = [target for target in targets if ":" not in target and not (page.parent / target).exists()]
    assert broken == []


@pytest.mark.parametrize("page", [page for page in PAGES if page.parent != ROOT], ids=lambda page: str(page.relative_to(ROOT)))
def test_each_page_is_linked(page: Path) -> None:
    """Another page has a link to it, so that a reader finds it."""
    others = [other for other in PAGES if other != page]
    links = {(other.parent / link).resolve() for other in others for link in re.findall(r"\]\(([^)#:\s]+)", other.read_text())}
    assert page.resolve() in links


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_anchors_are_headings(page: Path) -> None:
    """The part of a link after # is a heading of the page that it leads to."""
    links = re.findall(r"\]\(([^)#\s:]*)#([^)\s]+)\)", page.read_text())
    assert [link for link in links if link[1] not in anchors((page.parent / link[0]) if link[0] else page)] == []


def anchors(page: Path) -> set[str]:
    """The headings of a page as GitHub links to them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


def test_recipes_page_is_current() -> None:
    """Its tables are those of the catalogues: `python -m training list --markdown docs/RECIPES.md` writes them."""
    page = (ROOT / "docs/RECIPES.md").read_text()
    assert fill(page) == page


def test_readme_shows_the_tree() -> None:
    """Every folder at the top, and every package of both programs, has its place in the README's tree."""
    tree = (ROOT / "README.md").read_text().partition("## The tree")[2]
    packages = [path.parent.name for program in ("training", "serving") for path in (ROOT / program).glob("*/__init__.py")]
    folders = ["contract", "training", "serving", "tests", "docs", "deploy", "benchmarks", *packages]
    assert [folder for folder in folders if f"{folder}/" not in tree] == []
