"""What has become of preserved objects in quarantine, where nobody has business: looked at before a recovery.

Rows are read once, in preflight, without a lock that anybody would notice. What is missing of a table and was written
down is made again when it is back; what cannot be made again is told, and the recovery goes on with what there is.
"""

from __future__ import annotations

from collections.abc import Sequence

from worker import registry
from worker.commands.obstacles import inside
from worker.objects import parts
from worker.objects.keeping import Permits
from worker.registry import Kept
from worker.target import Session
from worker.work import Change


def look(session: Session, kept: Sequence[Kept]) -> list[str]:
    """Say what is damaged, one sentence for each; nothing where all is as it was put there."""
    told: list[str] = []
    for each in kept:
        for label, statement in _missing(session, each, kept):
            what = "it is made again" if statement else "it cannot be made again, and what it held is gone"
            told.append(f"damaged: {label} of {each.name} is gone from quarantine; {what}")
    # Several columns may be in one table.
    tables = {(each.quarantine, each.relation): each for each in kept if each.checksum is not None}
    for each in tables.values():
        if session.value("SELECT relforcerowsecurity FROM pg_class WHERE oid = to_regclass(%s)", (inside(each),)):
            # Its policies bind its owner, and so the worker: nobody can tell without changing the table.
            continue
        found = registry.sum_of(session, inside(each))
        if (found.rows, found.checksum) != (each.rows, each.checksum):
            told.append(
                f"damaged: {inside(each)}, which keeps {each.name}, has {found.rows:,} row(s) that are not the"
                f" {each.rows:,} that were put there; somebody has changed it since"
            )
    return told


def mended(session: Session, kept: Kept, all_kept: Sequence[Kept]) -> tuple[tuple[Change, ...], Permits]:
    """Return what makes the missing parts of a table again, once it is back, and what that explains to the proof."""
    changes = tuple(
        Change(f"make {label} of {kept.name} again", (statement,), may_be_left=True, evaluates=True)
        for label, statement in _missing(session, kept, all_kept)
        if statement
    )
    return changes, parts.permits(session, kept.address.objid) if changes else {}


def _missing(session: Session, kept: Kept, all_kept: Sequence[Kept]) -> list[tuple[str, str]]:
    if kept.how != "moved" or "parts" not in kept.definition["facts"]:
        return []
    by_itself = {each.address.objid for each in all_kept}
    return parts.missing(session, kept.address.objid, kept.definition["facts"]["parts"], by_itself)
