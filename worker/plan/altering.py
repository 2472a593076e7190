"""ALTER, RENAME, OWNER TO, SET SCHEMA, COMMENT and GRANT: what each changes about which object."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from pglast import ast
from pglast.enums import AlterTableType as Sub
from pglast.enums import ConstrType, GrantTargetType

from ledger.errors import PlanRefused
from worker.plan.performed import KINDS, PARTS, Alteration, Found, TableLock
from worker.plan.statements import Named, object_named, relation_name

#: Commands about one column.
_COLUMN: Final[Mapping[Sub, str]] = {
    Sub.AT_ColumnDefault: "default",
    Sub.AT_SetNotNull: "not null",
    Sub.AT_DropNotNull: "not null",
    Sub.AT_SetStatistics: "column settings",
    Sub.AT_SetOptions: "column settings",
    Sub.AT_ResetOptions: "column settings",
    Sub.AT_SetStorage: "column settings",
    Sub.AT_SetCompression: "column settings",
}
#: Commands about the table as a whole.
_TABLE: Final[Mapping[Sub, str]] = {
    Sub.AT_EnableRowSecurity: "row security",
    Sub.AT_DisableRowSecurity: "row security",
    Sub.AT_ForceRowSecurity: "row security",
    Sub.AT_NoForceRowSecurity: "row security",
    Sub.AT_SetRelOptions: "storage options",
    Sub.AT_ResetRelOptions: "storage options",
    Sub.AT_ReplicaIdentity: "replica identity",
    Sub.AT_ClusterOn: "cluster",
    Sub.AT_DropCluster: "cluster",
    Sub.AT_ChangeOwner: "owner",
}
#: Commands about the firing of triggers and rules.
_FIRING: Final[Mapping[Sub, str]] = {
    Sub.AT_EnableTrig: "trigger",
    Sub.AT_EnableAlwaysTrig: "trigger",
    Sub.AT_EnableReplicaTrig: "trigger",
    Sub.AT_DisableTrig: "trigger",
    Sub.AT_EnableRule: "rule",
    Sub.AT_EnableAlwaysRule: "rule",
    Sub.AT_EnableReplicaRule: "rule",
    Sub.AT_DisableRule: "rule",
}
_ADDED: Final = frozenset({Sub.AT_AddColumn, Sub.AT_AddConstraint})


def _alter_table(stmt: Any, line: int) -> Found:
    kind = KINDS.get(stmt.objtype)
    if kind is None:
        raise PlanRefused("ALTER of this kind of object is not known to be safe", line=line)
    if kind == "type":
        raise PlanRefused("ALTER TYPE of attributes is not covered yet: their values could not come back", line=line)
    subject = Named(kind, relation_name(stmt.relation, line), missing_ok=bool(stmt.missing_ok))
    found = Found()
    for command in stmt.cmds:
        found.alterations.extend(_alter_command(command, subject, line))
        if command.subtype == Sub.AT_AddColumn:
            found.introduces.append((_part(subject, "column", command.def_.colname), None))
            # Where each row needs a value of its own: serial, identity, generated, now() and its like.
            found.rewrites.append(subject.name)
        elif command.subtype == Sub.AT_AddConstraint:
            _add_constraint(command.def_, subject, found, line)
    if kind == "table":
        found.locks.append(TableLock(subject.name, "ACCESS EXCLUSIVE"))
    return found


def _add_constraint(constraint: Any, table: Named, found: Found, line: int) -> None:
    if constraint.indexname:
        raise PlanRefused(
            "ADD CONSTRAINT … USING INDEX would rename the index; create the constraint itself", line=line
        )
    if constraint.conname:
        found.introduces.append((_part(table, "constraint", constraint.conname), None))
    if constraint.pktable is not None:
        found.locks.append(TableLock(relation_name(constraint.pktable, line), "SHARE ROW EXCLUSIVE"))
    if constraint.contype == ConstrType.CONSTR_PRIMARY:
        columns = [key.sval for key in constraint.keys or ()]
        found.alterations.extend(Alteration("not null", _part(table, "column", name)) for name in columns)


def _alter_command(command: Any, subject: Named, line: int) -> Iterator[Alteration]:
    kind = command.subtype
    if kind in _COLUMN:
        names = [option.defname for option in _options(command)]
        yield Alteration(_COLUMN[kind], _part(subject, "column", command.name), ", ".join(names))
    elif kind == Sub.AT_AlterColumnType:
        # Without USING the type alone says what becomes of the values.
        to = "" if command.def_.raw_default is not None else command.def_.typeName.names[-1].sval
        plain = not command.def_.typeName.arrayBounds and not command.def_.typeName.typmods
        yield Alteration("type", _part(subject, "column", command.name), to if plain else "")
    elif kind in _TABLE:
        names = [f"{o.defnamespace}.{o.defname}" if o.defnamespace else o.defname for o in _options(command)]
        yield Alteration(_TABLE[kind], subject, ", ".join(names))
    elif kind in _FIRING:
        yield Alteration("firing", _part(subject, _FIRING[kind], command.name))
    elif kind in (Sub.AT_EnableTrigUser, Sub.AT_DisableTrigUser):
        yield Alteration("firing of all", subject)
    elif kind == Sub.AT_ValidateConstraint:
        yield Alteration("validation", _part(subject, "constraint", command.name))
    elif kind not in _ADDED:
        name = kind.name.removeprefix("AT_")
        raise PlanRefused(f"this form of ALTER TABLE ({name}) is not known to be safe", line=line)


def _options(command: Any) -> tuple[Any, ...]:
    """Return the names of storage options in SET and RESET; other commands have something else there."""
    has = {Sub.AT_SetRelOptions, Sub.AT_ResetRelOptions, Sub.AT_SetOptions, Sub.AT_ResetOptions}
    return tuple(command.def_) if command.subtype in has else ()


def _part(subject: Named, kind: str, name: str) -> Named:
    return Named(kind, subject.name, part=name, table_missing_ok=subject.missing_ok)


def _rename(stmt: Any, line: int) -> Found:
    was = _renamed(stmt, line)
    own = {"name": (*was.name[:-1], stmt.newname)} if was.part is None else {"part": stmt.newname}
    now = replace(was, **own)
    return Found([Alteration("name", was, stmt.newname)], [(now, was)])


def _renamed(stmt: Any, line: int) -> Named:
    kind, missing_ok = stmt.renameType, bool(stmt.missing_ok)
    if kind in PARTS:
        table = relation_name(stmt.relation, line)
        return Named(PARTS[kind], table, part=stmt.subname, table_missing_ok=missing_ok)
    if kind in KINDS and stmt.relation is not None:
        return Named(KINDS[kind], relation_name(stmt.relation, line), missing_ok=missing_ok)
    if kind in KINDS:
        return object_named(KINDS[kind], stmt.object if stmt.object is not None else stmt.subname, line)
    raise PlanRefused("RENAME of this kind of object is not known to be safe", line=line)


def _set_schema(stmt: Any, line: int) -> Found:
    kind = KINDS.get(stmt.objectType)
    if kind is None:
        raise PlanRefused("SET SCHEMA of this kind of object is not known to be safe", line=line)
    missing_ok = bool(stmt.missing_ok)
    if stmt.relation is not None:
        named = Named(kind, relation_name(stmt.relation, line), missing_ok=missing_ok)
    else:
        named = object_named(kind, stmt.object, line)
    now = replace(named, name=(stmt.newschema, named.name[-1]))
    return Found([Alteration("schema", named, stmt.newschema)], [(now, named)])


def _set_owner(stmt: Any, line: int) -> Found:
    kind = KINDS.get(stmt.objectType)
    if kind is None:
        raise PlanRefused("OWNER TO of this kind of object is not known to be safe", line=line)
    named = (
        Named(kind, relation_name(stmt.relation, line))
        if stmt.relation is not None
        else object_named(kind, stmt.object, line)
    )
    return Found([Alteration("owner", named)])


def _comment(stmt: Any, line: int) -> Found:
    if stmt.objtype in PARTS:
        *table, part = (name.sval for name in stmt.object)
        return Found([Alteration("comment", Named(PARTS[stmt.objtype], tuple(table), part=part))])
    if stmt.objtype in KINDS:
        return Found([Alteration("comment", object_named(KINDS[stmt.objtype], stmt.object, line))])
    raise PlanRefused("COMMENT ON this kind of object is not known to be safe", line=line)


def _grant(stmt: Any, line: int) -> Found:
    if stmt.targtype != GrantTargetType.ACL_TARGET_OBJECT:
        raise PlanRefused("GRANT and REVOKE on ALL … IN SCHEMA reach what the plan does not name; name them", line=line)
    kind = KINDS.get(stmt.objtype)
    if kind is None:
        raise PlanRefused("GRANT and REVOKE on this kind of object are not known to be safe", line=line)
    found = Found()
    for entry in stmt.objects:
        table = isinstance(entry, ast.RangeVar)
        named = Named(kind, relation_name(entry, line)) if table else object_named(kind, entry, line)
        found.alterations.append(Alteration("grants", named))
    return found


def _enum(stmt: Any, line: int) -> Found:
    if stmt.oldVal is None:
        # Nothing is lost by a label more, and no statement of PostgreSQL takes it away again.
        return Found()
    named = object_named("type", stmt.typeName, line)
    return Found([Alteration("label", named, json.dumps([stmt.oldVal, stmt.newVal]))])


def _sequence(stmt: Any, line: int) -> Found:
    named = Named("sequence", relation_name(stmt.sequence, line), missing_ok=bool(stmt.missing_ok))
    return Found([Alteration("sequence", named)])


def _routine(stmt: Any, line: int) -> Found:
    return Found([Alteration("definition", object_named(KINDS[stmt.objtype], stmt.func, line))])


def _policy(stmt: Any, line: int) -> Found:
    table = relation_name(stmt.table, line)
    named = Named("policy", table, part=stmt.policy_name)
    return Found([Alteration("definition", named)], locks=[TableLock(table, "ACCESS EXCLUSIVE")])


READERS: Final[Mapping[type, Callable[[Any, int], Found]]] = {
    ast.AlterTableStmt: _alter_table,
    ast.RenameStmt: _rename,
    ast.AlterObjectSchemaStmt: _set_schema,
    ast.AlterOwnerStmt: _set_owner,
    ast.CommentStmt: _comment,
    ast.GrantStmt: _grant,
    ast.AlterEnumStmt: _enum,
    ast.AlterSeqStmt: _sequence,
    ast.AlterFunctionStmt: _routine,
    ast.AlterPolicyStmt: _policy,
}
