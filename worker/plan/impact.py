"""The impact: everything a plan removes, object by object, as the catalog knows it.

Names are resolved once, to OIDs; from there the closure finds whatever depends on what goes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ledger.canonical import canonical, sha256
from ledger.errors import NothingToRollBack, PlanRefused
from worker.objects.keeping import Action, Address, Item
from worker.plan.closure import (
    OWN_SCHEMA_PREFIX,
    Closure,
    Origin,
    follow,
    order,
    refuse_unaccepted,
    refuse_without_cascade,
)
from worker.plan.names import relation, resolve, table_exists
from worker.plan.parse import Script
from worker.plan.statements import Analyze, Named, Removal
from worker.target import Session

#: What sql/target puts beside the application's objects.
_OWN = (
    "public.migration_rollbacks",
    "public.rollback_status_monitor",
    "public.migration_rollbacks_record_writer()",
)


@dataclass(frozen=True)
class Impact:
    """What a plan reaches, in a stable order, and what it names without it being there."""

    items: tuple[Item, ...]
    absent: tuple[str, ...]
    #: Tables to ANALYZE after COMMIT, as OIDs.
    analyze: tuple[int, ...]
    #: Pairs of items: the first depends on the second, so it goes before it and comes back after it.
    order: frozenset[tuple[Address, Address]] = frozenset()

    @property
    def sha256(self) -> str:
        """Hash over kind, name, because and action: never rows, bytes or OIDs."""
        told = sorted([item.kind, item.name, item.because, item.action.value] for item in self.items)
        return sha256(canonical([list(entry) for entry in told]))

    def with_action(self, *actions: Action) -> tuple[Item, ...]:
        """Return the items of some actions, in order."""
        return tuple(item for item in self.items if item.action in actions)


@dataclass(frozen=True)
class _Root:
    item: Item
    origin: Origin


def compute(session: Session, script: Script, accepts: Sequence[str] = ()) -> Impact:
    """Compute what a script would remove.

    Args:
        session: Inside a transaction, so that the catalog does not change between two looks where that matters.
        script: The parsed plan.
        accepts: Labels of objects of others that the plan may take along.

    Raises:
        NothingToRollBack: None of the objects exists.
        PlanRefused: A name is missing without IF EXISTS, CASCADE is missing, or an object is of a kind
            that cannot be kept.
        ImpactNotAccepted: It would reach objects that it does not name.
    """
    roots, absent = _roots(session, script)
    if not roots:
        raise NothingToRollBack("none of the objects that the plan removes exists: " + ", ".join(absent))
    moved = frozenset(r.item.address.objid for r in roots if r.item.kind == "table") | _composites(session, roots)
    roots = _without_parts_of_moved(roots, moved)
    closure = Closure(
        moved,
        {root.item.address: root.item for root in roots},
        {root.item.address: root.origin for root in roots},
    )
    _refuse_shapes(session, closure.items.values())
    follow(session, closure)
    refuse_without_cascade(closure, {root.item.address for root in roots})
    refuse_unaccepted(closure, accepts)
    analyze = tuple(
        oid
        for statement in script.statements
        if isinstance(statement, Analyze)
        for name in statement.tables
        if (oid := relation(session, name)) is not None and oid not in moved
    )
    return Impact(_sized(session, closure), tuple(absent), tuple(dict.fromkeys(analyze)), order(closure))


# -- what the plan names ------------------------------------------------------


def _roots(session: Session, script: Script) -> tuple[list[_Root], list[str]]:
    roots: list[_Root] = []
    absent: list[str] = []
    missing: list[PlanRefused] = []
    for place, statement in enumerate(script.statements):
        if not isinstance(statement, Removal):
            continue
        for named in statement.named:
            address = resolve(session, named)
            if address is not None:
                roots.append(_root(session, named, address, Origin(named.cascade, statement.line, place)))
                continue
            absent.append(str(named))
            may_be = named.missing_ok
            if named.part is not None and not table_exists(session, named):
                may_be = named.table_missing_ok
            if not may_be:
                told = f"{named} does not exist; write IF EXISTS if it may be"
                missing.append(PlanRefused(told, line=statement.line))
    if roots and missing:
        raise missing[0]
    return roots, absent


def _root(session: Session, named: Named, address: Address, origin: Origin) -> _Root:
    item = _item(session, address, origin.line)
    if item.kind not in _FITTING[named.kind]:
        raise PlanRefused(f"{item.name} is a {item.kind}", line=origin.line)
    return _Root(item, origin)


#: What the catalog must call an object that a plan names as a view, an index, ...
_FITTING = {
    "table": {"table"},
    "index": {"index"},
    "type": {"type", "composite type"},
    "column": {"table column"},
    "view": {"view"},
    "function": {"function"},
    "procedure": {"procedure"},
    "aggregate": {"aggregate"},
    "routine": {"function", "procedure", "aggregate"},
    "constraint": {"table constraint"},
    "trigger": {"trigger"},
    "rule": {"rule"},
    "policy": {"policy"},
    "statistics": {"statistics object"},
}


def _item(session: Session, address: Address, line: int) -> Item:
    told = session.row(
        "SELECT type AS kind, identity AS name FROM pg_identify_object(%s::regclass, %s, %s)",
        (f"pg_catalog.{address.catalog}", address.objid, address.subid),
    )
    assert told is not None  # noqa: S101 - a set-returning function in FROM
    action = Action.COPIED if address.subid else Action.DEFINED
    if address.catalog == "pg_type" or told["kind"] == "table":
        action = Action.MOVED
    home = _home(session, address)
    return Item(address, told["kind"], told["name"], f"line {line} names it", action, relation=home)


#: The table that an object is, or belongs to.
_HOMES = {
    "pg_class": "SELECT coalesce((SELECT indrelid FROM pg_index WHERE indexrelid = c.oid), c.oid)::bigint"
    " FROM pg_class AS c WHERE oid = %s",
    "pg_constraint": "SELECT conrelid::bigint FROM pg_constraint WHERE oid = %s",
    "pg_trigger": "SELECT tgrelid::bigint FROM pg_trigger WHERE oid = %s",
    "pg_rewrite": "SELECT ev_class::bigint FROM pg_rewrite WHERE oid = %s",
    "pg_policy": "SELECT polrelid::bigint FROM pg_policy WHERE oid = %s",
    "pg_statistic_ext": "SELECT stxrelid::bigint FROM pg_statistic_ext WHERE oid = %s",
}


def _home(session: Session, address: Address) -> int | None:
    query = _HOMES.get(address.catalog)
    home: int | None = None if query is None else session.value(query, (address.objid,))
    return home


def _composites(session: Session, roots: Sequence[_Root]) -> frozenset[int]:
    """Return where composite types keep their columns: these move with them."""
    types = [r.item.address.objid for r in roots if r.item.address.catalog == "pg_type"]
    found = session.rows("SELECT typrelid::bigint FROM pg_type WHERE oid = ANY (%s::oid[]) AND typrelid <> 0", (types,))
    return frozenset(row["typrelid"] for row in found)


def _without_parts_of_moved(roots: list[_Root], moved: frozenset[int]) -> list[_Root]:
    """Leave out columns, indexes and the like of tables that move whole: they go along, or are reached anyway."""
    return [r for r in roots if r.item.kind == "table" or r.item.relation not in moved]


# -- what cannot be kept ------------------------------------------------------


def _refuse_shapes(session: Session, items: Iterable[Item]) -> None:
    """Refuse what the protocols do not cover, by name."""
    for item in items:
        reason = _unfit(session, item) or session.value(
            "SELECT 'belongs to an extension' FROM pg_depend"
            " WHERE classid = %s::regclass AND objid = %s AND deptype = 'e'",
            (f"pg_catalog.{item.address.catalog}", item.address.objid),
        )
        catalog, oid = ("pg_class", item.relation) if item.relation else (item.address.catalog, item.address.objid)
        reason = reason or session.value(
            "SELECT 'belongs to the server or to Stepback' FROM pg_identify_object(%s::regclass, %s, 0)"
            " WHERE schema IN ('pg_catalog', 'information_schema', 'pg_toast')"
            " OR starts_with(schema, %s) OR starts_with(schema, 'pg_temp') OR identity = ANY (%s)",
            (f"pg_catalog.{catalog}", oid, OWN_SCHEMA_PREFIX, list(_OWN)),
        )
        if reason is not None:
            raise PlanRefused(f"{item.label()} {reason}; it is left alone")


def _unfit(session: Session, item: Item) -> str | None:
    """Say why an object is of no shape that can be kept."""
    reason: str | None = None
    if item.address.catalog == "pg_type":
        reason = session.value(
            "SELECT CASE WHEN t.typtype NOT IN ('e', 'c') THEN 'is neither an enum nor a composite type'"
            " WHEN c.relkind <> 'c' THEN 'is the row type of a table' END"
            " FROM pg_type AS t LEFT JOIN pg_class AS c ON c.oid = t.typrelid WHERE t.oid = %s",
            (item.address.objid,),
        )
    elif item.address.catalog == "pg_constraint":
        reason = session.value(_NEEDED, (item.address.objid,))
    index = item.address.objid if item.kind == "index" else None
    of_view = item.kind in {"view", "trigger", "rule"}
    return reason or session.value(_SHAPES, {"relation": item.relation, "index": index, "of_view": of_view})


_SHAPES = """
SELECT CASE
    WHEN c.relpersistence = 't' THEN 'is temporary'
    WHEN c.relkind = 'v' AND %(of_view)s THEN NULL
    WHEN c.relkind <> 'r' THEN 'is not, or not of, an ordinary table'
    WHEN EXISTS (SELECT FROM pg_inherits WHERE inhrelid = c.oid OR inhparent = c.oid)
        THEN 'has parents, children or partitions, which is not covered yet'
    WHEN c.reloftype <> 0 THEN 'is a typed table, which is not covered yet'
    WHEN EXISTS (SELECT FROM pg_constraint WHERE conindid = %(index)s AND contype IN ('p', 'u', 'x'))
        THEN 'belongs to a constraint; a plan can only drop it with its constraint, column or table'
END
  FROM pg_class AS c
 WHERE c.oid = %(relation)s
"""

#: NOT NULL is a constraint with a name since 18; the server does not let go of it where something else implies it.
_NEEDED = """
SELECT CASE
    WHEN a.attidentity <> '' THEN 'is what an identity column needs'
    WHEN EXISTS (SELECT FROM pg_constraint AS key WHERE key.conrelid = con.conrelid AND key.contype = 'p'
                    AND a.attnum = ANY (key.conkey)) THEN 'is what the primary key needs'
END
  FROM pg_constraint AS con
  JOIN pg_attribute AS a ON a.attrelid = con.conrelid AND a.attnum = con.conkey[1]
 WHERE con.oid = %s AND con.contype = 'n'
"""


def _sized(session: Session, closure: Closure) -> tuple[Item, ...]:
    """Add rows and bytes to tables, and put the items in a stable order."""
    tables = [item.address.objid for item in closure.items.values() if item.kind == "table"]
    sizes = {
        row["oid"]: row
        for row in session.rows(
            "SELECT oid::bigint, greatest(reltuples, 0)::bigint AS rows, pg_total_relation_size(oid) AS bytes"
            " FROM pg_class WHERE oid = ANY (%s::oid[])",
            (tables,),
        )
    }
    sized = [
        Item(
            item.address,
            item.kind,
            item.name,
            item.because,
            item.action,
            rows=sizes[item.address.objid]["rows"],
            bytes=sizes[item.address.objid]["bytes"],
            relation=item.relation,
        )
        if item.kind == "table"
        else item
        for item in closure.items.values()
    ]
    return tuple(sorted(sized, key=lambda item: (item.kind, item.name)))
