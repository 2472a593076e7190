"""The verdict about the doors."""

from __future__ import annotations

import pytest

from benchmarks.doors import BARE, DOORS, tell

_BARE = {"bare send": [2000.0, 1000.0, 120.0], "bare insert": [100.0, 1200.0, 3000.0]}


def _rates(**doors: float) -> dict[str, list[float]]:
    return {**_BARE, "submit": [1.0] * 3, **{door: [doors.get(door, 48.0)] * 3 for door in DOORS}}


def test_every_door_is_held_against_the_slower_bare_one() -> None:
    """The median of the rounds counts: there 48 a second is 0.4 of the 120 that the slower bare way has."""
    assert set(_rates()) == {*BARE, "submit", *DOORS}
    assert tell(_rates(), 1)


@pytest.mark.parametrize("door", DOORS)
def test_one_door_that_is_too_slow_fails(door: str) -> None:
    """A little less at any of the three is not enough; submit, one by one, is only told."""
    assert not tell(_rates(**{door: 47.0}), 1)
