"""The words of a page."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from worker.monitor.trouble import Alert, lasting, told


@pytest.mark.parametrize(
    ("span", "text"),
    [
        (timedelta(0), "0 s"),
        (timedelta(seconds=59), "59 s"),
        (timedelta(seconds=125), "2 min 5 s"),
        (timedelta(hours=1), "1 h"),
        (timedelta(hours=25, minutes=3), "1 d 1 h"),
        (timedelta(days=7), "7 d"),
    ],
)
def test_a_span_is_said_in_its_two_largest_units(span: timedelta, text: str) -> None:
    """A person needs no more."""
    assert lasting(span) == text


def test_a_moment_is_said_in_utc() -> None:
    """To the second."""
    assert told(datetime(2026, 11, 23, 9, 5, 7, 999, tzinfo=UTC)) == "2026-11-23 09:05:07 UTC"


def test_two_alerts_do_not_page() -> None:
    """What waits for somebody, or will be due in days, can wait until morning."""
    quiet = {alert.value for alert in Alert if alert.severity == "warning"}

    assert quiet == {"StepbackApprovalOverdue", "StepbackQuarantineExpiring"}
    assert {alert.severity for alert in Alert} == {"warning", "critical"}
