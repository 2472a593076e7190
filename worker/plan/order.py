"""The order of removal: whatever depends on something goes before it. Recovery runs the other way round."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence

from ledger.errors import PlanRefused
from worker.objects.keeping import Action, Address, Keeping


def in_order(
    keepings: Sequence[Keeping],
    before: Collection[tuple[Address, Address]],
    rank: Callable[[Keeping], tuple[int, int]],
) -> tuple[Keeping, ...]:
    """Return how things are kept, in an order in which they can be removed and, reversed, brought back.

    Args:
        keepings: What is kept; columns of one table stand in their order.
        before: Pairs of which the first must go before the second.
        rank: What goes first where nothing else decides.

    Raises:
        PlanRefused: Some depend on each other in a circle.
    """
    places = {keeping.item.address: place for place, keeping in enumerate(keepings)}
    pairs = {(places[one], places[other]) for one, other in before if one in places and other in places}
    # What moves goes on serving whatever uses it, so among what moves the order does not matter.
    moved = {place for place, keeping in enumerate(keepings) if keeping.item.action is Action.MOVED}
    pairs = {(one, other) for one, other in pairs if not (one in moved and other in moved)}
    pairs |= _neighbours(keepings)
    order = _sorted(len(keepings), pairs, [rank(keeping) for keeping in keepings])
    if len(order) < len(keepings):
        stuck = sorted(keepings[place].item.label() for place in set(range(len(keepings))) - set(order))
        raise PlanRefused(f"these need each other in a circle, so none can be made again first: {', '.join(stuck)}")
    return tuple(keepings[place] for place in order)


def _neighbours(keepings: Sequence[Keeping]) -> set[tuple[int, int]]:
    """Return the pairs that hold the columns of each table in their order: the first makes the copy of all."""
    pairs: set[tuple[int, int]] = set()
    last: dict[int, int] = {}
    for place, keeping in enumerate(keepings):
        if keeping.item.action is Action.COPIED:
            table = keeping.item.address.objid
            if table in last:
                pairs.add((last[table], place))
            last[table] = place
    return pairs


def _sorted(count: int, pairs: set[tuple[int, int]], ranks: Sequence[tuple[int, int]]) -> list[int]:
    after: dict[int, list[int]] = defaultdict(list)
    waiting = [0] * count
    for one, other in pairs:
        after[one].append(other)
        waiting[other] += 1
    free = [(ranks[place], place) for place in range(count) if not waiting[place]]
    heapq.heapify(free)
    order: list[int] = []
    while free:
        _, place = heapq.heappop(free)
        order.append(place)
        for other in after[place]:
            waiting[other] -= 1
            if not waiting[other]:
                heapq.heappush(free, (ranks[other], other))
    return order
