"""Limits: a second's worth at once, then at the rate; what was under way meanwhile is paid back."""

from __future__ import annotations

import pytest

from producers.gateway.limits import _MOST, Limits, of_issuer
from producers.gateway.problems import Problem


class Clock:
    """A clock that is set by hand."""

    now = 1000.0

    def __call__(self) -> float:
        """Return the seconds."""
        return self.now


@pytest.fixture
def clock() -> Clock:
    """Give a clock."""
    return Clock()


def test_a_bucket_fills_at_its_rate(clock: Clock) -> None:
    """Five at once at five a second; the next after a fifth of a second, and never more than five."""
    limits = Limits(5, clock)
    for _ in range(5):
        limits.check("a")
        limits.charge("a")

    assert limits.wait("a") == pytest.approx(0.2)
    with pytest.raises(Problem) as refused:
        limits.check("a")
    assert (refused.value.status, refused.value.headers) == (429, {"Retry-After": "1"})
    clock.now += 0.2
    assert limits.wait("a") == pytest.approx(0)
    clock.now += 3600
    for _ in range(5):
        limits.check("a")
        limits.charge("a")
    assert limits.wait("a") > 0


def test_one_harms_no_other(clock: Clock) -> None:
    """Each has a bucket; all that one key speaks for share one."""
    limits = Limits(1, clock)
    limits.charge(of_issuer("outbox:shop/billing"))

    assert limits.wait(of_issuer("outbox:shop/orders")) > 0
    assert limits.wait(of_issuer("outbox:other")) == 0


def test_a_debt_is_paid_back_and_has_an_end(clock: Clock) -> None:
    """Requests that were under way together count, up to a second's worth."""
    limits = Limits(10, clock)
    for _ in range(100):
        limits.charge("a")

    assert limits.wait("a") == pytest.approx(1.1)


def test_less_than_one_a_second_is_possible(clock: Clock) -> None:
    """One at once, then one in so many seconds."""
    limits = Limits(0.5, clock)
    limits.check("a")
    limits.charge("a")

    assert limits.wait("a") == pytest.approx(2)


def test_buckets_are_bounded(clock: Clock) -> None:
    """Whoever comes from ever other addresses fills no memory."""
    limits = Limits(1, clock)
    for number in range(_MOST + 10):
        limits.charge(str(number))

    assert len(limits._buckets) == _MOST
