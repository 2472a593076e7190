"""Numbers as people read them."""

from __future__ import annotations

import pytest

from stepback.show import tables


@pytest.mark.parametrize(
    ("number", "told"),
    [(None, ""), (0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (21_300_000, "21.3 MB"), (5 * 10**15, "5000.0 TB")],
)
def test_size(number: int | None, told: str) -> None:
    """Bytes have the unit that keeps them short."""
    assert tables.size(number) == told


def test_count() -> None:
    """Thousands stand apart; what is not known is left empty."""
    assert (tables.count(52_800), tables.count(None)) == ("52,800", "")


def test_milliseconds() -> None:
    """Seconds become whole milliseconds."""
    assert (tables.milliseconds(0.3094), tables.milliseconds(None)) == ("309", "")
