"""Every alert rule says what a page needs, and has its five tests."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.alerts import PROMETHEUS, Rule, load, recordings, rules

_FIRES, _BELOW, _RESOLVES, _MISSING, _TWO = (
    "fires",
    "does not fire just below",
    "resolves",
    "series missing",
    "two at once",
)
_CASES = {_FIRES, _BELOW, _RESOLVES, _MISSING, _TWO}

#: It always fires: nothing is just below, it never resolves, and there is one of it.
_ALWAYS = "StepbackWatchdog"

_NAMES = sorted({rule.name for rule in rules()})


def _groups(name: str) -> dict[str, dict[str, Any]]:
    groups: list[dict[str, Any]] = load(PROMETHEUS / "tests" / f"{name}.yml")["tests"]
    by_name = {group["name"]: group for group in groups}
    assert len(by_name) == len(groups), "two groups have one name"
    return by_name


def _about(name: str, group: dict[str, Any]) -> list[tuple[str, list[Any]]]:
    """Return at which times a group expects which alerts to fire; whatever else it asks for is left out."""
    alerts = [(each["eval_time"], each["exp_alerts"]) for each in group.get("alert_rule_test", ())]
    assert all(each["alertname"] == name for each in group.get("alert_rule_test", ()))
    firing = f'ALERTS{{alertname="{name}", alertstate="firing"}}'
    counted = [
        (each["eval_time"], each["exp_samples"]) for each in group.get("promql_expr_test", ()) if firing in each["expr"]
    ]
    return sorted(alerts + counted, key=lambda moment: _seconds(moment[0]))


def _seconds(duration: str) -> int:
    units = {"h": 3600, "m": 60, "s": 1}
    return sum(int(number) * units[unit] for number, unit in re.findall(r"(\d+)([hms])", duration))


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: f"{rule.name}-{rule.severity}")
def test_every_rule_says_what_a_page_needs(rule: Rule) -> None:
    """Severity and source as labels; summary, description, command, runbook and dashboard as annotations."""
    assert set(rule.labels) == {"severity", "source"}
    assert rule.severity in {"critical", "warning", "none"}
    assert rule.labels["source"] == "prometheus"
    assert set(rule.annotations) == {"summary", "description", "command", "runbook_url", "dashboard_url"}
    assert rule.annotations["runbook_url"] == f"https://docs.example/stepback/runbook.md#{rule.name.lower()}"
    assert rule.annotations["dashboard_url"].startswith("http://127.0.0.1:3000/d/stepback")
    assert rule.annotations["command"].startswith("stepback ")


@pytest.mark.parametrize(
    "rule", [rule for rule in rules() if "target" in rule.annotations["summary"]], ids=lambda rule: rule.name
)
def test_rules_about_a_target_lead_to_its_dashboard(rule: Rule) -> None:
    """Where the summary names the target, the dashboard opens on it."""
    assert rule.annotations["dashboard_url"].endswith("?var-target={{ $labels.target }}")


def test_every_alert_has_a_file_of_tests_and_no_file_is_left_over() -> None:
    """dashboards/prometheus/tests has one file for each name."""
    assert sorted(path.stem for path in (PROMETHEUS / "tests").iterdir()) == _NAMES


@pytest.mark.parametrize("name", _NAMES)
def test_every_alert_has_its_five_cases(name: str) -> None:
    """Fires, does not fire just below, resolves, series missing, two at once: by the names of the groups."""
    expected = {_FIRES, _MISSING} if name == _ALWAYS else _CASES

    assert expected <= set(_groups(name))


@pytest.mark.parametrize("name", _NAMES)
def test_the_case_that_fires_sees_the_whole_alert(name: str) -> None:
    """Labels and annotations are spelled out, as somebody will read them."""
    expected = [each["exp_alerts"] for each in _groups(name)[_FIRES]["alert_rule_test"]]

    assert {"exp_labels", "exp_annotations"} == set(expected[-1][0])


@pytest.mark.parametrize("name", sorted({*_NAMES} - {_ALWAYS}))
def test_the_cases_are_what_their_names_say(name: str) -> None:
    """Just below nothing fires, what resolves fired before, and two are two."""
    groups = _groups(name)
    below, resolves, two = (_about(name, groups[case]) for case in (_BELOW, _RESOLVES, _TWO))

    assert below
    assert not any(expected for _, expected in below)
    assert [bool(expected) for _, expected in resolves] == [True, False]
    assert len(two[-1][1]) >= 2


@pytest.mark.parametrize("name", _NAMES)
def test_missing_series_are_missing(name: str) -> None:
    """The case lacks every series of the case that fires, and only what is about that fires in it."""
    groups = _groups(name)
    fires, missing = (
        {each["series"].partition("{")[0] for each in groups[case]["input_series"]} - {"stepback_collector_up"}
        for case in (_FIRES, _MISSING)
    )

    ((_, expected),) = _about(name, groups[_MISSING])

    assert not fires & missing
    assert bool(expected) == (name in {_ALWAYS, "StepbackExporterAbsent"})


def test_recorded_series_that_alerts_use_exist() -> None:
    """A rule that asks for a series that nobody records would never fire."""
    used = {name for rule in rules() for name in re.findall(r"\b\w+:[\w:]+", rule.expression)}

    assert used
    assert used <= set(recordings())
