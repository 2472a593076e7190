"""Columns whose values come back while others write: under another name until apply gives them their own.

A row gets its value by key, a chunk of the copy at a time. Whoever writes the row meanwhile takes the value along,
since nobody else knows the column; a row that is inserted gets the column's default, as it would have.
"""

from __future__ import annotations

from dataclasses import dataclass

from worker.objects.keeping import quoted


@dataclass(frozen=True)
class FillColumn:
    """One column that comes back."""

    name: str
    #: What it is called until apply.
    hidden: str
    #: Type and collation, as ADD COLUMN wants them.
    type: str
    #: What rows have that are not in the copy; an expression, or None.
    filling: str | None


@dataclass(frozen=True)
class OnlineFill:
    """The columns of one table that are filled before apply."""

    #: OID in pg_class.
    relation: int
    #: Qualified and quoted.
    table: str
    #: The copy in quarantine, qualified and quoted.
    inside: str
    key: tuple[str, ...]
    columns: tuple[FillColumn, ...]
    #: The table as people write it.
    label: str

    @property
    def hidden(self) -> list[str]:
        """What the columns are called until apply."""
        return [column.hidden for column in self.columns]

    def add(self) -> str:
        """Return what adds the columns; nothing is written anew, since their defaults are constants."""
        added = ", ".join(
            f"ADD COLUMN {quoted(column.hidden)} {column.type}"
            + (f" DEFAULT {column.filling}" if column.filling is not None else "")
            for column in self.columns
        )
        return f"ALTER TABLE {self.table} {added}"

    def chunk(self, first: int, after: int) -> str:
        """Return what gives rows the values of some blocks of the copy: from one to before another."""
        assign = ", ".join(f"{quoted(column.hidden)} = kept.{quoted(column.name)}" for column in self.columns)
        now = ", ".join(f"now.{quoted(column.hidden)}" for column in self.columns)
        kept = ", ".join(f"kept.{quoted(column.name)}" for column in self.columns)
        match = " AND ".join(f"now.{quoted(name)} = kept.{quoted(name)}" for name in self.key)
        return (
            f"UPDATE ONLY {self.table} AS now SET {assign} FROM {self.inside} AS kept"
            f" WHERE kept.ctid >= '({first},0)'::tid AND kept.ctid < '({after},0)'::tid"
            f" AND {match} AND ROW({now})::record OPERATOR(pg_catalog.*<>) ROW({kept})::record"
        )

    def rename(self, name: str) -> tuple[str, ...]:
        """Return what gives one column its own name, without a default: that is the definition's to say."""
        (column,) = (column for column in self.columns if column.name == name)
        own = quoted(name)
        return (
            f"ALTER TABLE {self.table} RENAME COLUMN {quoted(column.hidden)} TO {own}",
            f"ALTER TABLE {self.table} ALTER COLUMN {own} DROP DEFAULT",
        )
