"""What a plan may drop, and how each kind is kept: these statements are compiled, never sent as they are written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from pglast.enums import AlterTableType, ObjectType

from worker.plan.rules import Rule


@dataclass(frozen=True)
class Dropped:
    """A kind of object that a plan may drop."""

    kind: str
    rule: Rule


def _is(kind: str, done: str, why: str = "") -> Dropped:
    return Dropped(kind, Rule(f"DROP {kind.upper()}", done, why))


_ROUTINE: Final = "definition, owner, grants and comment are kept, then dropped"
_ON_TABLE: Final = "definition, comment and firing state are kept, then dropped"

#: What DROP may name.
DROPPED: Final[Mapping[ObjectType, Dropped]] = {
    ObjectType.OBJECT_TABLE: _is(
        "table",
        "it moves into quarantine with rows, indexes, constraints and owned sequences; so do partitions,"
        " which are parts of it, and children, each by itself;"
        " a partition or child alone is taken from its parents first, and tied to them again",
        "a move copies nothing, so that blocking does not grow with the rows",
    ),
    ObjectType.OBJECT_MATVIEW: _is("materialized view", "it moves with its rows, indexes and options, filled or not"),
    ObjectType.OBJECT_SEQUENCE: _is(
        "sequence", "it moves with its position; a survivor's default that uses it is written down"
    ),
    ObjectType.OBJECT_TYPE: _is(
        "type",
        "an enum or composite type moves; a column of another table that uses it is copied first, if `accepts` names"
        " it; the definition of a range is kept, if nothing that is kept is of it",
        "the constructors of a range belong to the superuser, and cannot be moved",
    ),
    ObjectType.OBJECT_DOMAIN: _is("domain", "as a type"),
    ObjectType.OBJECT_SCHEMA: _is(
        "schema", "what is in it is kept by its own kind; its owner, privileges and comment as definitions"
    ),
    ObjectType.OBJECT_INDEX: _is(
        "index",
        "its definition is kept, and that of each partition's; an index of a table that moves goes along",
    ),
    ObjectType.OBJECT_VIEW: _is(
        "view", "query, options, owner, grants, comments, column defaults, rules and triggers are kept, then dropped"
    ),
    ObjectType.OBJECT_FUNCTION: _is("function", _ROUTINE),
    ObjectType.OBJECT_PROCEDURE: _is("procedure", _ROUTINE),
    ObjectType.OBJECT_ROUTINE: _is("routine", _ROUTINE),
    ObjectType.OBJECT_AGGREGATE: _is("aggregate", _ROUTINE),
    ObjectType.OBJECT_TRIGGER: _is("trigger", _ON_TABLE, "left on a moved table it would go on running"),
    ObjectType.OBJECT_RULE: _is("rule", _ON_TABLE),
    ObjectType.OBJECT_POLICY: _is("policy", _ON_TABLE),
    ObjectType.OBJECT_STATISTIC_EXT: _is("statistics", "definition, owner and comment are kept, then dropped"),
}

#: What ALTER TABLE may drop.
ALTERED: Final[Mapping[AlterTableType, Dropped]] = {
    AlterTableType.AT_DropColumn: Dropped(
        "column",
        Rule(
            "ALTER TABLE … DROP COLUMN",
            "key and columns are copied into quarantine, those of large tables before the lock, then dropped, from all"
            " partitions too; sequences of a serial or identity column come back as they were and go on after their"
            " last number",
            "the key is what tells the rows apart when the values come back",
        ),
    ),
    AlterTableType.AT_DropConstraint: Dropped(
        "constraint",
        Rule(
            "ALTER TABLE … DROP CONSTRAINT",
            "definition and comment are kept; a foreign key comes back NOT VALID and is validated after COMMIT",
            "looking at all rows under the lock would make blocking grow with them",
        ),
    ),
    AlterTableType.AT_DropIdentity: Dropped(
        "identity",
        Rule(
            "ALTER TABLE … ALTER COLUMN … DROP IDENTITY",
            "the definition of its sequence is written down and its position copied; the identity is made again over a"
            " sequence that goes on there",
            "an identity and its sequence cannot be parted, so the sequence cannot move",
        ),
    ),
}

#: What ALTER DOMAIN may drop.
DOMAIN_CONSTRAINT: Final = Dropped(
    "domain constraint",
    Rule(
        "ALTER DOMAIN … DROP CONSTRAINT",
        "definition and comment are kept; CHECK comes back NOT VALID and is validated after COMMIT",
    ),
)
