"""What a recovery would meet, counted in a dry run: newer rows, rows that are gone, rows without a parent.

It is counted without locks, so somebody may change it a moment later; the recovery itself counts again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pglast

from worker.commands.obstacles import inside, place
from worker.objects import column
from worker.objects.keeping import quoted
from worker.objects.newer_rows import Meeting
from worker.registry import Kept
from worker.target import Session


@dataclass(frozen=True)
class Foreseen:
    """Rows that would not simply come back."""

    object: str
    count: int
    #: What they are, and what becomes of them.
    what: str


def foresee(session: Session, kept: Sequence[Kept], meetings: Iterable[tuple[str, Meeting]]) -> tuple[Foreseen, ...]:
    """Count what a recovery would meet.

    Args:
        session: In the target, in a transaction that reads.
        kept: What would come back.
        meetings: Rows that would meet newer ones, each with the name of what they belong to.
    """
    found = [_of_meeting(session, name, meeting) for name, meeting in meetings]
    for each in kept:
        facts = each.definition["facts"]
        if facts.get("brings_values") and facts.get("column") and facts.get("key"):
            found += _of_column(session, each)
        if facts.get("constraint") == "f" and facts.get("validates"):
            found += _of_key(session, each, kept)
    return tuple(each for each in found if each.count)


def _of_meeting(session: Session, name: str, meeting: Meeting) -> Foreseen:
    what = "preserved row(s) meet newer ones, or what they belong to is gone: the policy decides"
    return Foreseen(name, meeting.foreseen(session), what)


def _of_column(session: Session, kept: Kept) -> list[Foreseen]:
    facts = kept.definition["facts"]
    if not _has(session, facts["table"], facts["key"]):
        return []
    label = f"{kept.kind} {kept.name}"
    gone = column.rows_gone(session, facts["table"], inside(kept), facts["key"])
    new = column.rows_since(session, facts["table"], inside(kept), facts["key"])
    return [
        Foreseen(label, gone, "row(s) are gone since: their values stay in quarantine"),
        Foreseen(label, new, "row(s) were added since: they get the default"),
    ]


def _has(session: Session, table: str, columns: Sequence[str]) -> bool:
    return {*columns} <= {row["name"] for row in column.of_table(session, table)}


def _of_key(session: Session, kept: Kept, all_kept: Sequence[Kept]) -> list[Foreseen]:
    """Count the rows of a table that comes back, or stayed, which a foreign key would find without a parent."""
    relation, _name = kept.definition["facts"]["validates"]
    child = session.value("SELECT oid::regclass::text FROM pg_class WHERE oid = %s", (relation,))
    statement: Any = pglast.parse_sql(kept.definition["restore"][0])[0].stmt
    key = statement.cmds[0].def_
    columns, parents = ([str(name.sval) for name in names] for names in (key.fk_attrs, key.pk_attrs))
    parent = _place_of(session, quoted(key.pktable.schemaname, key.pktable.relname), all_kept)
    if child is None or parent is None or not _has(session, child, columns) or not _has(session, parent, parents):
        return []
    whole = " AND ".join(f"child.{quoted(name)} IS NOT NULL" for name in columns)
    pairs = zip(columns, parents, strict=True)
    same = " AND ".join(f"child.{quoted(own)} = parent.{quoted(other)}" for own, other in pairs)
    orphans = session.value(
        f"SELECT count(*) FROM {child} AS child WHERE {whole}"
        f" AND NOT EXISTS (SELECT FROM {parent} AS parent WHERE {same})"
    )
    what = "row(s) refer to nothing"
    moved = any(each.how == "moved" and each.address.objid == relation for each in all_kept)
    what += ": they are set aside in quarantine" if moved else ": the key stays NOT VALID"
    return [Foreseen(f"{kept.kind} {kept.name}", orphans, what)]


def _place_of(session: Session, table: str, kept: Sequence[Kept]) -> str | None:
    """Return where a table is now: in quarantine if it comes back, too."""
    for each in kept:
        facts = each.definition["facts"]
        if each.how == "moved" and each.kind == "table" and quoted(facts["schema"], facts["name"]) == table:
            return place(each)
    there: str | None = session.value("SELECT to_regclass(%s)::text", (table,))
    return there
