"""What ALTER SEQUENCE changes, and so what changes with the options of an identity column: limits, step, position."""

from __future__ import annotations

from collections.abc import Iterator

from worker.objects.aspect import one_row
from worker.objects.keeping import Address, Permits, literal
from worker.objects.subject import Subject
from worker.target import Session

_SEQUENCE = """
SELECT format_type(seqtypid, NULL) AS type, seqstart AS start, seqincrement AS increment, seqmin AS min, seqmax AS max,
       seqcache AS cache, seqcycle AS cycles FROM pg_sequence WHERE seqrelid = %s
"""


def sequence(session: Session, of: Subject, _detail: str) -> Iterator[str]:
    """Return what gives a sequence the options that it has, and lets it go on from wherever it stands furthest."""
    found = one_row(session, _SEQUENCE, of.address.objid)
    position = session.row(f"SELECT last_value, is_called FROM {of.table}")
    assert position is not None  # noqa: S101 - a sequence has one row
    yield (
        f"ALTER SEQUENCE {of.table} AS {found['type']} INCREMENT {found['increment']} MINVALUE {found['min']}"
        f" MAXVALUE {found['max']} START {found['start']} CACHE {found['cache']}"
        f" {'CYCLE' if found['cycles'] else 'NO CYCLE'}"
    )
    # If numbers were drawn since, none of them may be drawn again.
    further = "least" if found["increment"] < 0 else "greatest"
    was, called = position["last_value"], literal(str(position["is_called"]))
    yield (
        f"SELECT setval({literal(of.table)}, CASE WHEN is_called THEN {further}(last_value, {was}) ELSE {was} END,"
        f" is_called OR {called}) FROM {of.table}"
    )


def sequence_permits(address: Address) -> Permits:
    """Return the catalog row that ALTER SEQUENCE changes."""
    changed = {"seqtypid", "seqstart", "seqincrement", "seqmin", "seqmax", "seqcache", "seqcycle"}
    return {address: frozenset({"relfilenode", *changed})}
