"""The rows in the target that readers look at: the registry's status, and what is preserved."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ledger.model import Kind, Preserved
from ledger.runs import Claim
from worker import fingerprint
from worker.fence import Holder, stand_behind
from worker.fingerprint import TableSum
from worker.objects.keeping import Address, Keeping, quoted
from worker.target import Row, Session


@dataclass(frozen=True)
class Kept:
    """A row of preserved_objects, as recovery reads it."""

    id: int
    #: Whose plan reached it: that of the run, or a member's.
    migration: str
    ordinal: int
    kind: str
    name: str
    how: str
    quarantine: str | None
    relation: str | None
    address: Address
    #: locks ([[name, OID]]), restore, finish, facts.
    definition: dict[str, Any]
    #: Of the table in quarantine, as they were counted; None before, or where there is none.
    rows: int | None = None
    checksum: str | None = None


def set_status(session: Session, ids: Collection[int], status: str, notes: str, run: int) -> str:
    """Change the status of registry rows, and say so; nothing to do where a plan has no row."""
    changed = session.execute(
        "UPDATE public.migration_rollbacks"
        " SET rollback_status = %(status)s::text, rollback_notes = %(notes)s, run = %(run)s, rollback_applied_at ="
        " CASE WHEN %(status)s::text = 'recovered' THEN rollback_applied_at ELSE LOCALTIMESTAMP END"
        " WHERE id = ANY (%(ids)s::integer[])",
        {"ids": list(ids), "status": status, "notes": notes, "run": run},
    )
    return f"{changed} row(s) {status}"


def leave_in_progress(session: Session, claim: Claim, notes: str) -> bool:
    """Let the registry row stop saying in_progress, if this run made it say so.

    A rollback that did not work out is `failed`; one whose recovery did not work out is `completed` still.

    Returns:
        Whether it said so.
    """
    status = "failed" if claim.command.kind is Kind.ROLLBACK else "completed"
    return (
        session.execute(
            "UPDATE public.migration_rollbacks SET rollback_status = %s, rollback_notes = %s"
            " WHERE run = %s AND rollback_status = 'in_progress'",
            (status, notes, claim.run),
        )
        > 0
    )


def ensure_row(session: Session, migration: str, rollback_sql: str, plan_sha256: str) -> int:
    """Return the registry row for a folder plan that nobody registered, made now."""
    made: int = session.value(
        "INSERT INTO public.migration_rollbacks (migration_name, rollback_sql, plan_sha256) VALUES (%s, %s, %s)"
        " RETURNING id",
        (migration, rollback_sql, plan_sha256),
    )
    return made


def preserve(
    session: Session,
    holder: Holder,
    migration: str,
    keepings: Sequence[Keeping],
    *,
    names: Mapping[int, str],
    after: int = 0,
) -> None:
    """Write down what is kept and how it comes back, in the order of removal.

    Args:
        session: Inside the transaction that removes it.
        holder: The attempt.
        migration: Whose plan reaches it: that of the run, or a member's.
        keepings: What is kept.
        names: Qualified, quoted names of the tables that are locked for it, by OID.
        after: How many objects the run has kept before these.
    """
    rows = [
        {
            "ordinal": ordinal,
            "kind": keeping.item.kind,
            "name": keeping.item.name,
            "how": keeping.item.action.value,
            "quarantine": keeping.quarantine,
            "relation": keeping.relation,
            "catalog": keeping.item.address.catalog,
            "objid": keeping.item.address.objid,
            "objsubid": keeping.item.address.subid,
            "bytes": keeping.item.bytes,
            "definition": {
                "locks": [[names[oid], oid] for oid in sorted(keeping.locks & names.keys())],
                "restore": list(keeping.restore),
                "finish": list(keeping.finish),
                "facts": dict(keeping.facts),
                "because": keeping.item.because,
            },
        }
        for ordinal, keeping in enumerate(keepings, start=after + 1)
    ]
    # One statement, since it runs under the locks.
    session.execute(
        "INSERT INTO emergency_backup.preserved_objects (installation, run, migration, ordinal, kind, name, how,"
        " quarantine, relation, catalog, objid, objsubid, definition, bytes)"
        " SELECT %s, %s, %s, ordinal, kind, name, how, quarantine, relation, catalog, objid, objsubid, definition,"
        " bytes"
        " FROM jsonb_to_recordset(%s::jsonb) AS kept (ordinal integer, kind text, name text, how text,"
        " quarantine name, relation name, catalog name, objid oid, objsubid integer, definition jsonb, bytes bigint)",
        (holder.installation, holder.run, migration, json.dumps(rows)),
    )


def preserve_later(session: Session, holder: Holder, migration: str, keeping: Keeping) -> None:
    """Write down what was made after COMMIT, unless an earlier attempt did; in a transaction of its own."""
    stand_behind(session, holder)
    known = session.row(
        "SELECT coalesce(max(ordinal), 0) AS ordinal,"
        " coalesce(bool_or(how = 'created' AND catalog = %s AND objid = %s), false) AS there"
        " FROM emergency_backup.preserved_objects WHERE installation = %s AND run = %s",
        (keeping.item.address.catalog, keeping.item.address.objid, holder.installation, holder.run),
    )
    if known is not None and not known["there"]:
        preserve(session, holder, migration, [keeping], names={}, after=known["ordinal"])


def preserve_more(session: Session, holder: Holder, migration: str, keeping: Keeping) -> None:
    """Write down what was set aside after COMMIT, in the transaction that does so."""
    last: int = session.value(
        "SELECT coalesce(max(ordinal), 0) FROM emergency_backup.preserved_objects WHERE installation = %s AND run = %s",
        (holder.installation, holder.run),
    )
    oid = keeping.item.address.objid
    name = session.value("SELECT %s::oid::regclass::text", (oid,))
    preserve(session, holder, migration, [keeping], names={oid: name}, after=last)


def bring_back(session: Session, holder: Holder, kept: int) -> None:
    """Write down that one object is back, after COMMIT, unless an earlier attempt did; in a transaction of its own."""
    with session.transaction():
        stand_behind(session, holder)
        session.execute(
            "UPDATE emergency_backup.preserved_objects SET recovered_by = %s, recovered_at = clock_timestamp()"
            " WHERE id = %s AND recovered_by IS NULL AND purged_by IS NULL",
            (holder.run, kept),
        )


def complete(session: Session, holder: Holder, ids: Collection[int]) -> str:
    """Say in the registry that all is done, where the work itself came after COMMIT; in a transaction of its own."""
    with session.transaction():
        stand_behind(session, holder)
        return set_status(session, ids, "completed", "done, statement by statement", holder.run)


def kept_by(session: Session, holder: Holder, run: int) -> list[Kept]:
    """Return what a run keeps, and nobody has brought back or deleted, in the order of removal."""
    found = session.rows(
        "SELECT id, migration, ordinal, kind, name, how, quarantine, relation, catalog, objid::bigint, objsubid,"
        " definition, rows, checksum"
        " FROM emergency_backup.preserved_objects WHERE installation = %s AND run = %s AND recovered_by IS NULL"
        " AND purged_by IS NULL ORDER BY ordinal",
        (holder.installation, run),
    )
    return [_kept(row) for row in found]


def _kept(row: Row) -> Kept:
    address = Address(row["catalog"], row["objid"], row["objsubid"])
    return Kept(
        row["id"],
        row["migration"],
        row["ordinal"],
        row["kind"],
        row["name"],
        row["how"],
        row["quarantine"],
        row["relation"],
        address,
        row["definition"],
        row["rows"],
        row["checksum"],
    )


def count(session: Session, holder: Holder, quarantine: str, relation: str) -> str:
    """Take rows, bytes and checksum of a table in quarantine, where nobody writes any more; say how many rows."""
    table = quoted(quarantine, relation)
    with session.transaction():
        total = sum_of(session, table)
        session.execute(
            "UPDATE emergency_backup.preserved_objects SET rows = %s, checksum = %s,"
            " bytes = pg_total_relation_size(to_regclass(%s))"
            " WHERE installation = %s AND run = %s AND quarantine = %s AND relation = %s",
            (total.rows, total.checksum, table, holder.installation, holder.run, quarantine, relation),
        )
    return f"{total.rows:,} row(s)"


def sum_of(session: Session, table: str) -> TableSum:
    """Take rows and checksum of a table in quarantine, whatever its policies say; inside a transaction.

    Args:
        session: In the target.
        table: Qualified and quoted.
    """
    if not session.value("SELECT relforcerowsecurity FROM pg_class WHERE oid = to_regclass(%s)", (table,)):
        return fingerprint.of_table(session, table)
    # Its policies bind its owner, and so the worker, who is a member of the owner.
    with session.taken_back():
        session.execute(f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY")
        return fingerprint.of_table(session, table)


def preserved(session: Session, holder: Holder) -> list[Preserved]:
    """Return what a run keeps, for the ledger."""
    found = session.rows(
        "SELECT kind, name, how, rows, bytes, quarantine FROM emergency_backup.preserved_objects"
        " WHERE installation = %s AND run = %s ORDER BY ordinal",
        (holder.installation, holder.run),
    )
    return [Preserved(**row) for row in found]
