"""Rows that a plan's own statements change: the server itself hands over each one, through triggers made for the run.

What a DELETE, an UPDATE or a function will touch cannot be read from its text. So every table in reach gets triggers
for as long as the statement runs, which write the rows as they were into a table in quarantine; the server's own
counters then tell whether any row got by.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from graphlib import CycleError, TopologicalSorter
from typing import Final

from ledger.errors import PlanRefused, WouldLoseData
from worker.objects import row_events
from worker.objects.column import rewritten
from worker.objects.keeping import Address, Item, Keeping, Permits, literal, merge, quoted
from worker.objects.row_events import EVENT, NOW, ORDER, Watched
from worker.target import Session

_TRIGGER: Final = '"stepback capture"'
_TRUNCATE: Final = '"stepback capture truncate"'


def _word(name: str) -> str:
    """Return a server's expression: the regular expression for a name as a whole word, whatever is in it."""
    return rf"('(^|\W)' || regexp_replace({name}, '(\W)', '\\\1', 'g') || '(\W|$)')"


#: From tables to all that a change of their rows may change: by cascades of foreign keys, through views and rules,
#: in the bodies of trigger functions, on partitions and children.
_REACH = f"""
WITH RECURSIVE reach (oid) AS (
    SELECT unnest(%(tables)s::oid[])
    UNION
    SELECT next.oid FROM reach CROSS JOIN LATERAL (
        SELECT conrelid AS oid FROM pg_constraint
         WHERE confrelid = reach.oid AND contype = 'f' AND (confdeltype <> 'a' OR confupdtype <> 'a')
        UNION ALL
        SELECT inhrelid FROM pg_inherits WHERE inhparent = reach.oid
        UNION ALL
        SELECT d.refobjid FROM pg_rewrite AS w
          JOIN pg_depend AS d ON d.classid = 'pg_rewrite'::regclass AND d.objid = w.oid
         WHERE w.ev_class = reach.oid AND d.refclassid = 'pg_class'::regclass
        UNION ALL
        SELECT c.oid FROM pg_trigger AS t JOIN pg_proc AS p ON p.oid = t.tgfoid
          JOIN pg_class AS c ON c.relkind IN ('r', 'p', 'v') AND p.prosrc ~* {_word("c.relname")}
         WHERE t.tgrelid = reach.oid AND NOT t.tgisinternal
           AND NOT starts_with(p.pronamespace::regnamespace::text, 'emergency_backup')
    ) AS next
)
SELECT DISTINCT c.oid::bigint, n.nspname AS schema, c.relname AS name, c.oid::regclass::text AS identity,
       c.relkind::text AS relkind,
       c.relforcerowsecurity AS forced,
       ARRAY(SELECT attname::text FROM pg_attribute
              WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped AND attgenerated = ''
              ORDER BY attnum) AS columns,
       ARRAY(SELECT attname::text FROM pg_attribute WHERE attrelid = c.oid AND attidentity = 'a') AS fixed,
       ARRAY(SELECT a.attname::text FROM pg_constraint AS f JOIN pg_attribute AS a
                 ON a.attrelid = f.conrelid AND a.attnum = ANY (f.conkey)
              WHERE f.conrelid = c.oid AND f.contype = 'f'
                AND (f.confupdtype NOT IN ('a', 'r') OR f.confdeltype IN ('n', 'd'))) AS cascaded,
       (SELECT ARRAY(SELECT a.attname::text
                       FROM unnest(x.indkey[0:x.indnkeyatts - 1]) WITH ORDINALITY AS k (number, place)
                       JOIN pg_attribute AS a ON a.attrelid = x.indrelid AND a.attnum = k.number ORDER BY k.place)
          FROM pg_index AS x
         WHERE x.indrelid = c.oid AND x.indisunique AND x.indimmediate AND x.indisvalid
           AND x.indpred IS NULL AND x.indexprs IS NULL
           AND NOT EXISTS (SELECT FROM unnest(x.indkey[0:x.indnkeyatts - 1]) AS k (number)
                             JOIN pg_attribute AS a ON a.attrelid = x.indrelid AND a.attnum = k.number
                            WHERE NOT a.attnotnull)
         ORDER BY x.indisprimary DESC, x.indnkeyatts, x.indexrelid LIMIT 1) AS key
  FROM reach JOIN pg_class AS c ON c.oid = reach.oid JOIN pg_namespace AS n ON n.oid = c.relnamespace
 WHERE n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname NOT LIKE 'emergency\\_backup%%'
   AND c.relkind IN ('r', 'f') AND c.relpersistence <> 't'
 ORDER BY 1
"""

#: The text of a statement, of the functions that it mentions, of those that they mention, and so on.
_SAID = f"""
WITH RECURSIVE said (oid, body) AS (
    SELECT 0::oid, %(text)s::text COLLATE "C"
    UNION
    SELECT p.oid, coalesce(pg_get_function_sqlbody(p.oid), p.prosrc) COLLATE "C"
      FROM said JOIN pg_proc AS p ON said.body ~* {_word("p.proname")}
      JOIN pg_namespace AS pn ON pn.oid = p.pronamespace AND pn.nspname NOT IN ('pg_catalog', 'information_schema')
)
"""

_MENTIONED = f"""
SELECT c.oid::bigint FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
 WHERE c.relkind::text = ANY (%(kinds)s) AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
   AND n.nspname NOT LIKE 'emergency\\_backup%%'
   AND EXISTS ({_SAID} SELECT FROM said WHERE body ~* {_word("c.relname")})
"""


def mentioned(session: Session, text: str) -> list[int]:
    """Return the tables that a statement mentions, or a function that it mentions does, and so on; as OIDs."""
    return [row["oid"] for row in session.rows(_MENTIONED, {"text": text, "kinds": ["r", "p", "v"]})]


def sequences(session: Session, text: str) -> list[int]:
    """Return the sequences that a statement mentions, likewise: setval takes no heed of transactions."""
    return [row["oid"] for row in session.rows(_MENTIONED, {"text": text, "kinds": ["S"]})]


_CASCADED = """
WITH RECURSIVE emptied (oid) AS (
    SELECT unnest(%(tables)s::oid[])
    UNION
    SELECT next.oid FROM emptied CROSS JOIN LATERAL (
        SELECT conrelid AS oid FROM pg_constraint WHERE confrelid = emptied.oid AND contype = 'f'
        UNION ALL
        SELECT inhrelid FROM pg_inherits WHERE inhparent = emptied.oid
    ) AS next
)
SELECT oid::bigint FROM emptied
"""


def cascaded(session: Session, tables: Iterable[int]) -> list[int]:
    """Return every table that TRUNCATE … CASCADE of some empties, as OIDs: whatever refers to one by foreign key."""
    return [row["oid"] for row in session.rows(_CASCADED, {"tables": sorted(tables)})]


_SETS = f"SELECT EXISTS ({_SAID} SELECT FROM said WHERE body ~* '\\m(setval|restart)\\M')"


def sets_positions(session: Session, text: str) -> bool:
    """Return whether a statement sets a sequence, or a function that it mentions does, whichever it may be."""
    return bool(session.value(_SETS, {"text": text}))


#: Sequences of a partitioned table are its own, while the rows are its partitions'.
_OWNED = """
SELECT DISTINCT objid::bigint FROM pg_depend
 WHERE classid = 'pg_class'::regclass AND refclassid = 'pg_class'::regclass AND refobjid IN (
           SELECT relid FROM unnest(%s::oid[]) AS t (oid)
            CROSS JOIN LATERAL (SELECT t.oid UNION SELECT pg_partition_ancestors(t.oid)::oid) AS family (relid))
   AND deptype IN ('a', 'i') AND objid IN (SELECT seqrelid FROM pg_sequence)
"""


def owned_sequences(session: Session, tables: Sequence[Watched]) -> list[int]:
    """Return the sequences that columns of some tables own: TRUNCATE may restart them."""
    return [row["objid"] for row in session.rows(_OWNED, ([watched.oid for watched in tables],))]


def reach(session: Session, tables: Iterable[int], line: int, stage: int) -> list[Watched]:
    """Return every ordinary table whose rows may change when those of some tables do.

    Args:
        session: In the target.
        tables: Tables and views that the statement writes, as OIDs.
        line: Of the statement, for messages.
        stage: Which of the script's statements it is.

    Raises:
        PlanRefused: One is a foreign table, whose rows nobody can hand over.
    """
    found = session.rows(_REACH, {"tables": sorted(tables)})
    for row in found:
        if row["relkind"] == "f":
            raise PlanRefused(f"{row['name']} is a foreign table: its rows cannot be kept", line=line)
    return [
        Watched(
            row["oid"],
            row["schema"],
            row["name"],
            row["identity"],
            stage,
            tuple(row["columns"]),
            None if row["key"] is None else tuple(row["key"]),
            frozenset(row["fixed"]),
            tuple(row["cascaded"]),
        )
        for row in found
        # Rows without a value have nothing that could be kept; that they are gone, the proof tells.
        if row["columns"]
    ]


def item(watched: Watched, line: int) -> Item:
    """Return what the impact says of a table whose rows may change."""
    return row_events.item(watched, f"line {line} may change them")


def watch(watched: Watched, quarantine: str) -> tuple[str, ...]:
    """Return the statements after which a table hands its rows over."""
    inside, columns = watched.inside(quarantine), [quoted(name) for name in watched.columns]
    listed, old = ", ".join(columns), ", ".join(f"OLD.{name}" for name in columns)
    order = f"nextval({literal(quoted(quarantine, 'rows_order'))})"
    body = f"""
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        INSERT INTO {inside} ({ORDER}, {EVENT}, {listed})
        SELECT {order}, 'DELETE', {listed} FROM ONLY {watched.table};
    ELSIF TG_OP = 'INSERT' THEN
        INSERT INTO {inside} ({ORDER}, {EVENT}, {NOW}) VALUES ({order}, TG_OP, to_jsonb(NEW));
    ELSIF TG_OP = 'UPDATE' THEN
        INSERT INTO {inside} ({ORDER}, {EVENT}, {NOW}, {listed}) VALUES ({order}, TG_OP, to_jsonb(NEW), {old});
    ELSE
        INSERT INTO {inside} ({ORDER}, {EVENT}, {listed}) VALUES ({order}, TG_OP, {old});
    END IF;
    RETURN NULL;
END"""
    function = quoted(quarantine, f"capture_{watched.oid}")
    own = f"0::bigint AS {ORDER}, ''::text AS {EVENT}, NULL::jsonb AS {NOW}"
    options = "RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp"
    rows, table = f"AFTER INSERT OR UPDATE OR DELETE ON {watched.table} FOR EACH ROW", watched.table
    return (
        f"CREATE TABLE {inside} AS SELECT {own}, {listed} FROM ONLY {table} LIMIT 0",
        f"CREATE FUNCTION {function}() {options} AS {literal(body)}",
        f"CREATE TRIGGER {_TRIGGER} {rows} EXECUTE FUNCTION {function}()",
        f"CREATE TRIGGER {_TRUNCATE} BEFORE TRUNCATE ON {table} FOR EACH STATEMENT EXECUTE FUNCTION {function}()",
        f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {_TRIGGER}",
        f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {_TRUNCATE}",
        f"CREATE TABLE {watched.noted(quarantine)} AS {_triggers(watched)}",
    )


def _triggers(watched: Watched) -> str:
    """Return the query for where the triggers' rows lie: whoever switches one off, even for a moment, moves its row.

    Neither the server's counters nor the table's file tell of a TRUNCATE in a transaction that has rewritten the table.
    """
    told = "coalesce(string_agg(concat_ws(' ', oid, ctid, tgenabled), ',' ORDER BY oid), '') AS state"
    own = f"tgname IN ({literal(_TRIGGER.strip(chr(34)))}, {literal(_TRUNCATE.strip(chr(34)))})"
    return f"SELECT {told} FROM pg_catalog.pg_trigger WHERE tgrelid = {watched.oid} AND {own}"


def unwatch(watched: Watched, quarantine: str) -> tuple[str, ...]:
    """Return the statements that take the triggers away again."""
    # The table may be gone, or have another name: then the proof has more to say than the server.
    return (
        f"INSERT INTO {watched.noted(quarantine)} {_triggers(watched)}",
        f"DROP TRIGGER IF EXISTS {_TRIGGER} ON {watched.table}",
        f"DROP TRIGGER IF EXISTS {_TRUNCATE} ON {watched.table}",
        f"DROP FUNCTION {quoted(quarantine, f'capture_{watched.oid}')}()",
    )


def truncated(session: Session, tables: Sequence[Watched]) -> Permits:
    """Return the catalog rows that TRUNCATE changes: it gives tables new files, and sequences that it restarts."""
    files = {Address("pg_class", oid): frozenset({"relfilenode"}) for oid in owned_sequences(session, tables)}
    return merge([files, *(rewritten(session, watched.oid) for watched in tables)])


_CHANGED = """
SELECT relid::bigint AS oid, n_tup_upd + n_tup_del AS count FROM pg_stat_xact_user_tables WHERE relid = ANY (%s::oid[])
"""


def counters(session: Session, tables: Sequence[Watched]) -> dict[int, int]:
    """Return how many rows of some tables this transaction has updated or deleted so far, as the server counts."""
    return {row["oid"]: row["count"] for row in session.rows(_CHANGED, ([watched.oid for watched in tables],))}


def keep(
    session: Session, tables: Sequence[Watched], quarantine: str, before: dict[int, int], line: int
) -> list[Keeping]:
    """Say how the rows that were handed over are kept, once the statement has run.

    Args:
        session: Inside apply, after the statement.
        tables: What was watched.
        quarantine: The schema that their rows went to.
        before: What `counters` said before the statement.
        line: Of the statement.

    Returns:
        One for each table that rows of changed. They are given back last first, parents before children.

    Raises:
        WouldLoseData: Fewer rows were handed over than the server says were changed, or something kept them from it.
        PlanRefused: Rows changed in a table without a key: nobody could tell which is which.
    """
    after = counters(session, tables)
    touched: list[Watched] = []
    for watched in tables:
        events = {
            row["event"]: row["count"]
            for row in session.rows(f"SELECT {EVENT} AS event, count(*) FROM {watched.inside(quarantine)} GROUP BY 1")
        }
        if session.value(f"SELECT count(DISTINCT state) FROM {watched.noted(quarantine)}") != 1:
            raise WouldLoseData(f"line {line} meddled with the triggers that hand over the rows of {watched.identity}")
        session.execute(f"DROP TABLE {watched.noted(quarantine)}")
        changed = after.get(watched.oid, 0) - before.get(watched.oid, 0)
        if events.get("UPDATE", 0) + events.get("DELETE", 0) < changed:
            raise WouldLoseData(f"line {line} changed rows of {watched.table} that were not handed over")
        if not events:
            session.execute(f"DROP TABLE {watched.inside(quarantine)}")
            continue
        if watched.key is None and events.keys() - {"DELETE"}:
            raise PlanRefused(
                f"{watched.table} has no primary key or UNIQUE NOT NULL key, so rows that are changed or added could"
                " not be told apart when they come back; add a key first",
                line=line,
            )
        touched.append(watched)
    order = children_first(session, {watched.oid for watched in touched})
    ordered = sorted(touched, key=lambda watched: order.index(watched.oid))
    keepings = [row_events.keeping(watched, quarantine, f"line {line} may change them") for watched in ordered]
    if keepings:
        # The last is given back first: before any row comes back, those that were not there go, children first.
        undone = [statement for watched in ordered for statement in row_events.take_away(watched, quarantine)]
        keepings[-1] = _preceded(keepings[-1], undone)
    return keepings


def _preceded(keeping: Keeping, statements: Sequence[str]) -> Keeping:
    return Keeping(
        keeping.item,
        remove=(),
        restore=(*statements, *keeping.restore),
        locks=keeping.locks,
        quarantine=keeping.quarantine,
        relation=keeping.relation,
        facts=keeping.facts,
    )


def children_first(session: Session, tables: Collection[int]) -> list[int]:
    """Order tables, by OID, so that those which refer to others come before them; in a circle they are as they are."""
    parents: TopologicalSorter[int] = TopologicalSorter(dict.fromkeys(sorted(tables), ()))
    for row in session.rows(
        "SELECT DISTINCT conrelid::bigint AS child, confrelid::bigint AS parent FROM pg_constraint"
        " WHERE contype = 'f' AND conrelid <> confrelid AND conrelid = ANY (%(oids)s::oid[])"
        " AND confrelid = ANY (%(oids)s::oid[])",
        {"oids": sorted(tables)},
    ):
        parents.add(row["parent"], row["child"])
    try:
        return [*parents.static_order()]
    except CycleError:
        return sorted(tables)
