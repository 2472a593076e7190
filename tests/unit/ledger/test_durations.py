"""Durations: read, and written as short as they can be."""

from __future__ import annotations

from datetime import timedelta

import pytest

from ledger.durations import parse


@pytest.mark.parametrize(
    ("text", "duration"),
    [("12h", timedelta(hours=12)), ("30d", timedelta(days=30)), ("8w", timedelta(weeks=8)), ("1h", timedelta(hours=1))],
)
def test_hours_days_and_weeks(text: str, duration: timedelta) -> None:
    """A whole number and one letter."""
    assert parse(text) == duration


@pytest.mark.parametrize("text", ["", "30", "d", "0d", "01d", "-1d", "1.5d", "1 d", "1D", "1m", "1d1h", "999999d"])
def test_anything_else_is_refused_without_being_repeated(text: str) -> None:
    """The message says what is allowed."""
    with pytest.raises(ValueError, match="such as 12h, 30d or 8w") as refusal:
        parse(text)

    assert str(refusal.value).startswith("a whole number of hours, days or weeks")
