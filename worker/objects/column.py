"""Columns are copied, with the table's key or all else in the row, into a table in quarantine, then dropped.

The copy is made inside apply, under the lock that the DROP needs anyway, and holds every row; that of a large table is
made before, while others write (worker/objects/online_copy.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ledger.errors import PlanRefused
from ledger.model import Json
from worker.objects import partition_columns
from worker.objects.column_settings import NOT_NULL_IS_A_CONSTRAINT, described, own_settings, settings, type_of
from worker.objects.family import all_rows, label, members
from worker.objects.keeping import GONE, Address, Item, Keeping, Permits, cut, quoted
from worker.objects.quarantine import Quarantine
from worker.objects.sequence import moved, owned_by
from worker.objects.whole_rows import columns_beside, stored
from worker.objects.whole_rows import give_back as give_back_to_rows
from worker.target import Row, Session

#: The keys that stay, the cheapest first: primary, then the one with fewest columns. Deferrable, partial and
#: expression keys do not identify a row at every moment.
_KEYS = """
SELECT ARRAY(SELECT a.attname::text FROM unnest(x.indkey[0:x.indnkeyatts - 1]) WITH ORDINALITY AS k (number, place)
               JOIN pg_attribute AS a ON a.attrelid = x.indrelid AND a.attnum = k.number ORDER BY k.place) AS columns
  FROM pg_index AS x
 WHERE x.indrelid = %(table)s AND x.indisunique AND x.indimmediate AND x.indisvalid
   AND x.indpred IS NULL AND x.indexprs IS NULL
   AND NOT EXISTS (SELECT FROM unnest(x.indkey[0:x.indnkeyatts - 1]) AS k (number)
                     LEFT JOIN pg_attribute AS a ON a.attrelid = x.indrelid AND a.attnum = k.number
                    WHERE a.attnum IS NULL OR NOT a.attnotnull OR a.attnum = ANY (%(dropped)s))
 ORDER BY x.indisprimary DESC, x.indnkeyatts, x.indexrelid
"""

_NAMES = """
SELECT attrelid::bigint AS relation, attnum AS number, attname::text AS name FROM pg_attribute
 WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped
 ORDER BY attnum
"""

_TABLE = """
SELECT n.nspname AS schema, c.relname AS name, c.relforcerowsecurity AS forced, c.relkind = 'p' AS partitioned
  FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE c.oid = %s
"""

#: Not every table that is published can be updated: what its rows are told apart by must be said.
_IDENTITY = """
SELECT c.relreplident::text AS identity
  FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
 WHERE c.oid = %(table)s AND c.relreplident <> 'f'
   AND NOT EXISTS (SELECT FROM pg_index WHERE indrelid = c.oid
                      AND CASE c.relreplident WHEN 'd' THEN indisprimary WHEN 'i' THEN indisreplident ELSE false END)
   AND EXISTS (SELECT FROM pg_publication_tables AS member JOIN pg_publication AS p USING (pubname)
                 -- A partition may be published as a part of what it is a partition of.
                WHERE p.pubupdate AND (member.schemaname, member.tablename) IN (
                      SELECT n.nspname, c.relname
                      UNION ALL
                      SELECT un.nspname, u.relname FROM pg_partition_ancestors(c.oid::regclass) AS up
                        JOIN pg_class AS u ON u.oid = up.relid JOIN pg_namespace AS un ON un.oid = u.relnamespace))
"""

#: A table that is written anew gets new files, and a new TOAST table in place of the old one.
_FILES = """
SELECT c.oid::bigint, c.relkind = 't' OR c.relkind = 'i' AND x.indrelid <> %(table)s::oid AS replaced
  FROM pg_class AS t
  JOIN pg_class AS c ON c.oid IN (t.oid, t.reltoastrelid)
       OR c.oid IN (SELECT indexrelid FROM pg_index WHERE indrelid IN (t.oid, t.reltoastrelid))
  LEFT JOIN pg_index AS x ON x.indexrelid = c.oid
 WHERE t.oid = %(table)s::oid
"""

#: Columns whose value in older rows stands in the catalog only: a table that is written anew has it in the rows.
_MISSING = "SELECT attnum AS number FROM pg_attribute WHERE attrelid = %s AND atthasmissing AND NOT attisdropped"

#: What fires when rows are written, with the words that switch it back on.
_FIRING = """
SELECT 'TRIGGER ' || quote_ident(tgname) AS what,
       CASE tgenabled WHEN 'O' THEN 'ENABLE' WHEN 'R' THEN 'ENABLE REPLICA' ELSE 'ENABLE ALWAYS' END AS on
  FROM pg_trigger WHERE tgrelid = %(table)s AND NOT tgisinternal AND tgenabled <> 'D'
UNION ALL
SELECT 'RULE ' || quote_ident(rulename),
       CASE ev_enabled WHEN 'O' THEN 'ENABLE' WHEN 'R' THEN 'ENABLE REPLICA' ELSE 'ENABLE ALWAYS' END
  FROM pg_rewrite WHERE ev_class = %(table)s AND ev_type IN ('2', '3', '4') AND ev_enabled <> 'D'
 ORDER BY what
"""


@dataclass(frozen=True)
class Copy:
    """The columns of one table that go together into one copy."""

    table: str
    #: Empty if the table has none; then `beside` tells the rows apart.
    key: tuple[str, ...]
    beside: tuple[str, ...]
    columns: tuple[Row, ...]
    inside: str
    relation: str
    #: Plain name of the table, for the backup view.
    source: str
    #: Whether row-level security binds the table's owner too.
    forced: bool
    #: Whether its rows are those of its partitions.
    partitioned: bool

    @property
    def rows(self) -> str:
        """How a query names all rows of the table."""
        return self.table if self.partitioned else f"ONLY {self.table}"


def keep(session: Session, items: Sequence[Item], quarantine: Quarantine) -> list[Keeping]:
    """Say how the columns of one table are kept, last column first.

    Recovery runs the other way round, so the columns come back in their order, and the one that is removed
    first brings the values of all.

    Args:
        session: In the target, inside the transaction that computed the impact.
        items: All columns of one table that the plan drops.
        quarantine: Where copies go.

    Raises:
        PlanRefused: Partitions of the table have of it what could not be brought back.
    """
    relation = items[0].address.objid
    numbers = [item.address.subid for item in items]
    found = session.row(_TABLE, (relation,))
    assert found is not None  # noqa: S101 - the impact was computed in this transaction
    key = next(iter(keys(session, relation, numbers)), ())
    table = quoted(found["schema"], found["name"])
    if found["partitioned"] and not key:
        raise PlanRefused(
            f"{items[0].label()} is of a partitioned table that has no primary key or UNIQUE NOT NULL key beside it, so"
            " its values could not be given back to the right rows; add a key first"
        )
    beside = () if key else columns_beside(session, relation, numbers)
    # What is computed comes after what it is computed from.
    rows = sorted(described(session, relation, numbers), key=lambda column: bool(column["generated"]))
    # Told apart by the first column: a later statement of the same run may drop more of the same table.
    inside = cut(found["name"], f"_{relation}_{min(numbers)}")
    copies = quarantine.copies
    copy = Copy(table, key, beside, tuple(rows), copies, inside, found["name"], found["forced"], found["partitioned"])
    by_number = {item.address.subid: item for item in items}
    keepings = [_keep_one(session, by_number[column["number"]], column, copy) for column in reversed(copy.columns)]
    return [_with_values(session, keepings[0], copy), *keepings[1:]]


def keys(session: Session, table: int, without: Sequence[int] = ()) -> list[tuple[str, ...]]:
    """Return the columns of each key that a table has without some columns, given by number; the cheapest first."""
    return [tuple(row["columns"]) for row in session.rows(_KEYS, {"table": table, "dropped": list(without)})]


def of_table(session: Session, table: str) -> list[Row]:
    """Return `relation`, `number` and `name` of each column that a table has by now; nothing if it is gone."""
    return session.rows(_NAMES, (table,))


def _keep_one(session: Session, item: Item, column: Row, copy: Copy) -> Keeping:
    name = quoted(column["name"])
    permits: dict[Address, frozenset[str]] = {item.address: GONE}
    if column["default_oid"] is not None:
        permits[Address("pg_attrdef", column["default_oid"])] = GONE
    # Its sequences are kept by themselves: it only must not take them along.
    owned = owned_by(session, item.address.objid, item.address.subid)
    for oid, _sequence in owned:
        permits.update(moved(session, oid))
    parts = partition_columns.keep(session, item, column) if copy.partitioned else partition_columns.NOTHING
    members = frozenset({item.address.objid}) | parts.tables
    return Keeping(
        item,
        remove=(
            *(f"ALTER SEQUENCE {sequence} OWNED BY NONE" for _oid, sequence in owned),
            f"ALTER TABLE {copy.table} DROP COLUMN {name}",
        ),
        restore=(
            *_add(session, item, column, copy),
            *parts.restore,
            *(f"ALTER SEQUENCE {sequence} OWNED BY {copy.table}.{name}" for _oid, sequence in owned),
        ),
        locks=members,
        alters=parts.tables,
        permits={**permits, **parts.permits},
        quarantine=copy.inside,
        relation=copy.relation,
        facts={**_facts(column, copy), "partitions": [*sorted(parts.tables)]},
    )


def _facts(column: Row, copy: Copy) -> dict[str, Json]:
    return {
        "table": copy.table,
        "column": column["name"],
        "key": list(copy.key),
        "beside": list(copy.beside),
        "source": copy.source,
        "required": column["required"],
        # With a type of its own and nothing to compute, it can be filled while others write.
        "type": None if column["generated"] or column["base"] is not None else type_of(column),
        "filling": column["filling"],
    }


def _with_values(session: Session, keeping: Keeping, copy: Copy) -> Keeping:
    """Let the first column that goes make the copy of all, and the last that comes back bring all values."""
    told = ", ".join(map(quoted, copy.key)) if copy.key else stored(copy.beside)
    names = ", ".join((told, *(quoted(column["name"]) for column in copy.columns)))
    inside = quoted(copy.inside, copy.relation)
    create: tuple[str, ...] = (f"CREATE TABLE {inside} AS SELECT {names} FROM {copy.rows}",)
    if copy.forced:
        create = (f"ALTER TABLE {copy.table} NO FORCE ROW LEVEL SECURITY", *create)
        create = (*create, f"ALTER TABLE {copy.table} FORCE ROW LEVEL SECURITY")
    rewrites = any(column["generated"] == "s" or column["base"] is not None for column in copy.columns)
    values = _values(copy, inside)
    return replace(
        keeping,
        remove=(*create, *keeping.remove),
        restore=(*keeping.restore, *values),
        facts={
            **keeping.facts,
            "brings_values": True,
            # How many of the statements give values back.
            "values": len(values),
            "rewrites": rewrites,
            "rules": _not_null(session, keeping.item.address.objid, copy),
        },
    )


def without_copy(keeping: Keeping) -> Keeping:
    """Return how a column goes whose values are in the copy already; its table's policies do not bind the owner."""
    assert keeping.facts["brings_values"] and keeping.remove[0].startswith("CREATE TABLE ")  # noqa: S101, PT018 - as above
    return replace(keeping, remove=keeping.remove[1:])


def _add(session: Session, item: Item, column: Row, copy: Copy) -> list[str]:
    """Return what makes a column again, without its values."""
    # A domain may refuse NULL, or have a default that would fill the rows: it is put on when the values are back.
    clause = f"{quoted(column['name'])} {column['base'] or type_of(column)}"
    if column["generated"]:
        stored = " STORED" if column["generated"] == "s" else " VIRTUAL"
        clause += f" GENERATED ALWAYS AS ({column['expression']}){stored}"
    own = own_settings(session, item.address, column, copy.table, alone=copy.partitioned)
    return [f"ALTER TABLE {copy.table} ADD COLUMN {clause}", *own]


def _match(key: Sequence[str]) -> str:
    return " AND ".join(f"now.{quoted(name)} = kept.{quoted(name)}" for name in key)


def _values(copy: Copy, inside: str) -> list[str]:
    """Return the statements that give kept rows their values again, and rows inserted since the defaults."""
    held = [column for column in copy.columns if not column["generated"]]
    if not held:
        return []
    names = [quoted(column["name"]) for column in held]
    if not copy.key:
        fillings = [column["filling"] for column in held]
        give_back = give_back_to_rows(copy.table, inside, copy.beside, list(zip(names, fillings, strict=True)))
        return [give_back, *_domains(copy, held)]
    match = _match(copy.key)
    assign = ", ".join(f"{name} = kept.{name}" for name in names)
    # A column that was just added is NULL everywhere: only rows that had something are written.
    holds = " OR ".join(f"kept.{name} IS NOT NULL" for name in names)
    statements = [f"UPDATE {copy.rows} AS now SET {assign} FROM {inside} AS kept WHERE {match} AND ({holds})"]
    filled = [f"{quoted(column['name'])} = {column['filling']}" for column in held if column["filling"] is not None]
    if filled:
        statements.append(
            f"UPDATE {copy.rows} AS now SET {', '.join(filled)}"
            f" WHERE NOT EXISTS (SELECT FROM {inside} AS kept WHERE {match})"
        )
    return [*statements, *_domains(copy, held)]


def _domains(copy: Copy, held: Sequence[Row]) -> list[str]:
    """Return what puts domains on again, now that the values are back."""
    statements: list[str] = []
    for column in held:
        if column["base"] is not None:
            alter = f"ALTER TABLE {copy.table} ALTER COLUMN {quoted(column['name'])}"
            place = f"ONLY {copy.table}" if copy.partitioned else copy.table
            statements.extend([f"{alter} TYPE {type_of(column)}", *settings(column, place)])
    return statements


def rows_since(session: Session, table: str, inside: str, key: Sequence[str]) -> int:
    """Return how many rows a table has that a copy does not know."""
    if session.value("SELECT relforcerowsecurity FROM pg_class WHERE oid = to_regclass(%s)", (table,)):
        # Policies bind the owner too: nobody can tell without changing the table.
        return 0
    new: int = session.value(
        f"SELECT count(*) FROM {all_rows(session, table)} AS now"
        f" WHERE NOT EXISTS (SELECT FROM {inside} AS kept WHERE {_match(key)})"
    )
    return new


def rows_gone(session: Session, table: str, inside: str, key: Sequence[str]) -> int:
    """Return how many rows of a copy a table does not have any more."""
    if session.value("SELECT relforcerowsecurity FROM pg_class WHERE oid = to_regclass(%s)", (table,)):
        return 0
    gone: int = session.value(
        f"SELECT count(*) FROM {inside} AS kept WHERE NOT EXISTS"
        f" (SELECT FROM {all_rows(session, table)} AS now WHERE {_match(key)})"
    )
    return gone


def _not_null(session: Session, relation: int, copy: Copy) -> list[Json]:
    # From 18 on NOT NULL is a constraint with a name, kept as one.
    if session.server_version >= NOT_NULL_IS_A_CONSTRAINT:
        return []
    own = [
        f"ALTER TABLE {copy.table} ALTER COLUMN {quoted(c['name'])} SET NOT NULL" for c in copy.columns if c["not_null"]
    ]
    columns = [Address("pg_class", relation, column["number"]) for column in copy.columns] if copy.partitioned else []
    return [*own, *(statement for column in columns for statement in partition_columns.not_null(session, column))]


def firing(session: Session, table: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the statements that let nothing of a table's own interfere with an UPDATE, and those that undo it.

    Giving values back is not an event of the application: an `updated_at` trigger would falsify the rows, a policy
    that binds the owner would hide them.
    """
    off: list[str] = []
    on: list[str] = []
    for member in members(session, table):
        one_off, one_on = _firing_of_one(session, member)
        off += one_off
        on += one_on
    return tuple(off), tuple(on)


def _firing_of_one(session: Session, member: Row) -> tuple[list[str], list[str]]:
    """Do the same for one table by itself: what a partition has from its table may fire otherwise there."""
    table, name = member["oid"], label(member)
    only = f"ONLY {name}" if member["partitioned"] else name
    rows = session.rows(_FIRING, {"table": table})
    off = [f"ALTER TABLE {only} DISABLE {row['what']}" for row in rows]
    on = [f"ALTER TABLE {only} {row['on']} {row['what']}" for row in rows]
    if member["forced"]:
        off.append(f"ALTER TABLE {name} NO FORCE ROW LEVEL SECURITY")
        on.append(f"ALTER TABLE {name} FORCE ROW LEVEL SECURITY")
    identity = session.value(_IDENTITY, {"table": table})
    if identity is not None:
        off.append(f"ALTER TABLE {name} REPLICA IDENTITY FULL")
        # That of an index which is gone ("i") comes back with the index.
        on.append(f"ALTER TABLE {name} REPLICA IDENTITY {'DEFAULT' if identity == 'd' else 'NOTHING'}")
    return off, on


def rewritten(session: Session, table: int) -> Permits:
    """Return the catalog rows that change when the server writes a table anew."""
    files = frozenset({"relfilenode", "reltoastrelid"})
    found = session.rows(_FILES, {"table": table})
    permits = {Address("pg_class", row["oid"]): GONE if row["replaced"] else files for row in found}
    for row in session.rows(_MISSING, (table,)):
        permits[Address("pg_class", table, row["number"])] = frozenset({"atthasmissing", "attmissingval"})
    return permits
