"""Rows of a table that is there again, and values of a column that is, are merged by key with what is there.

Nothing moves: the table in quarantine stays as it is, and its rows are copied to the newer table, column by name. So
the same run may be recovered again, or purged.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ledger.errors import Conflict
from worker.commands.obstacles import inside, place
from worker.objects import column
from worker.objects.keeping import Action, Address, Item, literal, quoted
from worker.objects.newer_rows import Meeting
from worker.objects.row_events import Watched
from worker.registry import Kept
from worker.target import Row, Session


@dataclass(frozen=True)
class Merge:
    """A table or column that is there again, and the preserved rows or values that are merged into it."""

    kept: Kept
    meeting: Meeting
    #: What brings rows or values that are in nobody's way.
    first: tuple[str, ...]
    #: What is done when all are there.
    last: tuple[str, ...] = ()
    #: Columns that the newer table does not have: their values stay in quarantine.
    without: tuple[str, ...] = ()

    @property
    def step(self) -> str:
        """What the step of the run is called."""
        return f"merge {self.kept.kind} {self.kept.name}"

    @property
    def item(self) -> Item:
        """What the impact says of it."""
        oid = self.meeting.watched.oid
        because = f"merged by {', '.join(self.meeting.watched.key or ())} with what is there again"
        return Item(Address("pg_class", oid), "rows", self.kept.name, because, Action.COPIED, relation=oid)


_TABLE = """
SELECT c.oid::bigint, n.nspname AS schema, c.relname AS name, c.relforcerowsecurity AS forced,
       c.relkind = 'r' AND NOT c.relispartition
           AND NOT EXISTS (SELECT FROM pg_inherits WHERE c.oid IN (inhrelid, inhparent)) AS is_plain
  FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE c.oid = to_regclass(%(table)s)
"""

_COLUMNS = """
SELECT a.attname::text AS name, a.atttypid::bigint AS type, format_type(a.atttypid, a.atttypmod) AS told,
       a.attgenerated = '' AS is_stored, a.attidentity = 'a' AS is_fixed, pg_get_expr(d.adbin, d.adrelid) AS "default"
  FROM pg_attribute AS a LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
 WHERE a.attrelid = to_regclass(%s) AND a.attnum > 0 AND NOT a.attisdropped
 ORDER BY a.attnum
"""


def of_table(session: Session, kept: Kept) -> Merge | None:
    """Merge a table into the newer one of its name; None if one of the two is no table by itself.

    Raises:
        Conflict: They have no key in common, or not all rows can be read.
    """
    facts = kept.definition["facts"]
    old = session.row(_TABLE, {"table": place(kept)})
    new = session.row(_TABLE, {"table": quoted(facts["schema"], facts["name"])})
    if old is None or new is None or not (old["is_plain"] and new["is_plain"]):
        return None
    if old["forced"]:
        raise Conflict(f"the rows of {kept.name} cannot be merged: its policies bind its owner too")
    known = {frozenset(key) for key in column.keys(session, old["oid"])}
    key = next((key for key in column.keys(session, new["oid"]) if frozenset(key) in known), None)
    if key is None:
        raise Conflict(
            f"{kept.name} exists again, and has no primary key or UNIQUE NOT NULL key in common with the one that is"
            " kept, so that nobody can tell which rows are the same; rename the newer one, then recover"
        )
    before = {row["name"]: row for row in session.rows(_COLUMNS, (place(kept),)) if row["is_stored"]}
    now = session.rows(_COLUMNS, (quoted(new["schema"], new["name"]),))
    both = [row for row in now if row["is_stored"] and row["name"] in before]
    watched = Watched(
        oid=new["oid"],
        schema=new["schema"],
        name=new["name"],
        identity=kept.name,
        stage=kept.ordinal,
        columns=tuple(row["name"] for row in both),
        key=key,
        fixed=frozenset(row["name"] for row in both if row["is_fixed"]),
        cascaded=tuple(row["name"] for row in now if row not in both),
    )
    listed = ", ".join(_as_now(row, before[row["name"]]) for row in both)
    source = f"(SELECT {listed} FROM ONLY {place(kept)})"
    meeting = Meeting(watched, kept.id, f"{source} AS kept", writable=_has_parents(session, watched, source))
    without = tuple(name for name in before if name not in watched.columns)
    return Merge(kept, meeting, (meeting.add(),), _sequences(session, watched), without)


def _as_now(now: Row, before: Row) -> str:
    """Return a column as the newer table has it: a type that was made anew takes values by their text."""
    name = quoted(now["name"])
    return name if now["type"] == before["type"] else f"CAST(CAST({name} AS text) AS {now['told']}) AS {name}"


_PARENTS = """
SELECT con.confrelid = con.conrelid AS is_own, n.nspname AS schema, c.relname AS name, con.confmatchtype = 'f' AS whole,
       ARRAY(SELECT attname::text FROM unnest(con.conkey) WITH ORDINALITY AS k (number, place)
               JOIN pg_attribute ON attrelid = con.conrelid AND attnum = number ORDER BY place) AS columns,
       ARRAY(SELECT attname::text FROM unnest(con.confkey) WITH ORDINALITY AS k (number, place)
               JOIN pg_attribute ON attrelid = con.confrelid AND attnum = number ORDER BY place) AS parents
  FROM pg_constraint AS con JOIN pg_class AS c ON c.oid = con.confrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace
 WHERE con.conrelid = %s AND con.contype = 'f'
"""


def _has_parents(session: Session, watched: Watched, source: str) -> str:
    """Return the condition that a preserved row breaks no foreign key of the newer table."""
    conditions = ["true"]
    for key in session.rows(_PARENTS, (watched.oid,)):
        if not {*key["columns"]} <= {*watched.columns}:
            continue
        own = [f"kept.{quoted(name)}" for name in key["columns"]]
        same = " AND ".join(f"parent.{quoted(name)} = {value}" for name, value in zip(key["parents"], own, strict=True))
        there = f"EXISTS (SELECT FROM {quoted(key['schema'], key['name'])} AS parent WHERE {same})"
        if key["is_own"]:
            there = f"({there} OR EXISTS (SELECT FROM {source} AS parent WHERE {same}))"
        empty = (" AND " if key["whole"] else " OR ").join(f"{value} IS NULL" for value in own)
        conditions.append(f"({empty} OR {there})")
    return "(" + " AND ".join(conditions) + ")"


_SEQUENCES = """
SELECT a.attname::text AS column, n.nspname AS schema, c.relname AS name
  FROM pg_depend AS d
  JOIN pg_sequence AS s ON s.seqrelid = d.objid AND s.seqincrement > 0
  JOIN pg_class AS c ON c.oid = s.seqrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace
  JOIN pg_attribute AS a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
 WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.refobjid = %s
   AND d.refobjsubid > 0 AND d.deptype IN ('a', 'i')
 ORDER BY 1
"""


def _sequences(session: Session, watched: Watched) -> tuple[str, ...]:
    """Return what lets the sequences of the newer table go on after the highest of all values."""
    found = [row for row in session.rows(_SEQUENCES, (watched.oid,)) if row["column"] in watched.columns]
    return tuple(
        f"SELECT setval({literal(quoted(row['schema'], row['name']))}, highest) FROM"
        f" (SELECT max({quoted(row['column'])})::bigint AS highest FROM ONLY {watched.table}) AS top"
        f" CROSS JOIN {quoted(row['schema'], row['name'])} AS own"
        " WHERE highest > own.last_value OR highest = own.last_value AND NOT own.is_called"
        for row in found
    )


def of_column(session: Session, kept: Kept) -> Merge:
    """Merge values into a column that is there again.

    Raises:
        Conflict: Nobody can tell which value belongs to which row, or it is a computed one now.
    """
    facts = kept.definition["facts"]
    new = session.row(_TABLE, {"table": facts["table"]})
    now = {row["name"]: row for row in session.rows(_COLUMNS, (facts["table"],))}
    before = {row["name"]: row for row in session.rows(_COLUMNS, (inside(kept),))}
    key, name = tuple(facts["key"]), facts["column"]
    if new is None or not key or not {*key, name} <= {*before} or not {*key} <= {*now} or not now[name]["is_stored"]:
        raise Conflict(
            f"column {name} of {facts['table']} exists again, and its values cannot be merged: they are kept without a"
            f" key that the table still has, or it is generated; they stay in {inside(kept)}"
        )
    watched = Watched(
        oid=new["oid"],
        schema=new["schema"],
        name=new["name"],
        identity=kept.name,
        stage=kept.ordinal,
        columns=(*key, name),
        key=key,
        fixed=frozenset(key),
        cascaded=tuple(other for other in now if other not in {*key, name}),
    )
    listed = ", ".join(_as_now(now[each], before[each]) for each in (*key, name))
    value = f"now.{quoted(name)}"
    untouched = f"({value} IS NULL OR {value} = ({now[name]['default'] or 'NULL'}))"
    source = f"(SELECT {listed} FROM ONLY {inside(kept)}) AS kept"
    meeting = Meeting(watched, kept.id, source, adds=False, untouched=untouched)
    return Merge(kept, meeting, (meeting.fill(),))


def statements(session: Session, merge: Merge, held: Sequence[str]) -> tuple[str, ...]:
    """Return the statements of a merge, between those that let nothing of the table's own interfere.

    Args:
        session: In the target.
        merge: What is merged.
        held: What brings the rows, by the policy.
    """
    off, on = column.firing(session, merge.meeting.watched.oid)
    return (*off, *held, *on, *merge.last)
