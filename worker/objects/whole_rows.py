"""Rows of a table without a key, told apart by all that they hold: those that hold the same may change places.

What is kept of a row goes with the text of everything else in it, and a number among the rows that have the same text.
Given back to rows of that text in whatever order, the table holds what it held.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from worker.objects.keeping import quoted
from worker.target import Session

#: Columns of a copy, as no application calls one: their names hold spaces.
_ROW: Final = '"stepback row"'
_PLACE: Final = '"stepback place"'

_COLUMNS = """
SELECT array_agg(attname::text ORDER BY attname) FROM pg_attribute
 WHERE attrelid = %s AND attnum > 0 AND NOT attisdropped AND attgenerated = '' AND NOT attnum = ANY (%s)
"""


def columns_beside(session: Session, table: int, numbers: Sequence[int]) -> tuple[str, ...]:
    """Return the columns that tell the rows of a table apart when some others are gone."""
    return tuple(session.value(_COLUMNS, (table, list(numbers))) or ())


def stored(columns: Sequence[str]) -> str:
    """Return what a copy holds of each row, so that it is told again."""
    row = f'ROW({", ".join(map(quoted, columns))})::text COLLATE "C"'
    return f"{row} AS {_ROW}, row_number() OVER (PARTITION BY {row}) AS {_PLACE}"


def give_back(table: str, inside: str, columns: Sequence[str], values: Sequence[tuple[str, str | None]]) -> str:
    """Return the statement that gives rows their values again, and those that the copy does not know what fills them.

    In one statement, since each look may number rows that hold the same differently.

    Args:
        table: Qualified and quoted.
        inside: The copy, likewise.
        columns: As in `stored`.
        values: Each column that comes back, quoted, with the expression that fills it, if there is one.
    """
    known = f"kept.{_PLACE} IS NOT NULL"
    assign = ", ".join(
        f"{name} = CASE WHEN {known} THEN kept.{name} ELSE {filling or 'NULL'} END" for name, filling in values
    )
    # A column that was just added is NULL everywhere: only rows that get something are written.
    wanted = [f"kept.{name} IS NOT NULL" for name, _filling in values]
    wanted += [f"NOT {known}" for _name, filling in values if filling is not None][:1]
    return (
        f"UPDATE ONLY {table} AS now SET {assign} FROM {_told(table, columns)} AS told"
        f" LEFT JOIN {inside} AS kept USING ({_ROW}, {_PLACE}) WHERE now.ctid = told.at AND ({' OR '.join(wanted)})"
    )


def changed_since(session: Session, table: str, inside: str, columns: Sequence[str]) -> tuple[int, int]:
    """Return how many rows of a table a copy does not know, and how many of the copy's are not in the table."""
    found = session.row(
        f"SELECT count(*) FILTER (WHERE kept.{_PLACE} IS NULL) AS new, count(*) FILTER (WHERE told.at IS NULL) AS gone"
        f" FROM {_told(table, columns)} AS told FULL JOIN {inside} AS kept USING ({_ROW}, {_PLACE})"
    )
    assert found is not None  # noqa: S101 - an aggregate always has a row
    return found["new"], found["gone"]


def _told(table: str, columns: Sequence[str]) -> str:
    return f"(SELECT ctid AS at, {stored(columns)} FROM ONLY {table})"
