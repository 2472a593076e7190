"""Which rows were written after a moment, told by numbers that come around."""

from __future__ import annotations

import pytest

from worker.moment import Moment

_THEN = Moment(next=2**32 + 100, running=frozenset({2**32 + 90}))
_NOW = Moment(next=2**32 + 110, running=frozenset())


@pytest.mark.parametrize(
    ("xid", "before"),
    [
        pytest.param(99, True, id="over by then"),
        pytest.param(90, False, id="running then"),
        pytest.param(100, False, id="the first after it"),
        pytest.param(109, False, id="the last until now"),
        pytest.param(110, True, id="of an earlier epoch"),
        pytest.param(2**32 - 5, True, id="just before the number came around"),
        pytest.param(2, True, id="frozen"),
    ],
)
def test_what_was_over_at_a_moment(xid: int, *, before: bool) -> None:
    """What began since, or was running, is newer; everything else is old, however large its number."""
    assert _THEN.before(xid, _NOW) is before
