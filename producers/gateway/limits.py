"""How often somebody may ask: a token bucket for each issuer, and for each address without a believed signature."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from producers.gateway.problems import Problem

#: Buckets that are remembered; beyond, the one that was used longest ago starts anew.
_MOST: Final = 10_000


class Limits:
    """Buckets that hold a second's worth of requests.

    Whose signature it is turns out after the work: a bucket is looked at before, and charged when it is known whose.
    What was under way meanwhile makes a debt, paid back before anything else is taken.
    """

    def __init__(self, per_second: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_second = per_second
        self._full = max(1.0, per_second)
        self._clock = clock
        #: What a bucket held, and when.
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait(self, who: str) -> float:
        """Return for how many seconds nothing more is taken from somebody; 0: it is now."""
        return max(0.0, (1.0 - self._held(who)) / self._per_second)

    def charge(self, who: str) -> None:
        """Count a request."""
        self._buckets[who] = (max(self._held(who) - 1.0, -self._full), self._clock())
        self._buckets.move_to_end(who)
        while len(self._buckets) > _MOST:
            self._buckets.popitem(last=False)

    def check(self, who: str) -> None:
        """See that somebody may ask now.

        Raises:
            Problem: 429, with the seconds to wait.
        """
        if seconds := self.wait(who):
            raise too_many(seconds)

    def _held(self, who: str) -> float:
        held, at = self._buckets.get(who, (self._full, 0.0))
        return min(self._full, held + (self._clock() - at) * self._per_second)


def too_many(seconds: float) -> Problem:
    """Return the problem of somebody who asks too often.

    Args:
        seconds: How long to wait.
    """
    after = max(1, math.ceil(seconds))
    return Problem(
        429, "too_many_requests", f"too many requests; try again in {after} s", headers={"Retry-After": str(after)}
    )


def of_issuer(issuer: str) -> str:
    """Return the bucket of an issuer: all that one key speaks for have one together."""
    return f"issuer {issuer.split('/', 1)[0]}"


def of_address(address: str) -> str:
    """Return the bucket of an address."""
    return f"address {address}"
