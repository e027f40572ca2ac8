"""A dashboard as data, and its JSON: rows of panels, each with a title, a unit and queries by legend."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from grafana_foundation_sdk.builders import dashboard as boards
from grafana_foundation_sdk.builders import heatmap, stat, table, timeseries
from grafana_foundation_sdk.builders.common import ReduceDataOptions, VizLegendOptions
from grafana_foundation_sdk.builders.prometheus import Dataquery
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import DataSourceRef, LegendDisplayMode, LegendPlacement
from grafana_foundation_sdk.models.dashboard import DashboardCursorSync, VariableRefresh, VariableSort
from grafana_foundation_sdk.models.heatmap import HeatmapColorMode
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
COLUMNS = 24
"""Width of a dashboard in Grafana's units."""
PANELS_A_ROW = 3
"""Largest number of panels in a row."""

Kind = Literal["lines", "heatmap", "number", "table"]


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One panel."""

    title: str
    queries: Mapping[str, str]
    """PromQL by legend, which may name labels, ``{{route}}``."""
    unit: str = "short"
    """As Grafana calls it: ``s``, ``bytes``, ``reqps``, ``percentunit``."""
    kind: Kind = "lines"
    description: str = ""
    low: float | None = 0
    """Lower end of the axis; None where values may be negative."""
    top: float | None = None
    """Largest possible value."""


@dataclass(frozen=True, kw_only=True)
class Board:
    """One dashboard."""

    uid: str
    title: str
    description: str
    rows: Mapping[str, Sequence[Panel]]
    """Panels by the row's title."""
    variables: Mapping[str, str]
    """The query of a variable's values, by its name; ``All`` comes first."""


Builder = timeseries.Panel | heatmap.Panel | stat.Panel | table.Panel


def to_json(board: Board) -> str:
    """The dashboard as Grafana's file provider reads it."""
    builder = (
        boards.Dashboard(board.title)
        .uid(board.uid)
        .description(board.description)
        .tags(["gan-serve"])
        .readonly()
        .refresh("5s")
        .time("now-15m", "now")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .with_variable(boards.DatasourceVariable("datasource").type("prometheus"))
    )
    for name, query in board.variables.items():
        builder = builder.with_variable(_variable(name, query))
    for title, panels in board.rows.items():
        builder = builder.with_row(boards.Row(title))
        for panel in panels:
            builder = builder.with_panel(_build(panel).span(COLUMNS // min(len(panels), PANELS_A_ROW)))
    built = builder.build()
    for number, shown in enumerate(built.panels or []):
        shown.id_val = number + 1
    return json.dumps(built, cls=JSONEncoder, indent=2, sort_keys=True) + "\n"


def _variable(name: str, query: str) -> boards.QueryVariable:
    return (
        boards.QueryVariable(name)
        .datasource(SOURCE)
        .query(query)
        .multi(True)
        .include_all(True)
        .all_value(".*")
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.ALPHABETICAL_ASC)
    )


def _build(panel: Panel) -> Builder:
    builder = _MAKERS[panel.kind](panel).title(panel.title).datasource(SOURCE).height(7)
    if panel.description:
        builder = builder.description(panel.description)
    for index, (legend, expr) in enumerate(panel.queries.items()):
        query = Dataquery().expr(expr).legend_format(legend).ref_id(chr(ord("A") + index)).datasource(SOURCE)
        if panel.kind == "heatmap":
            query = query.format(PromQueryFormat.HEATMAP)
        elif panel.kind == "table":
            query = query.format(PromQueryFormat.TABLE).instant()
        builder = builder.with_target(query)
    return builder


def _bounded(made: timeseries.Panel | stat.Panel, panel: Panel) -> Builder:
    made = made if panel.low is None else made.min(panel.low)
    return made if panel.top is None else made.max(panel.top)


def _lines(panel: Panel) -> Builder:
    legend = VizLegendOptions().display_mode(LegendDisplayMode.LIST).placement(LegendPlacement.BOTTOM).show_legend(True)
    made = timeseries.Panel().unit(panel.unit).fill_opacity(10).legend(legend)
    return _bounded(made, panel)


def _heatmap(panel: Panel) -> Builder:
    colour = heatmap.HeatmapColorOptions().mode(HeatmapColorMode.SCHEME).scheme("Spectral").steps(64)
    return heatmap.Panel().calculate(False).y_axis(heatmap.YAxisConfig().unit(panel.unit)).color(colour)


def _number(panel: Panel) -> Builder:
    made = stat.Panel().unit(panel.unit).reduce_options(ReduceDataOptions().calcs(["lastNotNull"]))
    return _bounded(made, panel)


def _table(panel: Panel) -> Builder:
    return table.Panel()


_MAKERS = {"lines": _lines, "heatmap": _heatmap, "number": _number, "table": _table}
