"""Where alerts go and what a page says, asked of amtool."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from tests.alerts import DASHBOARDS, MONITOR, load, rules
from tests.fix_tools import Tool

_FOLDER = DASHBOARDS / "alertmanager"
_CONFIG = _FOLDER / "alertmanager.yml"

_RECEIVERS = {"critical": "stepback-page", "warning": "stepback-notice"}

_ROUTES = [
    *((name, severity, "stepback-monitor", _RECEIVERS[severity]) for name, severity in MONITOR.items()),
    *sorted(
        {
            (rule.name, rule.severity, "prometheus", _RECEIVERS.get(rule.severity, "stepback-dead-man"))
            for rule in rules()
        }
    ),
]

_RUN = {
    "environment": "production",
    "installation": "i1",
    "kind": "rollback",
    "migration": "add_health_alerts",
    "run": "7",
    "target": "shop",
}


def test_the_configuration_is_valid(amtool: Tool) -> None:
    """Alertmanager would start with it, templates included."""
    said = amtool.run("check-config", _CONFIG)

    assert "1 templates" in said


def test_the_receivers_that_the_readme_shows_are_valid(amtool: Tool, tmp_path: Path) -> None:
    """Put in the place of the placeholders, they make a configuration that Alertmanager takes."""
    (shown,) = re.findall(
        r"^```yaml\n(.*?)^```$", (DASHBOARDS / "README.md").read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )
    configuration = {**load(_CONFIG), **yaml.safe_load(shown), "templates": [f"{_FOLDER}/templates/*.tmpl"]}
    path = tmp_path / "alertmanager.yml"
    path.write_text(yaml.safe_dump(configuration), encoding="utf-8")

    said = amtool.run("check-config", path)

    assert "3 receivers" in said


@pytest.mark.parametrize(("name", "severity", "source", "receiver"), _ROUTES)
def test_every_alert_goes_where_its_severity_says(
    amtool: Tool, name: str, severity: str, source: str, receiver: str
) -> None:
    """Critical pages, a warning is a notice, the Watchdog goes to the dead man's switch; each to one receiver."""
    labels = {**_RUN, "alertname": name, "severity": severity, "source": source}

    amtool.run(
        "config",
        "routes",
        "test",
        f"--config.file={_CONFIG}",
        f"--verify.receivers={receiver}",
        *(f"{key}={value}" for key, value in labels.items()),
    )


@pytest.mark.parametrize("severity", ["", "critcal", "none"])
def test_a_severity_that_nobody_foresaw_pages(amtool: Tool, severity: str) -> None:
    """An alert that says something else than it should is not lost."""
    labels = ["alertname=StepbackRunStuck", *([f"severity={severity}"] if severity else [])]

    amtool.run("config", "routes", "test", f"--config.file={_CONFIG}", "--verify.receivers=stepback-page", *labels)


def _render(amtool: Tool, template: str, data: Path) -> str:
    return amtool.run(
        "template",
        "render",
        f"--template.glob={_FOLDER}/templates/*.tmpl",
        f"--template.data={data}",
        "--template.type=text",
        f'--template.text={{{{ template "{template}" . }}}}',
    )


def _notification(path: Path, status: str, labels: dict[str, str], annotations: dict[str, str]) -> Path:
    alert = {
        "status": status,
        "labels": labels,
        "annotations": annotations,
        "startsAt": "2026-03-01T02:14:05Z",
        "endsAt": "0001-01-01T00:00:00Z",
    }
    data = {"receiver": "stepback-page", "status": status, "alerts": [alert], "commonLabels": labels}
    path.write_text(json.dumps(data), encoding="utf-8")
    return path


def test_a_page_says_what_to_do(amtool: Tool, tmp_path: Path) -> None:
    """Target, migration, run, what happened, since when, whom to call and the command to type next."""
    data = _notification(
        tmp_path / "data.json",
        "firing",
        {**_RUN, "alertname": "StepbackRunStuck", "severity": "critical", "source": "stepback-monitor"},
        {
            "summary": "Run 7 is stuck in apply",
            "description": "No step for 2m 5s; asked for by ada.",
            "contact": "DBA on call",
            "command": "stepback show 7",
            "runbook_url": "https://docs.example/stepback/runbook.md#stepbackrunstuck",
            "dashboard_url": "http://127.0.0.1:3000/d/stepback?var-target=shop",
        },
    )

    assert _render(amtool, "stepback.title", data).strip() == "[FIRING] StepbackRunStuck in production on shop, run 7"
    assert _render(amtool, "stepback.text", data).strip().splitlines() == [
        "Run 7 is stuck in apply",
        "No step for 2m 5s; asked for by ada.",
        "",
        "Target:    shop",
        "Migration: add_health_alerts",
        "Run:       7 (rollback)",
        "Where:     production",
        "Since:     2026-03-01 02:14:05 UTC",
        "Contact:   DBA on call",
        "Type next: stepback show 7",
        "Runbook:   https://docs.example/stepback/runbook.md#stepbackrunstuck",
        "Dashboard: http://127.0.0.1:3000/d/stepback?var-target=shop",
    ]


def test_a_resolved_page_says_so_and_asks_for_nothing(amtool: Tool, tmp_path: Path) -> None:
    """What is over needs no command; labels that are not there leave no line."""
    labels = {"alertname": "StepbackNoWorkers", "severity": "critical", "environment": "production"}
    annotations = {"summary": "No worker is alive", "command": "stepback worker"}
    data = _notification(tmp_path / "data.json", "resolved", labels, annotations)

    assert _render(amtool, "stepback.title", data).strip() == "[RESOLVED] StepbackNoWorkers in production"
    assert _render(amtool, "stepback.text", data).strip().splitlines() == [
        "RESOLVED: No worker is alive",
        "",
        "Where:     production",
        "Since:     2026-03-01 02:14:05 UTC",
    ]
