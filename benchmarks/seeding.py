"""A few rows for every table of a database that nobody knows: what its catalog asks for, and the rest by trying."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice, product

import psycopg
from psycopg import errors as pg
from psycopg import sql
from psycopg.rows import dict_row

#: Rows for each table, and how often a table is tried.
ROWS, TRIES = 3, 24

_TABLES = """
SELECT c.oid::bigint AS oid, n.nspname AS schema, c.relname AS name
  FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't' AND NOT c.relispartition
   AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname NOT LIKE 'emergency\\_backup%'
   AND n.nspname NOT LIKE 'pg\\_%' AND c.relname <> 'migration_rollbacks'
   -- What an extension brings is its own.
   AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = c.oid AND deptype = 'e')
 ORDER BY c.oid
"""

_VIEWS = """
SELECT format('%I.%I', schemaname, matviewname) FROM pg_matviews
 WHERE ispopulated AND schemaname NOT LIKE 'emergency\\_backup%'
 ORDER BY format('%I.%I', schemaname, matviewname)::regclass::oid
"""

_COLUMNS = """
SELECT a.attname AS name, a.attnotnull AS required, a.atthasdef OR a.attidentity <> '' AS given,
       format_type(a.atttypid, a.atttypmod) AS type, b.typname AS base, b.typtype AS kind, b.typcategory AS category,
       format_type(b.oid, NULL) AS base_type,
       (SELECT array_agg(enumlabel::text ORDER BY enumsortorder) FROM pg_enum WHERE enumtypid = b.oid) AS labels,
       (SELECT format('%%I.%%I', fn.nspname, f.relname) FROM pg_class AS f JOIN pg_namespace AS fn
            ON fn.oid = f.relnamespace WHERE f.oid = k.confrelid) AS other,
       (SELECT attname FROM pg_attribute
         WHERE attrelid = k.confrelid AND attnum = k.confkey[array_position(k.conkey, a.attnum)]) AS other_column,
       a.attnum = ANY ((SELECT partattrs FROM pg_partitioned_table WHERE partrelid = a.attrelid)::smallint[]) IS TRUE
           AS routes,
       CASE WHEN a.atttypmod > 4 AND b.typname IN ('varchar', 'bpchar') THEN a.atttypmod - 4 END AS longest,
       ARRAY(SELECT pg_get_constraintdef(h.oid) FROM pg_constraint AS h
              WHERE (h.conrelid = a.attrelid AND h.contype = 'c' AND a.attnum = ANY (h.conkey))
                 OR (h.contypid = a.atttypid)) AS checks
  FROM pg_attribute AS a JOIN pg_type AS t ON t.oid = a.atttypid
  JOIN pg_type AS b ON b.oid = CASE WHEN t.typtype = 'd' THEN t.typbasetype ELSE t.oid END
  LEFT JOIN LATERAL (SELECT * FROM pg_constraint WHERE conrelid = a.attrelid AND contype = 'f'
                        AND a.attnum = ANY (conkey) ORDER BY oid LIMIT 1) AS k ON true
 WHERE a.attrelid = %s AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '' AND a.attidentity <> 'a'
 ORDER BY a.attnum
"""


#: Sequences that give a column its default and are behind what was written there.
_BEHIND = """
SELECT format('SELECT setval(%L, greatest(max(%I), (SELECT last_value FROM %s))::bigint) FROM %s HAVING max(%I) > 0',
              s.oid::regclass::text, a.attname, s.oid::regclass, a.attrelid::regclass, a.attname)
  FROM pg_attrdef AS d
  JOIN pg_depend AS n ON n.classid = 'pg_attrdef'::regclass AND n.objid = d.oid AND n.refclassid = 'pg_class'::regclass
  JOIN pg_class AS s ON s.oid = n.refobjid AND s.relkind = 'S'
  JOIN pg_attribute AS a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
  JOIN pg_type AS t ON t.oid = a.atttypid AND t.typcategory = 'N'
 WHERE a.attgenerated = ''
"""


@dataclass(frozen=True)
class _Column:
    """What the catalog says of a column."""

    name: str
    required: bool
    given: bool
    type: str
    base: str
    kind: str
    category: str
    base_type: str
    labels: list[str] | None
    other: str | None
    other_column: str | None
    #: Whether it says which partition a row belongs to.
    routes: bool
    longest: int | None
    checks: list[str]


@dataclass
class Seeder:
    """Puts rows into empty tables, and values into empty columns; knows what it has tried in vain."""

    #: Tables that could not be given a row, with the reason.
    empty: dict[str, str] = field(default_factory=dict)
    _filled: set[tuple[str, str, str]] = field(default_factory=set)

    def seed(self, conn: psycopg.Connection) -> None:
        """Give every empty table some rows, those that others refer to first; then fill columns that say nothing.

        Args:
            conn: Of a role that may write anywhere, in autocommit.
        """
        self.empty.clear()
        with conn.cursor(row_factory=dict_row) as cursor:
            tables = {_quoted(row["schema"], row["name"]): row["oid"] for row in cursor.execute(_TABLES).fetchall()}
        columns = {name: _columns(conn, oid) for name, oid in tables.items()}
        waiting = [name for name in tables if _is_empty(conn, name)]
        while waiting:
            left = [name for name in waiting if not self._insert(conn, name, columns[name])]
            if len(left) == len(waiting):
                break
            waiting = left
        for name in tables:
            if name not in self.empty:
                self._fill(conn, name, columns[name])
        # An application writes what its sequences give.
        for (setval,) in conn.execute(_BEHIND.encode()).fetchall():
            self._write(conn, None, setval)
        # What a recovery makes again is what its query says then: let it be that before.
        for (view,) in conn.execute(_VIEWS.encode()).fetchall():
            self._write(conn, None, f"REFRESH MATERIALIZED VIEW {view}")

    def empty_all(self, conn: psycopg.Connection) -> None:
        """Take all rows away: some steps were only ever run before there were any."""
        names = [_quoted(schema, name) for _oid, schema, name in conn.execute(_TABLES.encode()).fetchall()]
        if names:
            conn.execute(f"TRUNCATE {', '.join(names)} CASCADE".encode())

    def _insert(self, conn: psycopg.Connection, table: str, columns: Sequence[_Column]) -> bool:
        done = 0
        wanted = [column for column in columns if not (column.given and not column.other)]
        for row in range(1, ROWS + 1):
            for values in islice(_choices(wanted, row), TRIES):
                if self._write(conn, table, _insertion(table, wanted, values)):
                    done += 1
                    break
        if done:
            self.empty.pop(table, None)
        return bool(done)

    def _fill(self, conn: psycopg.Connection, table: str, columns: Sequence[_Column]) -> None:
        """Give columns that are NULL everywhere a value, where one fits: dropping them is then worth looking at."""
        for column in columns:
            known = (table, column.name, column.type)
            if column.required or known in self._filled:
                continue
            name = sql.Identifier(column.name).as_string()
            if conn.execute(f"SELECT count({name}) FROM {table}".encode()).fetchone() != (0,):
                continue
            self._filled.add(known)
            for value in islice(_values(column, 1), TRIES):
                if value != "NULL" and self._write(conn, None, f"UPDATE {table} SET {name} = {value}"):
                    break

    def _write(self, conn: psycopg.Connection, table: str | None, statement: str) -> bool:
        try:
            conn.execute(statement.encode())
        except (pg.DatabaseError, pg.InterfaceError) as error:
            if table is not None:
                self.empty[table] = str(error).splitlines()[0]
            return False
        return True


def _columns(conn: psycopg.Connection, oid: int) -> list[_Column]:
    with conn.cursor(row_factory=dict_row) as cursor:
        return [_Column(**row) for row in cursor.execute(_COLUMNS, (oid,)).fetchall()]


def _is_empty(conn: psycopg.Connection, table: str) -> bool:
    return conn.execute(f"SELECT FROM {table} LIMIT 1".encode()).fetchone() is None


def _insertion(table: str, columns: Sequence[_Column], values: Sequence[str]) -> str:
    if not columns:
        return f"INSERT INTO {table} DEFAULT VALUES"
    names = ", ".join(sql.Identifier(column.name).as_string() for column in columns)
    return f"INSERT INTO {table} ({names}) OVERRIDING SYSTEM VALUE VALUES ({', '.join(values)})"


def _choices(columns: Sequence[_Column], row: int) -> Iterator[tuple[str, ...]]:
    """Yield rows to try: each column's first choice, then one column after another differently, then all ways."""
    ways = [list(islice(_values(column, row), 8)) for column in columns]
    first = tuple(way[0] for way in ways)
    yield first
    constrained = [place for place, column in enumerate(columns) if column.checks or column.other or column.routes]
    for place in constrained:
        for value in ways[place][1:]:
            yield (*first[:place], value, *first[place + 1 :])
    # Required columns alone.
    bare = tuple(value if column.required else "NULL" for column, value in zip(columns, first, strict=True))
    yield bare
    yield from product(*(way[:3] if place in constrained else way[:1] for place, way in enumerate(ways)))


def _values(column: _Column, row: int) -> Iterator[str]:
    """Yield expressions for a column, the likeliest first."""
    if column.other is not None and column.other_column is not None:
        name = sql.Identifier(column.other_column).as_string()
        # A row that refers to itself, where nothing is there yet.
        yield (
            f"(SELECT {name} FROM {column.other} WHERE {name} IS NOT NULL ORDER BY 1"
            f" OFFSET {row - 1} % greatest((SELECT count({name}) FROM {column.other}), 1) LIMIT 1)"
        )
        if not column.required:
            yield "NULL"
        return
    for check in column.checks:
        # What a CHECK compares with is likely to be allowed.
        for literal in re.findall(r"'((?:[^']|'')*)'", check):
            yield f"'{literal}'::{column.type}"
        for number in re.findall(r"(?<![\w'])-?\d+(?:\.\d+)?(?![\w'])", check):
            if column.category == "N":
                yield from (f"({number})::{column.type}", f"({number} + {row})::{column.type}")
    for text in _literals(column, row):
        yield f"{text}::{column.type}"
    if not column.required:
        yield "NULL"


#: By the name of the base type; {} is the row's number.
_BY_NAME = {
    "bool": ("({} % 2 = 0)", "true", "false"),
    "uuid": ("md5('{}')",),
    "json": ("'{{\"seed\": {}}}'", "'[]'"),
    "jsonb": ("'{{\"seed\": {}}}'", "'[]'"),
    "bytea": ("sha256('{}')", "'\\x0{}'"),
    "inet": ("'192.0.2.{}'",),
    "cidr": ("'192.0.2.{}/32'",),
    "macaddr": ("'08:00:2b:01:02:0{}'",),
    "tsvector": ("to_tsvector('simple', 'seed {}')",),
    "tsquery": ("to_tsquery('simple', 'seed')",),
    "interval": ("'{} hours'",),
    "time": ("'0{}:00'",),
    "timetz": ("'0{}:00+00'",),
    "bit": ("'1'",),
    "varbit": ("'101'",),
    "point": ("'({}, 1)'",),
    "xml": ("'<seed>{}</seed>'",),
    "hstore": ("'seed=>{}'",),
    "ltree": ("'seed.s{}'",),
    "char": ("'{}'",),
    "pg_lsn": ("'0/{}'",),
}

_BY_CATEGORY = {
    "N": ("{}", "0", "1", "10{}", "-{}"),
    "B": ("true",),
    "D": ("'2024-01-0{} 12:00:00'", "now()", "'2030-01-0{}'"),
    "R": ("'[{},10{})'",),
    "A": ("'{{}}'",),
    "S": ("'seed_{}'", "'s{}'", "'{}'", "'https://example.com/{}'", "'seed{}@example.com'", "''", "'{{}}'"),
}


def _literals(column: _Column, row: int) -> Iterator[str]:
    if column.labels:
        turn = (row - 1) % len(column.labels)
        for label in (*column.labels[turn:], *column.labels[:turn]):
            yield sql.Literal(label).as_string()
        return
    if column.category == "A":
        element = column.base_type.removesuffix("[]")
        if column.category == "A" and element in {"integer", "bigint", "smallint", "text", "character varying"}:
            yield f"'{{{row}}}'"
    if column.category == "R" and "t" in column.base:
        yield f"'[2024-01-0{row},2024-02-01)'"
    for told in _BY_NAME.get(column.base) or _BY_CATEGORY.get(column.category) or ("'seed_{}'", "'{}'", "'(seed)'"):
        text = told.format(row, row)
        if column.longest is not None and text.startswith("'"):
            text = f"'{text[1:-1][-column.longest :]}'"
        yield text


def _quoted(schema: str, name: str) -> str:
    return sql.Identifier(schema, name).as_string()
