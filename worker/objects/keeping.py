"""The values that preservation is made of: an item of the impact, and how it is kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeAlias

from psycopg import sql

from ledger.model import Json


class Action(StrEnum):
    """What happens to an object that a plan reaches."""

    #: Goes into quarantine whole, by SET SCHEMA.
    MOVED = "moved"
    #: Its values go into a table in quarantine.
    COPIED = "copied"
    #: Written down as SQL and dropped.
    DEFINED = "defined"
    #: Goes along with an object that is moved or copied.
    CARRIED = "carried"
    #: Stays, and what a statement changes about it is written down.
    CHANGED = "changed"
    #: Was not there before; goes when the run is recovered.
    CREATED = "created"


@dataclass(frozen=True)
class Address:
    """Where an object stands in the catalog: pg_class 16384, column 3 of it, or 0 for the whole."""

    catalog: str
    objid: int
    subid: int = 0


@dataclass(frozen=True)
class Item:
    """One object that the plan removes."""

    address: Address
    #: As pg_identify_object says it: "table", "index", "table column", "table constraint", ...
    kind: str
    #: Qualified and quoted, as pg_identify_object gives it.
    name: str
    #: "the plan names it", or what it depends on.
    because: str
    action: Action
    rows: int | None = None
    bytes: int | None = None
    #: The table it belongs to, if it belongs to one.
    relation: int | None = None

    def label(self) -> str:
        """Return kind and name, as messages and `accepts` use it."""
        return f"{self.kind} {self.name}"


#: Catalog rows that a step explains: for each address the columns that may change, or GONE. The name of a catalog
#: among the columns says that its rows about the object may go, and nothing else of it.
Permits: TypeAlias = Mapping[Address, frozenset[str]]

#: Any change, removal included.
GONE = frozenset({"*"})


@dataclass(frozen=True)
class Keeping:
    """How one object is kept: the SQL that removes it, the SQL that brings it back, and what this explains."""

    item: Item
    #: Statements run in order inside apply; the object is out of the way after the last.
    remove: tuple[str, ...]
    #: Statements that bring it back, run in order inside the apply of a recovery.
    restore: tuple[str, ...]
    #: Statements run inside apply after the plan's own statement that this is about.
    settle: tuple[str, ...] = ()
    #: Statements to run after that recovery's COMMIT; each may be repeated.
    finish: tuple[str, ...] = ()
    #: Relations locked for the removal and for the recovery, as OIDs.
    locks: frozenset[int] = frozenset()
    #: Relations that are altered beside the item's own, as OIDs; the role must own them too.
    alters: frozenset[int] = frozenset()
    permits: Permits = field(default_factory=dict)
    quarantine: str | None = None
    #: Name of the table in quarantine that holds the rows.
    relation: str | None = None
    #: What recovery checks before it begins, by kind.
    facts: Mapping[str, Json] = field(default_factory=dict)


def quoted(*parts: str) -> str:
    """Return a qualified identifier, quoted for the server.

    NUL cannot occur: every name comes from the catalog, resolved to an OID first.
    """
    return sql.Identifier(*parts).as_string()


def literal(text: str) -> str:
    """Return a string literal for the server."""
    return sql.Literal(text).as_string()


def validating(table: int, constraint: str) -> str:
    """Return the statement that validates a constraint, whatever its table is called by then.

    Args:
        table: Its OID, which stays: the script may have renamed it before, and the recovery names it back afterwards.
        constraint: Plain name.
    """
    alter = f"format('ALTER TABLE %s VALIDATE CONSTRAINT %I', {table}::regclass, {literal(constraint)})"
    return f"DO {literal(f'BEGIN EXECUTE {alter}; END')}"


def cut(name: str, suffix: str) -> str:
    """Return a name with a suffix, within the server's 63 bytes: the suffix tells names that begin alike apart."""
    return name.encode()[: 63 - len(suffix)].decode(errors="ignore") + suffix


def merge(permits: Sequence[Permits]) -> dict[Address, frozenset[str]]:
    """Return the union of what several steps explain."""
    merged: dict[Address, frozenset[str]] = {}
    for permit in permits:
        for address, columns in permit.items():
            merged[address] = merged.get(address, frozenset()) | columns
    return merged


def as_json(value: Any) -> Json:  # noqa: ANN401 - whatever the catalog returned
    """Return a catalog value as canonical JSON can hold it."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, list | tuple):
        return [as_json(entry) for entry in value]
    return str(value)
