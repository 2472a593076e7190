"""The Grafana dashboard is whole: panels have their place, their words and their data source."""

from __future__ import annotations

import json
from itertools import combinations
from typing import Any

import pytest

from tests.alerts import DASHBOARDS, load, recordings
from tests.metric_names import dashboard_expressions

_GRAFANA = DASHBOARDS / "grafana"
_DASHBOARD: dict[str, Any] = json.loads((_GRAFANA / "stepback.json").read_text(encoding="utf-8"))
_PANELS: list[dict[str, Any]] = [panel for panel in _DASHBOARD["panels"] if panel["type"] != "row"]


def test_the_rows_are_in_order() -> None:
    """The story is told in the order in which somebody looks."""
    rows = [panel["title"] for panel in _DASHBOARD["panels"] if panel["type"] == "row"]

    assert rows == ["Runs", "Queue and workers", "Targets and quarantine", "Audit", "Monitor"]


@pytest.mark.parametrize("panel", _PANELS, ids=lambda panel: panel["title"])
def test_every_panel_says_what_it_shows(panel: dict[str, Any]) -> None:
    """A title, a description, a unit, and queries to the data source that is chosen above."""
    assert panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert panel["targets"]
    assert {each["datasource"]["uid"] for each in [panel, *panel["targets"]]} == {"${datasource}"}


def test_panels_have_ids_and_titles_of_their_own() -> None:
    """Links to a panel go by its id."""
    panels = _DASHBOARD["panels"]

    assert len({panel["id"] for panel in panels}) == len(panels)
    assert len({panel["title"] for panel in panels}) == len(panels)


def test_no_panel_covers_another() -> None:
    """Within 24 columns, each has its place."""
    places = [panel["gridPos"] for panel in _DASHBOARD["panels"]]

    assert all(place["x"] + place["w"] <= 24 for place in places)
    for one, other in combinations(places, 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        above = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert beside or above, (one, other)


def test_its_variables_are_those_that_links_set() -> None:
    """`?var-target=` in a page opens it on that target; the uid is that of the links."""
    assert [variable["name"] for variable in _DASHBOARD["templating"]["list"]] == ["datasource", "target"]
    assert _DASHBOARD["uid"] == "stepback"


def test_every_metric_about_a_target_heeds_the_chosen_one() -> None:
    """Else a panel would show others beside it."""
    about = ("stepback_target_", "stepback_quarantine_", "stepback_incidents_", "stepback_oldest_progress_")
    expressions = [each for each in dashboard_expressions() if any(name in each for name in about)]

    assert expressions
    for expression in expressions:
        assert 'target=~"$target"' in expression or expression.startswith("label_values("), expression


def test_recorded_series_that_panels_use_are_recorded() -> None:
    """And those that are recorded for panels are used."""
    used = {name for name in recordings() if any(name in each for each in dashboard_expressions())}

    assert used == {name for name in recordings() if not name.startswith("stepback:")}


def test_the_provisioning_files_are_readable() -> None:
    """Grafana reads their first version, and finds one provider and one data source."""
    dashboards, datasources = (
        load(_GRAFANA / "provisioning" / f"{name}.yml") for name in ("dashboards", "datasources")
    )

    assert (dashboards["apiVersion"], len(dashboards["providers"])) == (1, 1)
    assert (datasources["apiVersion"], len(datasources["datasources"])) == (1, 1)
