"""Names of metrics are found in expressions, wherever they stand."""

from __future__ import annotations

import pytest

from tests import metric_names


@pytest.mark.parametrize(
    ("expression", "names"),
    [
        ("stepback_leases_lost > 0", {"stepback_leases_lost"}),
        ("rate(stepback_runs_total[5m])", {"stepback_runs_total"}),
        ("sum by (le) (rate(stepback_blocked_seconds_bucket[1h]))", {"stepback_blocked_seconds"}),
        ("stepback_blocked_seconds_sum / stepback_blocked_seconds_count", {"stepback_blocked_seconds"}),
        ('up{job="stepback-monitor", instance="stepback_not_this_one"} == 0', set()),
        ("stepback:leases_lost or kind_outcome:stepback_runs:increase1h", set()),
        ("label_values(stepback_target_up, target)", {"stepback_target_up"}),
        ("a or stepback_audit_chain_ok == 0", {"stepback_audit_chain_ok"}),
    ],
)
def test_names_are_found(expression: str, names: set[str]) -> None:
    """Names in strings and of recorded series do not count; a histogram has one name."""
    assert metric_names.used_in(expression) == names


def test_every_place_uses_metrics() -> None:
    """Nobody looks through nothing and finds that all is well."""
    for used in (metric_names.used_in_rules(), metric_names.used_in_rule_tests(), metric_names.used_in_dashboards()):
        assert len(used) > 10


def test_rule_tests_make_up_what_rules_use() -> None:
    """A test with a misspelt series tests nothing; a rule whose series no test has is not tested."""
    rates = {"stepback_runs_total", "stepback_blocked_seconds", "stepback_step_duration_seconds"}

    assert metric_names.used_in_rule_tests() == metric_names.used_in_rules() - rates
