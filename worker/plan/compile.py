"""From the impact to exact statements, in the order in which they can be run and, reversed, undone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

from worker.objects import column, constraint, definition, index, inheritance, partition, schema, sequence, table
from worker.objects import range as range_
from worker.objects import type as type_
from worker.objects.keeping import Action, Item, Keeping
from worker.objects.quarantine import Quarantine
from worker.plan.impact import Impact
from worker.target import Session

#: What goes first: whatever hangs on something else. Recovery runs the other way round.
_ORDER = (
    "pg_publication_rel",
    "pg_trigger",
    "pg_rewrite",
    "pg_policy",
    "foreign key",
    "pg_statistic_ext",
    "index",
    "constraint",
    # NOT NULL belongs to an identity, so that goes first.
    "identity",
    "not null",
    "pg_attrdef",
    "column",
    # Columns let go of their sequences, and their defaults need them back.
    "sequence",
    # While all tables have their names, so that these may move in any order.
    "pg_inherits",
    "table",
    "materialized view",
    "pg_type",
    "pg_namespace",
)

_KEEP: dict[str, Callable[[Session, Item, Quarantine], Keeping]] = {
    "table": table.keep,
    "materialized view": table.keep,
    "partition": partition.keep,
    "inheritance": inheritance.keep,
    "index": index.keep,
    "pg_type": type_.keep,
    "pg_constraint": constraint.keep,
    "pg_namespace": schema.keep,
}


def compile_plan(session: Session, impact: Impact, quarantine: Quarantine) -> tuple[Keeping, ...]:
    """Say how every object of the impact is kept, in the order of removal.

    Args:
        session: In the transaction that computed the impact.
        impact: What the plan reaches.
        quarantine: Names the schemas that will be needed.
    """
    keepings: list[Keeping] = []
    columns: dict[int, list[Item]] = defaultdict(list)
    copied = impact.with_action(Action.COPIED)
    dropped = {item.address for item in copied}
    for item in impact.with_action(Action.MOVED, Action.DEFINED):
        if item.kind == "sequence":
            keepings.append(sequence.keep(session, item, quarantine, dropped))
            continue
        if item.address.catalog == "pg_type" and item.action is Action.DEFINED:
            keepings.append(range_.keep(session, item, quarantine))
            continue
        keep = _KEEP.get(item.kind) or _KEEP.get(item.address.catalog) or definition.keep
        keepings.append(keep(session, item, quarantine))
    for item in copied:
        columns[item.address.objid].append(item)
    for items in columns.values():
        keepings.extend(column.keep(session, items, quarantine))
    return tuple(sorted(keepings, key=_rank))


def _rank(keeping: Keeping) -> tuple[int, int]:
    """Rank by kind; of types the newer first, since they may be made of older ones, and are named by them."""
    item = keeping.item
    kind = item.address.catalog
    if kind == "pg_constraint":
        kind = {"f": "foreign key", "n": "not null"}.get(str(keeping.facts["constraint"]), "constraint")
    elif kind == "pg_class":
        kind = "column" if item.address.subid else item.kind
        kind = "identity" if kind == "sequence" and item.action is Action.DEFINED else kind
    return _ORDER.index(kind), -item.address.objid if kind == "pg_type" else 0
