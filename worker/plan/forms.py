"""The forms of ALTER TABLE: what each changes, and those that no plan may use."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from pglast.enums import AlterTableType as Sub
from pglast.enums import ObjectType

from worker.plan import refused
from worker.plan.performed import Alteration
from worker.plan.rules import Refusal, Rule
from worker.plan.statements import Named, relation_name

#: Says what one command of an ALTER TABLE changes: the command, the object, what the form is about, the line.
_Says: TypeAlias = Callable[[Any, Named, str, int], Iterator[Alteration]]


@dataclass(frozen=True)
class Form:
    """One form of ALTER TABLE: what it changes, by its name in worker/objects/altered.py, and how it is read."""

    what: str
    says: _Says
    rule: Rule


# -- what one command changes -------------------------------------------------


def _of_column(command: Any, subject: Named, what: str, line: int) -> Iterator[Alteration]:
    if command.name is None:
        raise BY_NUMBER.at(line)
    names = [option.defname for option in _options(command)]
    yield Alteration(what, part_of(subject, "column", command.name), ", ".join(names))


def _of_table(command: Any, subject: Named, what: str, _line: int) -> Iterator[Alteration]:
    names = [f"{o.defnamespace}.{o.defname}" if o.defnamespace else o.defname for o in _options(command)]
    yield Alteration(what, subject, ", ".join(names))


def _named_part(kind: str) -> _Says:
    def says(command: Any, subject: Named, what: str, _line: int) -> Iterator[Alteration]:
        yield Alteration(what, part_of(subject, kind, command.name))

    return says


def _type(command: Any, subject: Named, what: str, _line: int) -> Iterator[Alteration]:
    # Without USING the type alone says what becomes of the values.
    to = "" if command.def_.raw_default is not None else command.def_.typeName.names[-1].sval
    plain = not command.def_.typeName.arrayBounds and not command.def_.typeName.typmods
    yield Alteration(what, part_of(subject, "column", command.name), to if plain else "")


def _constraint(command: Any, subject: Named, what: str, line: int) -> Iterator[Alteration]:
    if not command.def_.alterDeferrability or command.def_.alterEnforceability or command.def_.alterInheritability:
        raise ALTER_CONSTRAINT.at(line)
    yield Alteration(what, part_of(subject, "constraint", command.def_.conname))


def _partition(command: Any, subject: Named, what: str, line: int) -> Iterator[Alteration]:
    if subject.kind == "index":
        raise ATTACH_INDEX.at(line)
    if getattr(command.def_, "concurrent", False):
        raise DETACH_CONCURRENTLY.at(line)
    yield Alteration("family", subject)
    to = json.dumps(subject.name) if command.subtype == Sub.AT_AttachPartition else ""
    yield Alteration(what, Named("table", relation_name(command.def_.name, line)), to)


def _parent(command: Any, subject: Named, what: str, line: int) -> Iterator[Alteration]:
    parent = relation_name(command.def_, line)
    yield Alteration("family", Named("table", parent))
    yield Alteration(what, subject, json.dumps(parent))


def _added(_command: Any, _subject: Named, _what: str, _line: int) -> Iterator[Alteration]:
    """Say nothing: what is new shows in the catalog afterwards."""
    yield from ()


def _options(command: Any) -> tuple[Any, ...]:
    """Return the names of storage options in SET and RESET; other commands have something else there."""
    has = {Sub.AT_SetRelOptions, Sub.AT_ResetRelOptions, Sub.AT_SetOptions, Sub.AT_ResetOptions}
    return tuple(command.def_) if command.subtype in has else ()


def part_of(subject: Named, kind: str, name: str) -> Named:
    """Return a part of a table, as the plan names it."""
    return Named(kind, subject.name, part=name, table_missing_ok=subject.missing_ok)


# -- the forms ----------------------------------------------------------------

_CREATED: Final = "run as written; what it made goes into the quarantine of the recovery"


def _column(what: str, statement: str, done: str, why: str = "") -> Form:
    return Form(what, _of_column, Rule(f"ALTER TABLE … ALTER COLUMN … {statement}", done, why))


def _table(what: str, statement: str, done: str, why: str = "") -> Form:
    return Form(what, _of_table, Rule(f"ALTER TABLE … {statement}", done, why))


_NOT_NULL = _column(
    "not null",
    "SET NOT NULL, DROP NOT NULL",
    "run as written; set again as it was, from 18 on NOT VALID and validated after COMMIT",
)
_SETTINGS = _column(
    "column settings",
    "SET STATISTICS, SET STORAGE, SET COMPRESSION, SET (…), RESET (…)",
    "run as written; set again as they were",
)
_IDENTITY = _column(
    "identity",
    "SET GENERATED, SET sequence options, RESTART",
    "run as written; kind, options and position come back, and no number is given twice",
)
_ROW_SECURITY = _table(
    "row security", "ENABLE, DISABLE, FORCE, NO FORCE ROW LEVEL SECURITY", "run as written; set again as it was"
)
_STORAGE = _table("storage options", "SET (…), RESET (…)", "run as written; set again as they were")
_CLUSTER = _table("cluster", "CLUSTER ON, SET WITHOUT CLUSTER", "run as written; set again as it was")
_PERSISTENCE = _table(
    "persistence",
    "SET LOGGED, SET UNLOGGED",
    "run as written, with the owned sequences; set again as it was",
    "the server writes the table anew under the lock, so it blocks for as long as that takes",
)
_FIRES: Final = Rule(
    "ALTER TABLE … ENABLE, DISABLE TRIGGER, RULE", "run as written; when each fires is set again as it was"
)
_FIRING_TRIGGER = Form("firing", _named_part("trigger"), _FIRES)
_FIRING_RULE = Form("firing", _named_part("rule"), _FIRES)
_FIRING_ALL = Form("firing of all", _of_table, _FIRES)

FORMS: Final[Mapping[Sub, Form]] = {
    Sub.AT_AddColumn: Form("", _added, Rule("ALTER TABLE … ADD COLUMN", _CREATED)),
    Sub.AT_AddConstraint: Form("", _added, Rule("ALTER TABLE … ADD CONSTRAINT", _CREATED)),
    Sub.AT_ColumnDefault: _column("default", "SET DEFAULT, DROP DEFAULT", "run as written; set again as it was"),
    Sub.AT_SetNotNull: _NOT_NULL,
    Sub.AT_DropNotNull: _NOT_NULL,
    Sub.AT_AlterColumnType: Form(
        "type",
        _type,
        Rule(
            "ALTER TABLE … ALTER COLUMN … TYPE",
            "run as written; key and values as they were are copied before; what was written since is converted back by"
            " its text",
            "a conversion loses what the new type cannot hold, unless it holds all of the old one's values",
        ),
    ),
    Sub.AT_SetExpression: _column(
        "expression",
        "SET EXPRESSION",
        "run as written; the expression as it was comes back, and computes the values again",
        "what is computed needs no copy",
    ),
    Sub.AT_SetStatistics: _SETTINGS,
    Sub.AT_SetOptions: _SETTINGS,
    Sub.AT_ResetOptions: _SETTINGS,
    Sub.AT_SetStorage: _SETTINGS,
    Sub.AT_SetCompression: _SETTINGS,
    Sub.AT_AddIdentity: _column(
        "identity",
        "ADD GENERATED AS IDENTITY",
        "run as written; the identity goes at the recovery, which copies the position of its sequence",
    ),
    Sub.AT_SetIdentity: _IDENTITY,
    Sub.AT_AlterConstraint: Form(
        "deferrability",
        _constraint,
        Rule("ALTER TABLE … ALTER CONSTRAINT … DEFERRABLE", "run as written; set again as it was"),
    ),
    Sub.AT_ValidateConstraint: Form(
        "validation",
        _named_part("constraint"),
        Rule("ALTER TABLE … VALIDATE CONSTRAINT", "run as written; made again NOT VALID, if it was"),
    ),
    Sub.AT_EnableRowSecurity: _ROW_SECURITY,
    Sub.AT_DisableRowSecurity: _ROW_SECURITY,
    Sub.AT_ForceRowSecurity: _ROW_SECURITY,
    Sub.AT_NoForceRowSecurity: _ROW_SECURITY,
    Sub.AT_SetRelOptions: _STORAGE,
    Sub.AT_ResetRelOptions: _STORAGE,
    Sub.AT_ReplicaIdentity: _table("replica identity", "REPLICA IDENTITY", "run as written; set again as it was"),
    Sub.AT_ClusterOn: _CLUSTER,
    Sub.AT_DropCluster: _CLUSTER,
    Sub.AT_ChangeOwner: _table("owner", "OWNER TO", "run as written; the owner of all that belongs to it comes back"),
    Sub.AT_SetLogged: _PERSISTENCE,
    Sub.AT_SetUnLogged: _PERSISTENCE,
    Sub.AT_EnableTrig: _FIRING_TRIGGER,
    Sub.AT_EnableAlwaysTrig: _FIRING_TRIGGER,
    Sub.AT_EnableReplicaTrig: _FIRING_TRIGGER,
    Sub.AT_DisableTrig: _FIRING_TRIGGER,
    Sub.AT_EnableTrigUser: _FIRING_ALL,
    Sub.AT_DisableTrigUser: _FIRING_ALL,
    Sub.AT_EnableRule: _FIRING_RULE,
    Sub.AT_EnableAlwaysRule: _FIRING_RULE,
    Sub.AT_EnableReplicaRule: _FIRING_RULE,
    Sub.AT_DisableRule: _FIRING_RULE,
    Sub.AT_AttachPartition: Form(
        "partition",
        _partition,
        Rule(
            "ALTER TABLE … ATTACH PARTITION",
            "run as written; detached at the recovery, which takes away what came along: indexes and keys",
        ),
    ),
    Sub.AT_DetachPartition: Form(
        "partition",
        _partition,
        Rule(
            "ALTER TABLE … DETACH PARTITION",
            "run as written; attached again with the bound that it had",
            "ATTACH reads the partition under the lock, and the default partition if there is one",
        ),
    ),
    Sub.AT_AddInherit: Form(
        "parents", _parent, Rule("ALTER TABLE … INHERIT", "run as written; taken from that parent at the recovery")
    ),
    Sub.AT_DropInherit: Form(
        "leaving",
        _parent,
        Rule(
            "ALTER TABLE … NO INHERIT",
            "run as written; given back to its parent, where it has no other and nothing from that one alone",
            "a column that was only inherited becomes the child's own, and no statement makes that good again",
        ),
    ),
}

ATTACH_INDEX: Final = Refusal(
    "ALTER INDEX … ATTACH PARTITION", "no statement takes an index from its parent again; create it on the whole table"
)
DETACH_CONCURRENTLY: Final = Refusal(
    "DETACH PARTITION … CONCURRENTLY", "it cannot run in a transaction; leave CONCURRENTLY out"
)
ALTER_CONSTRAINT: Final = Refusal(
    "ALTER CONSTRAINT … ENFORCED, INHERIT",
    "rows or children may not fit when it is changed back; drop and add it instead",
)
BY_NUMBER: Final = Refusal(
    "ALTER INDEX … ALTER COLUMN … SET STATISTICS", "a column of an index has only a number; create the index anew"
)
_FIRING_INTERNAL = Refusal(
    "ENABLE, DISABLE TRIGGER ALL",
    "it switches foreign keys off, and what they let through stays; write USER instead of ALL",
)
_FOREIGN: Final = refused.KINDS[ObjectType.OBJECT_FOREIGN_TABLE]
_TYPED: Final = Refusal(
    "ALTER TABLE … OF, NOT OF", "typed tables are not covered: what the type says, the table has to follow"
)

#: Forms that no plan may use.
REFUSED: Final[Mapping[Sub, Refusal]] = {
    Sub.AT_DropExpression: Refusal(
        "ALTER COLUMN … DROP EXPRESSION",
        "no statement makes a column generated that is not; write DROP COLUMN and ADD COLUMN, then UPDATE",
    ),
    Sub.AT_SetTableSpace: Refusal(
        "ALTER TABLE … SET TABLESPACE",
        "the server copies all files under the lock, and whether they find room when they come back nobody knows; do it"
        " by hand",
    ),
    Sub.AT_SetAccessMethod: Refusal(
        "ALTER TABLE … SET ACCESS METHOD", "another method may not keep rows as this one does; do it by hand"
    ),
    Sub.AT_DropOids: Refusal("ALTER TABLE … SET WITHOUT OIDS", "no table has had them since 12; leave it out"),
    Sub.AT_EnableTrigAll: _FIRING_INTERNAL,
    Sub.AT_DisableTrigAll: _FIRING_INTERNAL,
    Sub.AT_AddOf: _TYPED,
    Sub.AT_DropOf: _TYPED,
    Sub.AT_GenericOptions: _FOREIGN,
    Sub.AT_AlterColumnGenericOptions: _FOREIGN,
    Sub.AT_DetachPartitionFinalize: Refusal(
        "DETACH PARTITION … FINALIZE", "it ends what somebody began outside any transaction; do it by hand"
    ),
}

UNKNOWN: Final = Refusal("this form of ALTER", "it is not known to be safe for this kind of object")

#: What the server's analysis makes of others: the parser never gives it.
INTERNAL: Final = frozenset(
    {
        Sub.AT_AddColumnToView,
        Sub.AT_CookedColumnDefault,
        Sub.AT_AddIndex,
        Sub.AT_ReAddIndex,
        Sub.AT_ReAddConstraint,
        Sub.AT_ReAddDomainConstraint,
        Sub.AT_AddIndexConstraint,
        Sub.AT_ReAddComment,
        Sub.AT_ReplaceRelOptions,
        Sub.AT_ReAddStatistics,
    }
)
