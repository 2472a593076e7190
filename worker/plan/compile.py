"""From the impact to exact statements, in the order in which they can be run and, reversed, undone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence

from ledger.errors import PlanRefused
from worker.objects import column, constraint, definition, function, index, table, view
from worker.objects import type as type_
from worker.objects.keeping import Action, Item, Keeping
from worker.objects.quarantine import Quarantine
from worker.plan.impact import Impact
from worker.plan.order import in_order
from worker.target import Session

#: What goes first where nothing depends on anything: whatever hangs on something else. What may be spoken of in the
#: text of functions comes back early, since recovery runs the other way round.
_RANKS = (
    "pg_publication_rel",
    "pg_trigger",
    "pg_rewrite",
    "pg_policy",
    "foreign key",
    "pg_statistic_ext",
    "index",
    "constraint",
    "not null",
    "pg_attrdef",
    "column",
    "table",
    "view",
    "pg_proc",
    "pg_type",
)

_KEEP: dict[str, Callable[[Session, Item, Quarantine], Keeping]] = {
    "table": table.keep,
    "index": index.keep,
    "view": view.keep,
    "pg_type": type_.keep,
    "pg_proc": function.keep,
    "pg_constraint": constraint.keep,
}

#: What nothing of ours would bring back with a definition.
_BEYOND = """
SELECT a.place, 'belongs to an extension, or depends on one' AS reason
  FROM unnest(%(catalogs)s::regclass[], %(oids)s::oid[]) WITH ORDINALITY AS a (classid, objid, place)
  JOIN pg_depend AS d USING (classid, objid)
 WHERE d.deptype IN ('e', 'x')
UNION ALL
SELECT a.place, 'has a security label'
  FROM unnest(%(catalogs)s::regclass[], %(oids)s::oid[]) WITH ORDINALITY AS a (classoid, objoid, place)
  JOIN pg_seclabel AS l USING (classoid, objoid)
 ORDER BY 1
 LIMIT 1
"""


def compile_plan(session: Session, impact: Impact, quarantine: Quarantine) -> tuple[Keeping, ...]:
    """Say how every object of the impact is kept, in the order of removal.

    Args:
        session: In the transaction that computed the impact.
        impact: What the plan reaches.
        quarantine: Names the schemas that will be needed.

    Raises:
        PlanRefused: Something about an object could not be kept.
    """
    _refuse_beyond(session, impact.with_action(Action.DEFINED))
    keepings: list[Keeping] = []
    columns: dict[int, list[Item]] = defaultdict(list)
    for item in impact.with_action(Action.MOVED, Action.DEFINED):
        keep = _KEEP.get(item.kind) or _KEEP.get(item.address.catalog) or definition.keep
        keepings.append(keep(session, item, quarantine))
    for item in impact.with_action(Action.COPIED):
        columns[item.address.objid].append(item)
    for items in columns.values():
        keepings.extend(column.keep(session, items, quarantine))
    return in_order(keepings, impact.order, _rank)


def _refuse_beyond(session: Session, items: Sequence[Item]) -> None:
    catalogs = [f"pg_catalog.{item.address.catalog}" for item in items]
    oids = [item.address.objid for item in items]
    found = session.row(_BEYOND, {"catalogs": catalogs, "oids": oids})
    if found is not None:
        label = items[found["place"] - 1].label()
        raise PlanRefused(f"{label} {found['reason']}, which would not come back; it is left alone")


def _rank(keeping: Keeping) -> int:
    item = keeping.item
    kind = item.address.catalog
    if kind == "pg_constraint":
        kind = {"f": "foreign key", "n": "not null"}.get(str(keeping.facts["constraint"]), "constraint")
    elif kind == "pg_class":
        kind = "column" if item.address.subid else item.kind
    return _RANKS.index(kind)
