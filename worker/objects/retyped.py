"""A column whose type is changed: its values as they were are copied, with the table's key, before the server converts.

Recovery puts them into a column of the old type beside it, and lets the server take the values from there. What was
written since the rollback is converted by its text; if that cannot be, the recovery is refused by the server and
taken back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from ledger.errors import PlanRefused
from worker.objects.column import keys, rewritten
from worker.objects.keeping import GONE, Action, Address, Item, Keeping, Permits, quoted
from worker.objects.quarantine import Quarantine
from worker.target import Row, Session

#: A column that no application has: no name of theirs holds a space.
_WAS: Final = '"stepback was"'

_COLUMN = """
SELECT n.nspname AS schema, c.relname AS table, a.attname AS name, t.typname AS plain,
       format_type(a.atttypid, a.atttypmod) AS type,
       CASE WHEN a.attcollation <> t.typcollation THEN
           (SELECT quote_ident(cn.nspname) || '.' || quote_ident(co.collname)
              FROM pg_collation AS co JOIN pg_namespace AS cn ON cn.oid = co.collnamespace
             WHERE co.oid = a.attcollation)
       END AS collation, c.relforcerowsecurity AS forced, a.attgenerated <> '' AS generated,
       EXISTS (SELECT FROM pg_inherits WHERE inhparent = c.oid OR inhrelid = c.oid) AS of_family
  FROM pg_attribute AS a
  JOIN pg_class AS c ON c.oid = a.attrelid
  JOIN pg_namespace AS n ON n.oid = c.relnamespace
  JOIN pg_type AS t ON t.oid = a.atttypid
 WHERE a.attrelid = %s AND a.attnum = %s
"""

_OF_FAMILY: Final = "is of a table with partitions, parents or children"

#: From each type those to which the server changes no value: they hold all of them, or it refuses the one that does not
#: fit; between timestamps with and without a zone the session's UTC stands still. So the way back is exact.
_LOSSLESS: Final = {
    "int2": {"int4", "int8", "numeric"},
    "int4": {"int2", "int8", "numeric"},
    "int8": {"int2", "int4", "numeric"},
    "timestamp": {"timestamptz"},
    "timestamptz": {"timestamp"},
    "varchar": {"text", "varchar"},
    "float4": {"float8"},
}

#: What the server drops and makes again itself when it changes a column's type.
_REBUILT = """
WITH about AS (
    SELECT classid, objid FROM pg_depend
     WHERE refclassid = 'pg_class'::regclass AND refobjid = %(table)s AND refobjsubid = %(number)s
), constraints AS (
    SELECT con.oid, con.conindid, con.contype FROM pg_constraint AS con
     WHERE con.oid IN (SELECT objid FROM about WHERE classid = 'pg_constraint'::regclass)
), rebuilt (catalog, oid) AS (
    SELECT 'pg_constraint' AS catalog, oid::bigint FROM constraints
    UNION ALL
    SELECT 'pg_class', conindid::bigint FROM constraints WHERE contype IN ('p', 'u', 'x')
    UNION ALL
    SELECT 'pg_trigger', t.oid::bigint FROM pg_trigger AS t JOIN constraints AS k ON t.tgconstraint = k.oid
    UNION ALL
    SELECT 'pg_class', i.indexrelid::bigint FROM pg_index AS i
     WHERE i.indrelid = %(table)s AND i.indexrelid IN (SELECT objid FROM about WHERE classid = 'pg_class'::regclass)
    UNION ALL
    SELECT 'pg_statistic_ext', objid::bigint FROM about WHERE classid = 'pg_statistic_ext'::regclass
    UNION ALL
    SELECT 'pg_attrdef', oid::bigint FROM pg_attrdef WHERE adrelid = %(table)s AND adnum = %(number)s
)
SELECT catalog, r.oid::bigint, told.identity AS name, pg_get_userbyid(s.stxowner) AS statistics_of
  FROM rebuilt AS r LEFT JOIN pg_statistic_ext AS s ON r.catalog = 'pg_statistic_ext' AND s.oid = r.oid
 CROSS JOIN LATERAL pg_identify_object(('pg_catalog.' || catalog)::regclass, r.oid, 0) AS told
"""

_CHANGED: Final = frozenset(
    {
        "atttypid",
        "atttypmod",
        "attlen",
        "attbyval",
        "attalign",
        "attndims",
        "attstorage",
        "attcompression",
        "attcollation",
        "attstattarget",
        "atthasdef",
        "atthasmissing",
        "attmissingval",
        "pg_depend",
    }
)


@dataclass(frozen=True)
class Retyping:
    """A change of a column's type."""

    address: Address
    #: Plain name of the new type; empty if an expression of the plan makes the values.
    to: str
    #: What gives the column its default and settings again, which the change takes away.
    settings: tuple[str, ...]
    #: Of the statement, in the plan.
    line: int


def keep_expression(session: Session, address: Address, line: int) -> Keeping:
    """Say how the expression of a generated column is kept; its values are computed, so that brings them back too.

    Raises:
        PlanRefused: The column is of a family of tables, each with an expression of its own.
    """
    found = session.row(_COLUMN, (address.objid, address.subid))
    assert found is not None  # noqa: S101 - the caller resolved it in this transaction
    table, name = quoted(found["schema"], found["table"]), quoted(found["name"])
    if found["of_family"]:
        raise PlanRefused(f"column {name} of {table} {_OF_FAMILY}: SET EXPRESSION is not covered there", line=line)
    expression = session.value(
        "SELECT pg_get_expr(adbin, adrelid) FROM pg_attrdef WHERE adrelid = %s AND adnum = %s",
        (address.objid, address.subid),
    )
    rebuilt = session.rows(_REBUILT, {"table": address.objid, "number": address.subid})
    return Keeping(
        _item(session, address, f"line {line} changes its expression"),
        remove=(),
        restore=(f"ALTER TABLE {table} ALTER COLUMN {name} SET EXPRESSION AS ({expression})", *_owners(rebuilt)),
        locks=frozenset({address.objid}),
        permits=_permits(session, address, rebuilt),
        facts={"table": table, "retyped": True, "rebuilt": [row["name"] for row in rebuilt]},
    )


def keep(session: Session, retyping: Retyping, quarantine: Quarantine) -> Keeping:
    """Say how the values of a column are kept while its type changes.

    Raises:
        PlanRefused: Its values could not be given back to the right rows.
    """
    address, line = retyping.address, retyping.line
    found = session.row(_COLUMN, (address.objid, address.subid))
    assert found is not None  # noqa: S101 - the caller resolved it in this transaction
    table, name = quoted(found["schema"], found["table"]), quoted(found["name"])
    if found["generated"] or found["of_family"]:
        reason = "is generated" if found["generated"] else _OF_FAMILY
        raise PlanRefused(f"column {name} of {table} {reason}: a change of its type is not covered yet", line=line)
    rebuilt = session.rows(_REBUILT, {"table": address.objid, "number": address.subid})
    keeping = Keeping(
        _item(session, address, f"line {line} changes its type"),
        remove=(),
        restore=(f"ALTER TABLE {table} ALTER COLUMN {name} TYPE {_type(found)}", *retyping.settings, *_owners(rebuilt)),
        locks=frozenset({address.objid}),
        permits=_permits(session, address, rebuilt),
        facts={"table": table, "retyped": True, "rebuilt": [row["name"] for row in rebuilt]},
    )
    if retyping.to in _LOSSLESS.get(found["plain"], ()):
        return keeping
    remaining = keys(session, address.objid, [address.subid])
    if not remaining:
        raise PlanRefused(
            f"{table} has no primary key or UNIQUE NOT NULL key beside column {name}, so the values that it has could"
            " not be given back to the right rows; add a key first",
            line=line,
        )
    return _with_values(keeping, quarantine.copies, found, remaining[0])


def _item(session: Session, address: Address, because: str) -> Item:
    told = session.value(
        "SELECT identity FROM pg_identify_object('pg_class'::regclass, %s, %s)", (address.objid, address.subid)
    )
    return Item(address, "table column", told, because, Action.CHANGED, relation=address.objid)


def _owners(rebuilt: Sequence[Row]) -> list[str]:
    """Give back what the server made again: whoever changes a column becomes the owner of its statistics."""
    return [
        f"ALTER STATISTICS {row['name']} OWNER TO {quoted(row['statistics_of'])}"
        for row in rebuilt
        if row["statistics_of"] is not None
    ]


def _type(found: Row) -> str:
    return f"{found['type']} COLLATE {found['collation']}" if found["collation"] else str(found["type"])


def _with_values(keeping: Keeping, quarantine: str, found: Row, key: Sequence[str]) -> Keeping:
    """Let one table keep the values, and another what each became, so that what was written since can be told."""
    table, name = quoted(found["schema"], found["table"]), quoted(found["name"])
    place = keeping.item.address
    relation = f"retyped_{place.objid}_{place.subid}"
    kept, became = quoted(quarantine, relation), quoted(quarantine, f"{relation}_became")
    columns = [quoted(column) for column in key]
    listed, using = ", ".join(columns), f"kept JOIN {became} AS became USING ({', '.join(columns)})"
    match = " AND ".join(f"kept.{column} = now.{column}" for column in columns)
    unchanged = f"{match} AND now.{name}::text IS NOT DISTINCT FROM became.value"
    forced = (f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY", f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
    before, after = (forced[:1], forced[1:]) if found["forced"] else ((), ())
    since = f"NOT EXISTS (SELECT FROM {kept} AS {using} WHERE {unchanged})"
    return replace(
        keeping,
        item=replace(keeping.item, action=Action.COPIED),
        remove=(*before, f"CREATE TABLE {kept} AS SELECT {listed}, {name} FROM ONLY {table}", *after),
        settle=(*before, f"CREATE TABLE {became} AS SELECT {listed}, {name}::text AS value FROM ONLY {table}", *after),
        restore=(
            f"ALTER TABLE {table} ALTER COLUMN {name} DROP DEFAULT",
            f"ALTER TABLE {table} ADD COLUMN {_WAS} {_type(found)}",
            f"UPDATE ONLY {table} AS now SET {_WAS} = kept.{name} FROM {kept} AS {using} WHERE {unchanged}",
            f"UPDATE ONLY {table} AS now SET {_WAS} = now.{name}::text::{found['type']} WHERE {since}",
            f"ALTER TABLE {table} ALTER COLUMN {name} TYPE {_type(found)} USING {_WAS}",
            f"ALTER TABLE {table} DROP COLUMN {_WAS}",
            *keeping.restore[1:],
        ),
        quarantine=quarantine,
        relation=relation,
        facts={**keeping.facts, "brings_values": True},
    )


def permits(session: Session, address: Address) -> Permits:
    """Return the catalog rows that change when the type of a column does, and the table is written anew."""
    return _permits(session, address, session.rows(_REBUILT, {"table": address.objid, "number": address.subid}))


def _permits(session: Session, address: Address, rebuilt: Sequence[Row]) -> Permits:
    gone = {Address(row["catalog"], row["oid"]): GONE for row in rebuilt}
    return {**rewritten(session, address.objid), **gone, address: _CHANGED}
