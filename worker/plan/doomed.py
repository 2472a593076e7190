"""What later statements of a script drop or change: nothing that goes before may be kept so that it holds that fast."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from worker.objects.keeping import Address
from worker.plan.names import resolve
from worker.plan.stages import Foreseen, Stage
from worker.plan.statements import Named
from worker.target import Session

#: What is dropped rather than moved.
_DROPPED = frozenset({"column", "view", "function", "procedure", "aggregate", "routine"})


def doomed_by(session: Session, stages: Sequence[Stage]) -> frozenset[Address]:
    """Return what the stages after the first of these drop or give another type, as far as it is there by now.

    Args:
        session: In the target, before the first of them.
        stages: Of the script, in order.
    """
    found: set[Address] = set()
    for place, stage in enumerate(stages[1:], start=1):
        foreseen = Foreseen(stages[:place])
        with session.resolving(stage.path):
            for named in _named(stage):
                led_back = foreseen.led_back(named)
                address = None if led_back is None else resolve(session, led_back)
                if address is not None:
                    found.add(address)
    return frozenset(found)


def _named(stage: Stage) -> Iterator[Named]:
    for removal in stage.removals:
        yield from (named for named in removal.named if named.kind in _DROPPED)
    if stage.performed is not None:
        yield from (each.named for each in stage.performed.alterations if each.what == "type")
