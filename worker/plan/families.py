"""What goes with what a plan names, since it is inside it: partitions, children, and what a schema holds.

Found before the closure, which has to know all that moves; where a family is parted, the tie is an item of its own.
"""

from __future__ import annotations

from dataclasses import replace

from ledger.errors import PlanRefused
from worker.objects import family
from worker.objects.keeping import Action, Address, Item
from worker.plan.closure import Closure
from worker.target import Session

_CHILDREN = """
SELECT i.inhrelid::bigint AS oid, c.relispartition AS partition, c.relnamespace::bigint AS schema
  FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
 WHERE i.inhparent = %s AND c.relkind IN ('r', 'p', 'f')
 ORDER BY i.inhrelid
"""

#: What stands in a schema by itself. Views, functions and rarer things are found by the closure.
_CONTENTS = """
SELECT 'pg_class' AS catalog, c.oid::bigint FROM pg_class AS c
 WHERE c.relnamespace = %(schema)s AND (c.relkind IN ('r', 'p', 'm', 'f') OR c.relkind = 'S' AND NOT EXISTS (
       SELECT FROM pg_depend AS d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
          AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')))
UNION ALL
SELECT 'pg_type', t.oid FROM pg_type AS t LEFT JOIN pg_class AS c ON c.oid = t.typrelid
 WHERE t.typnamespace = %(schema)s AND (t.typtype IN ('d', 'e', 'r') OR c.relkind = 'c')
 ORDER BY 1, 2
"""

#: The table that an object is, or belongs to.
_HOMES = {
    "pg_class": """
SELECT coalesce((SELECT indrelid FROM pg_index WHERE indexrelid = %(oid)s),
                (SELECT refobjid FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = %(oid)s
                    AND refclassid = 'pg_class'::regclass AND deptype IN ('a', 'i')
                    AND (SELECT relkind FROM pg_class WHERE oid = %(oid)s) = 'S'),
                %(oid)s)::bigint
""",
    "pg_constraint": "SELECT nullif(conrelid, 0)::bigint FROM pg_constraint WHERE oid = %(oid)s",
    "pg_trigger": "SELECT tgrelid::bigint FROM pg_trigger WHERE oid = %(oid)s",
    "pg_rewrite": "SELECT ev_class::bigint FROM pg_rewrite WHERE oid = %(oid)s",
    "pg_policy": "SELECT polrelid::bigint FROM pg_policy WHERE oid = %(oid)s",
    "pg_statistic_ext": "SELECT stxrelid::bigint FROM pg_statistic_ext WHERE oid = %(oid)s",
}

_TIES = """
SELECT c.oid::bigint AS child, c.relispartition AS partition,
       format('%%I.%%I', n.nspname, c.relname) AS name,
       string_agg(format('%%I.%%I', pn.nspname, p.relname), ', ' ORDER BY i.inhseqno) AS parents
  FROM pg_inherits AS i
  JOIN pg_class AS c ON c.oid = i.inhrelid
  JOIN pg_namespace AS n ON n.oid = c.relnamespace
  JOIN pg_class AS p ON p.oid = i.inhparent
  JOIN pg_namespace AS pn ON pn.oid = p.relnamespace
 WHERE c.oid = ANY (%(moved)s::oid[]) AND c.relkind IN ('r', 'p')
 GROUP BY c.oid, n.nspname
HAVING NOT bool_and(i.inhparent = ANY (%(moved)s::oid[]))
 ORDER BY c.oid
"""


def identify(session: Session, address: Address, because: str) -> Item:
    """Return the item that stands at an address, as something that moves."""
    told = session.row(
        "SELECT type AS kind, identity AS name FROM pg_identify_object(%s::regclass, %s, %s)",
        (f"pg_catalog.{address.catalog}", address.objid, address.subid),
    )
    assert told is not None  # noqa: S101 - a set-returning function in FROM
    query = _HOMES.get(address.catalog)
    home: int | None = None if query is None else session.value(query, {"oid": address.objid})
    return Item(address, told["kind"], told["name"], because, Action.MOVED, relation=home)


def gather(session: Session, closure: Closure) -> None:
    """Add what schemas hold, and partitions and children of tables, to what the plan names; say what moves.

    Raises:
        PlanRefused: CASCADE is missing.
    """
    schemas = [item for item in closure.items.values() if item.kind == "schema"]
    for schema in schemas:
        for row in session.rows(_CONTENTS, {"schema": schema.address.objid}):
            _add(session, closure, Address(row["catalog"], row["oid"]), schema)
    fresh = [item for item in closure.items.values() if item.kind == "table"]
    inside = {schema.address.objid for schema in schemas}
    while fresh:
        parent = fresh.pop()
        for row in session.rows(_CHILDREN, (parent.address.objid,)):
            child = _add(session, closure, Address("pg_class", row["oid"]), parent, part=row["partition"])
            if child is not None:
                fresh.append(child)
                # A partition is a part of its table: DROP TABLE takes it without CASCADE.
                if not row["partition"] and row["schema"] not in inside:
                    closure.unaccepted.append(child)
    closure.moved = _moved(session, closure)


def _add(session: Session, closure: Closure, address: Address, by: Item, *, part: bool = False) -> Item | None:
    """Add one object, unless it is there already; a partition is a part of its table, all else needs CASCADE."""
    if address in closure.items:
        return None
    origin = closure.origins[by.address]
    item = identify(session, address, f"depends on {by.label()}")
    if not part and not origin.cascade:
        raise PlanRefused(f"{item.label()} {item.because}; say CASCADE if it is meant", line=origin.line)
    closure.items[address] = item
    closure.origins[address] = origin
    return item


def _moved(session: Session, closure: Closure) -> frozenset[int]:
    """Return what moves whole: tables, materialized views, and where composite types keep their columns."""
    kinds = {"table", "materialized view"}
    whole = {item.address.objid for item in closure.items.values() if item.kind in kinds and not item.address.subid}
    types = [address.objid for address in closure.items if address.catalog == "pg_type"]
    found = session.rows("SELECT typrelid::bigint FROM pg_type WHERE oid = ANY (%s::oid[]) AND typrelid <> 0", (types,))
    return frozenset(whole | {row["typrelid"] for row in found})


def spread(session: Session, closure: Closure) -> None:
    """Let columns of partitions go with those of their tables that go, and likewise constraints that the run made."""
    for item in list(closure.items.values()):
        if item.kind == "table column":
            for part in list(family.columns(session, item.address))[1:]:
                _carry(closure, replace(identify(session, part, ""), relation=part.objid), item)
        elif item.kind == "table constraint":
            for row in family.constraints(session, item.address.objid):
                part = Address("pg_constraint", row["oid"])
                if part in closure.items:
                    _carry(closure, closure.items[part], item)


def _carry(closure: Closure, part: Item, whole: Item) -> None:
    address = part.address
    closure.items[address] = replace(part, because=f"depends on {whole.label()}", action=Action.CARRIED)
    closure.origins.setdefault(address, closure.origins[whole.address])
    closure.carriers.setdefault(address, whole.address)
    closure.edges.add((address, whole.address))


def cut(session: Session, closure: Closure) -> None:
    """Add the ties between tables that go and parents that stay: they are written down, and cut."""
    for row in session.rows(_TIES, {"moved": sorted(closure.moved)}):
        kind = "partition" if row["partition"] else "inheritance"
        address = Address("pg_inherits", row["child"])
        name = f"{row['name']} of {row['parents']}"
        because = f"depends on {closure.items[Address('pg_class', row['child'])].label()}"
        closure.items[address] = Item(address, kind, name, because, Action.DEFINED, relation=row["child"])
