"""In which order what a rollback keeps comes back, and what has to be back before something else is compiled."""

from __future__ import annotations

from collections.abc import Sequence

from worker.objects import altered
from worker.registry import Kept


def is_created(group: Sequence[Kept]) -> bool:
    """Whether a group is of what the rollback created, which goes."""
    return any(kept.how == "created" for kept in group)


#: What may give a table its place or its name again.
_NAMING = frozenset({"moved", "changed"})


def grouped(kept: Sequence[Kept]) -> list[list[Kept]]:
    """Return what comes back in order, each group compiled when those before it are back; the first may be empty.

    Apart is what the rollback created; what has to look at the catalog as it is then; what it changed about a table
    that it moved later; and values whose table has neither its place nor its name again before.
    """
    groups: list[list[Kept]] = [[]]
    for entry in reversed(kept):
        apart = (entry.how == "created") != is_created(groups[-1]) and (groups[-1] or entry.how == "created")
        if apart or (groups[-1] and _awaits(entry, groups[-1])):
            groups.append([])
        groups[-1].append(entry)
    return groups


def _awaits(entry: Kept, group: Sequence[Kept]) -> bool:
    facts = entry.definition["facts"]
    if facts.get("brings_values") and any(other.how in _NAMING for other in group):
        return True
    of_a_moved_one = entry.how in {"copied", "changed"} and entry.address.objid in moved(group)
    return of_a_moved_one or altered.looks_again(facts)


def moved(kept: Sequence[Kept]) -> set[int]:
    """Return the relations that move back, by OID."""
    return {entry.address.objid for entry in kept if entry.how == "moved" and entry.address.catalog == "pg_class"}
