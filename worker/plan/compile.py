"""From the impact to exact statements, in the order in which they can be run and, reversed, undone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace

from ledger.errors import PlanRefused
from worker.objects import (
    altered,
    column,
    constraint,
    definition,
    domain,
    family,
    function,
    index,
    inheritance,
    matview,
    needs,
    partition,
    refreshed,
    retyped,
    rows,
    schema,
    sequence,
    table,
    view,
)
from worker.objects import range as range_
from worker.objects import type as type_
from worker.objects.keeping import Action, Address, Item, Keeping, Permits, merge
from worker.objects.quarantine import Quarantine
from worker.objects.row_events import Watched
from worker.plan.impact import Impact
from worker.plan.names import relation, resolve
from worker.plan.order import in_order
from worker.plan.performed import Alteration, Performed
from worker.plan.preserves import runs_code
from worker.plan.stages import Foreseen
from worker.plan.statements import Named
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
    "view",
    "pg_proc",
    "pg_type",
    "pg_namespace",
)

_KEEP: dict[str, Callable[[Session, Item, Quarantine], Keeping]] = {
    "table": table.keep,
    "materialized view": table.keep,
    "partition": partition.keep,
    "inheritance": inheritance.keep,
    "index": index.keep,
    "view": view.keep,
    "domain constraint": domain.keep,
    "pg_type": type_.keep,
    "pg_proc": function.keep,
    "pg_constraint": constraint.keep,
    "pg_namespace": schema.keep,
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


def compile_removal(session: Session, impact: Impact, quarantine: Quarantine) -> tuple[Keeping, ...]:
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
    copied = impact.with_action(Action.COPIED)
    dropped = {item.address for item in copied}
    for item in impact.with_action(Action.MOVED, Action.DEFINED):
        if item.kind == "sequence":
            keepings.append(sequence.keep(session, item, quarantine, dropped))
            continue
        if item.address.catalog == "pg_type" and item.action is Action.DEFINED:
            keepings.append(range_.keep(session, item, quarantine))
            continue
        if item.kind == "materialized view" and item.action is Action.DEFINED:
            keepings.append(matview.keep(session, item, quarantine))
            continue
        keep = _KEEP.get(item.kind) or _KEEP.get(item.address.catalog) or definition.keep
        keepings.append(keep(session, item, quarantine))
    for item in copied:
        columns[item.address.objid].append(item)
    for items in columns.values():
        keepings.extend(column.keep(session, items, quarantine))
    return in_order(needs.noted(session, keepings), impact.order, _rank)


def _refuse_beyond(session: Session, items: Sequence[Item]) -> None:
    catalogs = [f"pg_catalog.{item.address.catalog}" for item in items]
    oids = [item.address.objid for item in items]
    found = session.row(_BEYOND, {"catalogs": catalogs, "oids": oids})
    if found is not None:
        label = items[found["place"] - 1].label()
        raise PlanRefused(f"{label} {found['reason']}, which would not come back; it is left alone")


def compile_performed(
    session: Session, performed: Performed, quarantine: Quarantine, foreseen: Foreseen | None = None
) -> tuple[Keeping, ...]:
    """Say how everything that a statement changes is kept while it is run as it is written.

    Args:
        session: In the target, before the statement.
        performed: The statement.
        quarantine: Where values go that it converts.
        foreseen: Where the script changes names before, leads them back to what they are now.

    Raises:
        PlanRefused: It names what does not exist.
    """
    keepings: list[Keeping] = []
    for alteration in performed.alterations:
        named = alteration.named if foreseen is None else foreseen.led_back(alteration.named)
        if named is None:
            continue
        address = resolve(session, named)
        if address is None:
            if named.missing_ok or named.table_missing_ok:
                continue
            raise PlanRefused(f"{alteration.named} does not exist", line=performed.line)
        keepings.append(_keep_altered(session, alteration, address, quarantine, performed.line))
    return needs.noted(session, keepings)


def _keep_altered(
    session: Session, alteration: Alteration, address: Address, quarantine: Quarantine, line: int
) -> Keeping:
    match alteration.what:
        case "type":
            settings = altered.settings_of(session, address)
            return retyped.keep(session, retyped.Retyping(address, alteration.detail, settings, line), quarantine)
        case "expression":
            return retyped.keep_expression(session, address, line)
        case "contents":
            return refreshed.keep(session, address, quarantine, line)
    return altered.keep(session, alteration.what, address, alteration.detail, line)


def watched_tables(
    session: Session,
    performed: Performed,
    stage: int,
    foreseen: Foreseen | None = None,
    *,
    preserved: frozenset[int] = frozenset(),
    rewritten: Collection[int] = (),
) -> list[Watched]:
    """Return the tables whose rows a statement may change.

    Args:
        session: In the target, before the statement.
        performed: The statement.
        stage: Which of the script's stages it is.
        foreseen: Where the script changes names before, leads them back to what they are now.
        preserved: Tables that the plan says code of its statements may change, as OIDs.
        rewritten: Tables with new files since earlier statements: neither counters nor files would tell of a TRUNCATE,
            so whatever runs code of the application's is watched there too.

    Raises:
        PlanRefused: A table that it writes does not exist.
    """
    tables = set(rows.mentioned(session, performed.text)) if performed.opaque else set[int]()
    for name in performed.writes:
        named = Named("table", name)
        led_back = named if foreseen is None else foreseen.led_back(named)
        if led_back is None:
            continue
        oid = relation(session, led_back.name)
        if oid is None:
            raise PlanRefused(f"{named} does not exist", line=performed.line)
        tables.add(oid)
    if performed.cascades:
        tables.update(rows.cascaded(session, tables))
    if runs_code(performed):
        tables |= preserved
        tables.update(rewritten)
    return rows.reach(session, tables, performed.line, stage) if tables else []


def rewritten_tables(
    session: Session, performed: Performed, keepings: Sequence[Keeping], watched: Sequence[Watched]
) -> frozenset[int]:
    """Return the tables, as OIDs, that may have new files when a statement has run."""
    named = {oid for name in performed.rewrites if (oid := relation(session, name)) is not None}
    retyped_ones = {keeping.item.address.objid for keeping in keepings if keeping.facts.get("retyped")}
    emptied = {table.oid for table in watched} if performed.truncates or performed.opaque else set[int]()
    return frozenset(named | retyped_ones | emptied)


def files(session: Session, performed: Performed, watched: Sequence[Watched]) -> Permits:
    """Return the catalog rows that change when a statement gives tables new files: it empties them, or rewrites them.

    What is opaque may empty a table too. Its rows were handed over if the triggers that do it are as they were made,
    which is seen to when it has run.
    """
    emptied = rows.truncated(session, watched) if performed.truncates or performed.opaque else {}
    tables = (relation(session, name) for name in performed.rewrites)
    return merge([emptied, *(column.rewritten(session, oid) for oid in tables if oid is not None)])


def sequence_positions(session: Session, performed: Performed, watched: Sequence[Watched]) -> tuple[Keeping, ...]:
    """Say how the positions of sequences are kept that a statement may set."""
    found = set(rows.sequences(session, performed.text)) if performed.opaque else set[int]()
    if performed.restarts or (performed.opaque and rows.sets_positions(session, performed.text)):
        found.update(rows.owned_sequences(session, watched))
    addresses = [Address("pg_class", oid) for oid in sorted(found)]
    keepings = (altered.keep(session, "sequence", address, "", performed.line) for address in addresses)
    if not performed.opaque:
        return tuple(keepings)
    # setval takes no heed of transactions, unless the sequence has a new file that goes when the run is taken back.
    return tuple(replace(keeping, remove=keeping.restore[:1]) for keeping in keepings)


def table_locks(session: Session, performed: Performed, foreseen: Foreseen | None = None) -> dict[int, str]:
    """Return the tables that a statement locks, by OID, with the mode."""
    found: dict[int, str] = {}
    for lock in performed.locks:
        named = Named("table", lock.name)
        led_back = named if foreseen is None else foreseen.led_back(named)
        oid = None if led_back is None else relation(session, led_back.name)
        # What is said to a partitioned table goes to its partitions, too.
        for each in set[int]() if oid is None else family.with_partitions(session, {oid}):
            found[each] = stronger(found.get(each, lock.mode), lock.mode)
    return found


#: Modes of a table lock, from weak to strong.
_MODES = (
    "ACCESS SHARE",
    "ROW SHARE",
    "ROW EXCLUSIVE",
    "SHARE UPDATE EXCLUSIVE",
    "SHARE",
    "SHARE ROW EXCLUSIVE",
    "EXCLUSIVE",
    "ACCESS EXCLUSIVE",
)


def stronger(one: str, other: str) -> str:
    """Return the stronger of two modes of a table lock."""
    return max(one, other, key=_MODES.index)


def _rank(keeping: Keeping) -> tuple[int, int]:
    """Rank by kind; of types the newer first, since they may be made of older ones, and are named by them."""
    item = keeping.item
    kind = item.address.catalog
    if kind == "pg_constraint":
        kind = {"f": "foreign key", "n": "not null"}.get(str(keeping.facts["constraint"]), "constraint")
    elif kind == "pg_class":
        kind = "column" if item.address.subid else item.kind
        kind = "identity" if kind == "sequence" and item.action is Action.DEFINED else kind
    return _RANKS.index(kind), -item.address.objid if kind == "pg_type" else 0
