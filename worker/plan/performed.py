"""A statement that is run as it is written, as a value: what it changes about what, what it makes, what it writes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from pglast.enums import ObjectType

from worker.plan.rules import Rule
from worker.plan.statements import Named, QualifiedName


@dataclass(frozen=True)
class Alteration:
    """One thing that a statement changes about one object."""

    #: Key of worker/objects/altered.py: "default", "name", "comment", ...
    what: str
    named: Named
    #: What else must be known to change it back: the new name, which triggers.
    detail: str = ""


@dataclass(frozen=True)
class TableLock:
    """A table that a statement locks, and how."""

    name: QualifiedName
    mode: str


@dataclass(frozen=True)
class Performed:
    """A statement that is run as it is written, as the plan's owner."""

    alterations: tuple[Alteration, ...]
    #: Names that exist only once it has run, each with the name that it had before, or None for something new. What
    #: may be replaced has had its own.
    introduces: tuple[tuple[Named, Named | None], ...]
    #: Tables that it locks besides those of its alterations.
    locks: tuple[TableLock, ...]
    #: Tables and views whose rows it writes, as far as it says so.
    writes: tuple[QualifiedName, ...]
    #: Tables that the server may write anew for it.
    rewrites: tuple[QualifiedName, ...]
    #: Whether what it does is not in its text: a function, a block.
    opaque: bool
    truncates: bool
    #: Whether it restarts the sequences of what it empties.
    restarts: bool
    #: Whether it also empties whatever refers to that.
    cascades: bool
    line: int
    text: str


#: How the grammar calls the kinds of object that have a name of their own.
KINDS: Final[Mapping[ObjectType, str]] = {
    ObjectType.OBJECT_TABLE: "table",
    ObjectType.OBJECT_INDEX: "index",
    ObjectType.OBJECT_VIEW: "view",
    ObjectType.OBJECT_MATVIEW: "materialized view",
    ObjectType.OBJECT_SEQUENCE: "sequence",
    ObjectType.OBJECT_TYPE: "type",
    ObjectType.OBJECT_DOMAIN: "domain",
    ObjectType.OBJECT_SCHEMA: "schema",
    ObjectType.OBJECT_FUNCTION: "function",
    ObjectType.OBJECT_PROCEDURE: "procedure",
    ObjectType.OBJECT_ROUTINE: "routine",
    ObjectType.OBJECT_AGGREGATE: "aggregate",
    ObjectType.OBJECT_STATISTIC_EXT: "statistics",
}
#: Parts of a table, which are named after it.
PARTS: Final[Mapping[ObjectType, str]] = {
    ObjectType.OBJECT_COLUMN: "column",
    ObjectType.OBJECT_TABCONSTRAINT: "constraint",
    ObjectType.OBJECT_TRIGGER: "trigger",
    ObjectType.OBJECT_RULE: "rule",
    ObjectType.OBJECT_POLICY: "policy",
    ObjectType.OBJECT_ATTRIBUTE: "attribute",
}
#: Parts of a domain.
DOMAIN_PARTS: Final[Mapping[ObjectType, str]] = {ObjectType.OBJECT_DOMCONSTRAINT: "domain constraint"}


@dataclass
class Found:
    """What a reader finds in a statement."""

    alterations: list[Alteration] = field(default_factory=list)
    introduces: list[tuple[Named, Named | None]] = field(default_factory=list)
    locks: list[TableLock] = field(default_factory=list)
    writes: list[QualifiedName] = field(default_factory=list)
    rewrites: list[QualifiedName] = field(default_factory=list)
    opaque: bool = False
    truncates: bool = False
    restarts: bool = False
    cascades: bool = False


class Reader:
    """Reads one kind of statement; the rules say what becomes of it, in docs/statements.md."""

    def __init__(self, read: Callable[[Any, int], Found], *rules: Rule) -> None:
        self.read = read
        self.rules = rules
