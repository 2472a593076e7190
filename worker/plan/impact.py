"""The impact: everything a plan removes, object by object, as the catalog knows it.

Names are resolved once, to OIDs; from there the closure finds whatever depends on what goes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

from ledger.canonical import canonical, sha256
from ledger.errors import ImpactNotAccepted, PlanRefused
from worker.objects.keeping import Action, Address, Item
from worker.plan.closure import Closure, Origin, follow, order, refuse_without_cascade
from worker.plan.families import cut, gather, identify, spread
from worker.plan.names import resolve, whole_exists
from worker.plan.shapes import define_ranges, define_torn, refuse_shapes, write_down
from worker.plan.stages import Foreseen
from worker.plan.statements import Named, Removal
from worker.target import Session


@dataclass(frozen=True)
class Impact:
    """What some statements remove, in a stable order, and what they name without it being there."""

    items: tuple[Item, ...]
    absent: tuple[str, ...] = ()
    #: Pairs of items: the first depends on the second, so it goes before it and comes back after it.
    order: frozenset[tuple[Address, Address]] = frozenset()
    #: Objects of others among them, which somebody must accept.
    unaccepted: tuple[Item, ...] = ()

    def with_action(self, *actions: Action) -> tuple[Item, ...]:
        """Return the items of some actions, in order."""
        return tuple(item for item in self.items if item.action in actions)


def hash_of(items: Iterable[Item]) -> str:
    """Return the hash over kind, name, because and action: never rows, bytes or OIDs."""
    told = sorted([item.kind, item.name, item.because, item.action.value] for item in items)
    return sha256(canonical([list(entry) for entry in told]))


@dataclass(frozen=True)
class _Root:
    item: Item
    origin: Origin


def compute(
    session: Session,
    removals: Sequence[Removal],
    foreseen: Foreseen | None = None,
    changed: frozenset[Address] = frozenset(),
    doomed: Collection[Address] = (),
) -> Impact:
    """Compute what some statements would remove.

    Args:
        session: Inside a transaction, so that the catalog does not change between two looks where that matters.
        removals: The statements.
        foreseen: Where the script changes names before, leads them back to what they are now.
        changed: What the script changes before.
        doomed: What the script drops or changes later, so that nothing in quarantine may go on reading it.

    Raises:
        PlanRefused: A name is missing without IF EXISTS, CASCADE is missing, or an object is of a kind
            that cannot be kept.
        ImpactNotAccepted: It would reach what can be accepted by nobody, since it could not be kept.
    """
    roots, absent = _roots(session, removals, foreseen or Foreseen(()))
    return _reach(session, roots, absent, changed, doomed)


def of_addresses(
    session: Session, addresses: Iterable[Address], because: str, changed: frozenset[Address] = frozenset()
) -> Impact:
    """Compute what taking some objects away would remove; what hangs on them goes along, others' objects refuse.

    Materialized views are written down: what they read is about to be what it was before.

    Raises:
        ImpactNotAccepted: Objects of others depend on them.
    """
    roots = [_Root(_item(session, address, because), Origin(cascade=True, line=0, place=0)) for address in addresses]
    impact = _reach(session, roots, (), changed, no_views=True)
    if impact.unaccepted:
        raise ImpactNotAccepted(", ".join(sorted(f"{item.label()} {item.because}" for item in impact.unaccepted)))
    return impact


def _reach(
    session: Session,
    roots: Sequence[_Root],
    absent: Sequence[str],
    changed: frozenset[Address],
    doomed: Collection[Address] = (),
    *,
    no_views: bool = False,
) -> Impact:
    if not roots:
        return Impact((), tuple(absent))
    closure = Closure(
        frozenset(),
        {root.item.address: root.item for root in roots},
        {root.item.address: root.origin for root in roots},
        changed,
    )
    gather(session, closure)
    _leave_out_parts_of_moved(closure)
    spread(session, closure)
    named = dict(closure.items)
    refuse_shapes(session, named.values())
    follow(session, closure)
    found = [item for address, item in closure.items.items() if address not in named]
    refuse_shapes(session, (item for item in found if item.action in {Action.MOVED, Action.COPIED}))
    define_ranges(session, closure)
    if no_views:
        for item in [item for item in closure.items.values() if item.kind == "materialized view"]:
            write_down(closure, item.address)
    define_torn(session, closure, doomed)
    refuse_without_cascade(closure, named)
    cut(session, closure)
    return Impact(_sized(session, closure), tuple(absent), order(closure), tuple(closure.unaccepted))


# -- what the plan names ------------------------------------------------------


def _roots(session: Session, removals: Sequence[Removal], foreseen: Foreseen) -> tuple[list[_Root], list[str]]:
    roots: list[_Root] = []
    absent: list[str] = []
    missing: list[PlanRefused] = []
    for place, statement in enumerate(removals):
        for written in statement.named:
            named = foreseen.led_back(written)
            if named is None:
                continue
            address = resolve(session, named)
            if address is not None:
                roots.append(_root(session, named, address, Origin(named.cascade, statement.line, place)))
                continue
            absent.append(str(written))
            may_be = named.missing_ok
            if named.part is not None and not whole_exists(session, named):
                may_be = named.table_missing_ok
            if not may_be:
                told = f"{written} does not exist; write IF EXISTS if it may be"
                missing.append(PlanRefused(told, line=statement.line))
    if roots and missing:
        raise missing[0]
    return roots, absent


def _root(session: Session, named: Named, address: Address, origin: Origin) -> _Root:
    item = _item(session, address, f"line {origin.line} names it")
    if item.kind == "sequence" and item.action is Action.DEFINED and named.kind != "identity":
        raise PlanRefused(
            f"sequence {item.name} belongs to an identity column; a plan can only drop it with its column, or with"
            " ALTER COLUMN … DROP IDENTITY; it is left alone",
            line=origin.line,
        )
    if item.kind not in _FITTING[named.kind]:
        raise PlanRefused(f"{item.name} is a {item.kind}", line=origin.line)
    if named.kind == "domain" and not _is_domain(session, address):
        raise PlanRefused(f"{item.name} is a type, but no domain; write DROP TYPE", line=origin.line)
    return _Root(item, origin)


#: What the catalog must call an object that a plan names as a view, an index, ...
_FITTING = {
    "table": {"table"},
    "materialized view": {"materialized view"},
    "sequence": {"sequence"},
    "index": {"index"},
    "type": {"type", "composite type"},
    "domain": {"type"},
    "schema": {"schema"},
    "column": {"table column"},
    "view": {"view"},
    "function": {"function"},
    "procedure": {"procedure"},
    "aggregate": {"aggregate"},
    "routine": {"function", "procedure", "aggregate"},
    "constraint": {"table constraint"},
    "identity": {"sequence"},
    "domain constraint": {"domain constraint"},
    "trigger": {"trigger"},
    "rule": {"rule"},
    "policy": {"policy"},
    "statistics": {"statistics object"},
}


def _is_domain(session: Session, address: Address) -> bool:
    return bool(session.value("SELECT typtype = 'd' FROM pg_type WHERE oid = %s", (address.objid,)))


#: Whether a sequence is that of an identity column, from which it cannot be parted.
_OF_IDENTITY = """
SELECT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = %s
                  AND refclassid = 'pg_class'::regclass AND deptype = 'i')
"""

#: What goes into quarantine whole, beside types.
_MOVING = frozenset({"table", "materialized view", "sequence"})


def _item(session: Session, address: Address, because: str) -> Item:
    item = identify(session, address, because)
    if address.subid:
        return replace(item, action=Action.COPIED)
    if item.kind == "sequence" and session.value(_OF_IDENTITY, (address.objid,)):
        return replace(item, action=Action.DEFINED)
    return item if address.catalog == "pg_type" or item.kind in _MOVING else replace(item, action=Action.DEFINED)


def _leave_out_parts_of_moved(closure: Closure) -> None:
    """Leave out columns, indexes and owned sequences of tables that move whole: they go along untouched."""
    for address, item in list(closure.items.items()):
        if item.relation in closure.moved and (address.subid or address.objid not in closure.moved):
            del closure.items[address]


#: Kinds that hold rows, as pg_identify_object says it.
_WITH_ROWS = frozenset({"table", "materialized view"})


def _sized(session: Session, closure: Closure) -> tuple[Item, ...]:
    """Add rows and bytes to tables, and put the items in a stable order."""
    tables = [item.address.objid for item in closure.items.values() if item.kind in _WITH_ROWS]
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
        if item.kind in _WITH_ROWS
        else item
        for item in closure.items.values()
    ]
    return tuple(sorted(sized, key=lambda item: (item.kind, item.name)))
