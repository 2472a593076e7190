"""What promtool says of configuration, rules and their tests."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.alerts import PROMETHEUS
from tests.fix_tools import Tool
from tests.metric_names import dashboard_expressions


def test_the_configuration_is_valid(promtool: Tool) -> None:
    """Prometheus would start with it, and would find the rules beside it."""
    said = promtool.run("check", "config", PROMETHEUS / "prometheus.yml")

    assert said.count("SUCCESS") == 4
    assert "FAILED" not in said


@pytest.mark.parametrize("path", sorted(PROMETHEUS.glob("*.rules.yml")), ids=lambda path: path.name)
def test_the_rules_are_valid(promtool: Tool, path: Path) -> None:
    """No rule is there twice, and every expression and template parses."""
    promtool.run("check", "rules", "--lint-fatal", path)


@pytest.mark.parametrize("path", sorted((PROMETHEUS / "tests").glob("*.yml")), ids=lambda path: path.stem)
def test_the_rules_hold_their_tests(promtool: Tool, path: Path) -> None:
    """Each alert fires when it should and only then, and says what it should."""
    promtool.run("test", "rules", path)


def test_every_expression_of_the_dashboard_parses(promtool: Tool, tmp_path: Path) -> None:
    """With Grafana's variables filled in, Prometheus understands each."""
    expressions = [each for each in dashboard_expressions() if not each.startswith("label_values(")]
    filled = [each.replace("$__rate_interval", "1m").replace("$target", ".*") for each in expressions]
    recorded = [{"record": f"panel:{number}", "expr": each} for number, each in enumerate(filled)]
    path = tmp_path / "panels.rules.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": recorded}]}), encoding="utf-8")

    said = promtool.run("check", "rules", path)

    assert f"{len(expressions)} rules found" in said
    assert "$" not in "".join(filled)
