"""What partitions have of a CHECK or NOT NULL of their table, which comes and goes with that of the whole."""

from __future__ import annotations

from dataclasses import replace

from ledger.errors import PlanRefused
from worker.objects import family
from worker.objects.definition import comment
from worker.objects.family import if_still_there
from worker.objects.keeping import GONE, Address, Keeping, Permits, literal, quoted, validating
from worker.target import Row, Session


def with_partitions(session: Session, keeping: Keeping, table: int) -> Keeping:
    """Return how a CHECK or NOT NULL of a partitioned table is kept, with what partitions have of it.

    Args:
        session: In the target.
        keeping: Of the constraint of the whole.
        table: OID of the whole.

    Raises:
        PlanRefused: A partition's could not be made again exactly.
    """
    parts = family.constraints(session, keeping.item.address.objid)
    before: list[str] = []
    after: list[str] = []
    finish: list[str] = []
    permits: dict[Address, frozenset[str]] = {}
    for part in parts:
        _refuse_renamed(part, keeping)
        name, of = quoted(part["name"]), quoted(part["schema"], part["table"])
        address = Address("pg_constraint", part["oid"])
        permits[address] = GONE
        if part["number"] is not None:
            permits[Address("pg_class", part["relation"], part["number"])] = frozenset({"attnotnull"})
        if part["local"]:
            before.append(_own(of, part))
        if part["validated"] and not part["whole_validated"]:
            finish.append(validating(part["relation"], part["name"]))
        after += (if_still_there(of, told) for told in comment(session, address, f"CONSTRAINT {name} ON {of}"))
    members = frozenset(row["oid"] for row in family.members(session, table))
    return replace(
        keeping,
        restore=(*before, *keeping.restore, *after),
        finish=(*keeping.finish, *finish),
        locks=keeping.locks | members,
        alters=keeping.alters | members,
        permits={**keeping.permits, **permits},
        facts={**keeping.facts, "partitions": sorted(members - {table})},
    )


def _refuse_renamed(part: Row, keeping: Keeping) -> None:
    """NOT NULL that had another name when its table became a partition cannot get it again while it is one."""
    if part["name"] != part["whole"] and not part["local"]:
        raise PlanRefused(
            f"{keeping.item.label()} is called {part['name']} in partition {part['schema']}.{part['table']}, and no"
            " statement gives it that name again; drop it by hand"
        )


def _own(table: str, part: Row) -> str:
    """Return what makes NOT NULL that a partition has by itself too, before that of the whole joins it."""
    add = f"ALTER TABLE {table} ADD CONSTRAINT {quoted(part['name'])} {part['definition']}"
    there = f"conrelid = to_regclass({literal(table)}) AND conname = {literal(part['name'])}"
    return if_still_there(table, add, unless=f"SELECT FROM pg_catalog.pg_constraint WHERE {there}")


def joining(session: Session, column: Address) -> Permits:
    """Return what changes of NOT NULL that partitions have by themselves when that of the whole joins or leaves it."""
    found: dict[Address, frozenset[str]] = {}
    for part in [*family.columns(session, column)][1:]:
        rows = session.rows(
            "SELECT oid::bigint FROM pg_constraint WHERE conrelid = %s AND contype = 'n' AND conkey = ARRAY[%s::int2]",
            (part.objid, part.subid),
        )
        found |= {Address("pg_constraint", row["oid"]): frozenset({"coninhcount"}) for row in rows}
    return found
