"""What promtool says of configuration, rules and their tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.alerts import PROMETHEUS
from tests.fix_tools import Tool


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
