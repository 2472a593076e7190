"""What a generated schema holds, as far as a script must know it to speak of it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_PLAIN = re.compile(r"[a-z_][a-z0-9_]*")
_RESERVED = frozenset({"order", "select"})


def ident(name: str) -> str:
    """Return a name as SQL needs it."""
    return name if _PLAIN.fullmatch(name) and name not in _RESERVED else '"' + name.replace('"', '""') + '"'


@dataclass(frozen=True)
class Name:
    """A schema and a name in it; prints as SQL needs it."""

    schema: str
    name: str

    def __str__(self) -> str:
        """Return it qualified and quoted."""
        return f"{ident(self.schema)}.{ident(self.name)}"

    @property
    def own(self) -> str:
        """The name alone, quoted."""
        return ident(self.name)


@dataclass(frozen=True)
class Column:
    """A column, and what the n-th row has in it."""

    name: str
    type: str
    #: An expression over `n`; None if the server fills it.
    value: str | None
    #: Whether it is part of the key.
    key: bool = False
    generated: bool = False

    def __str__(self) -> str:
        """Return its name quoted."""
        return ident(self.name)


@dataclass
class Table:
    """A table with its columns; `heirs` are its partitions or children."""

    name: Name
    columns: list[Column]
    heirs: tuple[Name, ...] = ()
    partitioned: bool = False
    logged: bool = True

    @property
    def key(self) -> list[Column]:
        """The columns of its key; none if it has no key."""
        return [column for column in self.columns if column.key]

    @property
    def others(self) -> list[Column]:
        """The columns that are no part of the key."""
        return [column for column in self.columns if not column.key]


@dataclass
class Parts:
    """What else there is, by what DROP calls it: each name as SQL needs it, with ON and its table where it has one."""

    views: list[Name] = field(default_factory=list)
    matviews: list[Name] = field(default_factory=list)
    sequences: list[Name] = field(default_factory=list)
    enums: list[Name] = field(default_factory=list)
    domains: list[Name] = field(default_factory=list)
    composites: list[Name] = field(default_factory=list)
    indexes: list[Name] = field(default_factory=list)
    statistics: list[Name] = field(default_factory=list)
    #: With their arguments.
    functions: list[str] = field(default_factory=list)
    #: "name ON table".
    triggers: list[str] = field(default_factory=list)
    policies: list[str] = field(default_factory=list)
    rules: list[str] = field(default_factory=list)
    #: Table and the constraint's name.
    constraints: list[tuple[Table, str]] = field(default_factory=list)


@dataclass
class Schema:
    """A generated schema: the statements that make it, in order, and what they make."""

    homes: list[str]
    statements: list[str] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    parts: Parts = field(default_factory=Parts)


@dataclass(frozen=True)
class Example:
    """A schema with rows, and a script over it; prints so that it can be run by hand."""

    given: tuple[str, ...]
    script: tuple[str, ...]

    def __repr__(self) -> str:
        """Return both as SQL."""
        return "\n".join(["", *(f"{line};" for line in self.given), "-- the plan", *(f"{s};" for s in self.script)])
