"""Statements that are run as they are written: what each changes about what, so that it can be written down before."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from pglast import ast
from pglast.enums import AlterTableType as Sub
from pglast.enums import ConstrType, DropBehavior, ObjectType
from pglast.stream import RawStream
from pglast.visitors import Visitor

from ledger.errors import PlanRefused
from worker.plan.statements import Named, QualifiedName, relation_name


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
    #: Names that exist only once it has run, each with the name that it had before, or None for something new.
    introduces: tuple[tuple[Named, Named | None], ...]
    #: Tables that it locks besides those of its alterations.
    locks: tuple[TableLock, ...]
    #: Tables and views whose rows it writes, as far as it says so.
    writes: tuple[QualifiedName, ...]
    #: Whether what it does is not in its text: a function, a block.
    opaque: bool
    truncates: bool
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
}


def read(stmt: object, line: int, text: str) -> Performed | None:
    """Read a statement that can be run as it is written; None if it is not one.

    Raises:
        PlanRefused: Something in it could not be changed back.
    """
    reader = _READERS.get(type(stmt))
    if reader is None:
        return None
    found = reader(stmt, line)
    return Performed(
        tuple(found.alterations),
        tuple(found.introduces),
        tuple(found.locks),
        tuple(dict.fromkeys(found.writes)),
        found.opaque,
        found.truncates,
        line,
        text,
    )


@dataclass
class _Found:
    """What a reader found in a statement."""

    alterations: list[Alteration] = field(default_factory=list)
    introduces: list[tuple[Named, Named | None]] = field(default_factory=list)
    locks: list[TableLock] = field(default_factory=list)
    writes: list[QualifiedName] = field(default_factory=list)
    opaque: bool = False
    truncates: bool = False


# -- ALTER TABLE --------------------------------------------------------------

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


def _alter_table(stmt: Any, line: int) -> _Found:
    kind = KINDS.get(stmt.objtype)
    if kind is None:
        raise PlanRefused("ALTER of this kind of object is not known to be safe", line=line)
    subject = Named(kind, relation_name(stmt.relation, line), missing_ok=bool(stmt.missing_ok))
    found = _Found()
    for command in stmt.cmds:
        found.alterations.extend(_alter_command(command, subject, line))
        if command.subtype == Sub.AT_AddColumn:
            found.introduces.append((_part(subject, "column", command.def_.colname), None))
        elif command.subtype == Sub.AT_AddConstraint:
            _add_constraint(command.def_, subject, found, line)
    if kind == "table":
        found.locks.append(TableLock(subject.name, "ACCESS EXCLUSIVE"))
    return found


def _add_constraint(constraint: Any, table: Named, found: _Found, line: int) -> None:
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


# -- names, owners, schemas ---------------------------------------------------


def _rename(stmt: Any, line: int) -> _Found:
    was = _renamed(stmt, line)
    if was.part is not None:
        now = replace(was, part=stmt.newname)
    else:
        now = replace(was, name=(*was.name[:-1], stmt.newname))
    return _Found([Alteration("name", was, stmt.newname)], [(now, was)])


def _renamed(stmt: Any, line: int) -> Named:
    kind, missing_ok = stmt.renameType, bool(stmt.missing_ok)
    if kind in PARTS:
        table = relation_name(stmt.relation, line)
        return Named(PARTS[kind], table, part=stmt.subname, table_missing_ok=missing_ok)
    if kind in KINDS and stmt.relation is not None:
        return Named(KINDS[kind], relation_name(stmt.relation, line), missing_ok=missing_ok)
    if kind in KINDS:
        return object_name(KINDS[kind], stmt.object if stmt.object is not None else stmt.subname, line)
    raise PlanRefused("RENAME of this kind of object is not known to be safe", line=line)


def _set_schema(stmt: Any, line: int) -> _Found:
    kind = KINDS.get(stmt.objectType)
    if kind is None:
        raise PlanRefused("SET SCHEMA of this kind of object is not known to be safe", line=line)
    missing_ok = bool(stmt.missing_ok)
    if stmt.relation is not None:
        named = Named(kind, relation_name(stmt.relation, line), missing_ok=missing_ok)
    else:
        named = object_name(kind, stmt.object, line)
    now = replace(named, name=(stmt.newschema, named.name[-1]))
    return _Found([Alteration("schema", named, stmt.newschema)], [(now, named)])


def _set_owner(stmt: Any, line: int) -> _Found:
    kind = KINDS.get(stmt.objectType)
    if kind is None:
        raise PlanRefused("OWNER TO of this kind of object is not known to be safe", line=line)
    named = (
        Named(kind, relation_name(stmt.relation, line))
        if stmt.relation is not None
        else object_name(kind, stmt.object, line)
    )
    return _Found([Alteration("owner", named)])


def _comment(stmt: Any, line: int) -> _Found:
    if stmt.objtype in PARTS:
        *table, part = (name.sval for name in stmt.object)
        return _Found([Alteration("comment", Named(PARTS[stmt.objtype], tuple(table), part=part))])
    if stmt.objtype in KINDS:
        return _Found([Alteration("comment", object_name(KINDS[stmt.objtype], stmt.object, line))])
    raise PlanRefused("COMMENT ON this kind of object is not known to be safe", line=line)


def object_name(kind: str, entry: object, line: int) -> Named:
    """Return what a node that names an object names."""
    arguments = None
    parts: Any = entry
    if isinstance(entry, ast.ObjectWithArgs):
        parts = entry.objname
        if not entry.args_unspecified:
            arguments = tuple(_type_text(argument) for argument in entry.objargs or ())
    elif isinstance(entry, ast.TypeName):
        parts = entry.names
    elif isinstance(entry, ast.String):
        parts = (entry,)
    elif isinstance(entry, str):
        return Named(kind, (entry,))
    name = tuple(part.sval for part in parts)
    if len(name) > 2:
        raise PlanRefused("a name with a database in front is refused; write schema.name", line=line)
    return Named(kind, name, arguments=arguments)


def _type_text(node: Any) -> str:
    text: str = RawStream()(node)
    return text


# -- CREATE -------------------------------------------------------------------


def _creates(kind: str, name: Callable[[Any], Any]) -> Callable[[Any, int], _Found]:
    def reader(stmt: Any, line: int) -> _Found:
        found = name(stmt)
        made = relation_name(found, line) if isinstance(found, ast.RangeVar) else _plain(found)
        return _Found(introduces=[(Named(kind, made), None)])

    return reader


def _plain(found: object) -> QualifiedName:
    if isinstance(found, str):
        return (found,)
    assert isinstance(found, tuple)  # noqa: S101 - the grammar gives a list of names
    return tuple(part.sval for part in found)


def _create_table(stmt: Any, line: int) -> _Found:
    if stmt.relation.relpersistence == "t":
        raise PlanRefused("a temporary table would be gone before anybody sees it; use a table", line=line)
    found = _Found(introduces=[(Named("table", relation_name(stmt.relation, line)), None)])
    for element in stmt.tableElts or ():
        for constraint in (element, *(getattr(element, "constraints", None) or ())):
            referenced = getattr(constraint, "pktable", None)
            if referenced is not None:
                found.locks.append(TableLock(relation_name(referenced, line), "SHARE ROW EXCLUSIVE"))
    if stmt.inhRelations:
        raise PlanRefused("creating a partition or a child of a table is not known to be safe yet", line=line)
    return found


def _create_as(stmt: Any, line: int) -> _Found:
    kind = KINDS[stmt.objtype]
    if stmt.into.rel.relpersistence == "t":
        raise PlanRefused("a temporary table would be gone before anybody sees it; use a table", line=line)
    return _Found(introduces=[(Named(kind, relation_name(stmt.into.rel, line)), None)])


def _index(stmt: Any, line: int) -> _Found:
    if stmt.concurrent:
        raise PlanRefused("CREATE INDEX CONCURRENTLY cannot run in a transaction; write CREATE INDEX", line=line)
    table = relation_name(stmt.relation, line)
    found = _Found(locks=[TableLock(table, "SHARE")])
    if stmt.idxname is not None:
        found.introduces.append((Named("index", (*table[:-1], stmt.idxname)), None))
    return found


def _on_table(stmt: Any, line: int) -> _Found:
    """Read a trigger, rule or policy: made on a table, under a name of its own there."""
    match stmt:
        case ast.CreateTrigStmt():
            table, name, kind, mode = stmt.relation, stmt.trigname, "trigger", "SHARE ROW EXCLUSIVE"
        case ast.RuleStmt():
            table, name, kind, mode = stmt.relation, stmt.rulename, "rule", "ACCESS EXCLUSIVE"
        case _:
            table, name, kind, mode = stmt.table, stmt.policy_name, "policy", "ACCESS EXCLUSIVE"
    made = Named(kind, relation_name(table, line), part=name)
    found = _Found(introduces=[(made, None)], locks=[TableLock(made.name, mode)])
    if getattr(stmt, "replace", False):
        found.alterations.append(Alteration("definition", replace(made, missing_ok=True)))
    return found


def _view(stmt: Any, line: int) -> _Found:
    made = Named("view", relation_name(stmt.view, line))
    replaced = [Alteration("definition", replace(made, missing_ok=True))] if stmt.replace else []
    return _Found(replaced, [(made, None)])


# -- rows ---------------------------------------------------------------------


def _rows(stmt: Any, line: int) -> _Found:
    """Read INSERT, UPDATE, DELETE and MERGE, wherever they stand in the statement."""
    return _Found(writes=[relation_name(node.relation, line) for node in _written_in(stmt)])


def _written_in(stmt: Any) -> Iterator[Any]:
    writers = (ast.InsertStmt, ast.UpdateStmt, ast.DeleteStmt, ast.MergeStmt)
    found: list[Any] = []

    class Finder(Visitor):
        def visit(self, _ancestors: object, node: object) -> None:
            if isinstance(node, writers):
                found.append(node)

    Finder()(stmt)
    yield from found


def _truncate(stmt: Any, line: int) -> _Found:
    if stmt.behavior == DropBehavior.DROP_CASCADE:
        raise PlanRefused("TRUNCATE … CASCADE would empty tables that it does not name; name them", line=line)
    return _Found(writes=[relation_name(entry, line) for entry in stmt.relations], truncates=True)


def _select(stmt: Any, line: int) -> _Found:
    if stmt.intoClause is not None:
        if stmt.intoClause.rel.relpersistence == "t":
            raise PlanRefused("a temporary table would be gone before anybody sees it; use a table", line=line)
        made = Named("table", relation_name(stmt.intoClause.rel, line))
        return _Found(introduces=[(made, None)], opaque=True)
    return _Found(writes=[relation_name(node.relation, line) for node in _written_in(stmt)], opaque=True)


def _opaque(_stmt: Any, _line: int) -> _Found:
    return _Found(opaque=True)


_READERS: Final[Mapping[type, Callable[[Any, int], _Found]]] = {
    ast.AlterTableStmt: _alter_table,
    ast.RenameStmt: _rename,
    ast.AlterObjectSchemaStmt: _set_schema,
    ast.AlterOwnerStmt: _set_owner,
    ast.CommentStmt: _comment,
    ast.CreateStmt: _create_table,
    ast.CreateTableAsStmt: _create_as,
    ast.CreateSeqStmt: _creates("sequence", lambda s: s.sequence),
    ast.CreateEnumStmt: _creates("type", lambda s: s.typeName),
    ast.CompositeTypeStmt: _creates("type", lambda s: s.typevar),
    ast.CreateDomainStmt: _creates("domain", lambda s: s.domainname),
    ast.CreateRangeStmt: _creates("type", lambda s: s.typeName),
    ast.CreateSchemaStmt: _creates("schema", lambda s: s.schemaname),
    ast.InsertStmt: _rows,
    ast.UpdateStmt: _rows,
    ast.DeleteStmt: _rows,
    ast.MergeStmt: _rows,
    ast.TruncateStmt: _truncate,
    ast.SelectStmt: _select,
    ast.DoStmt: _opaque,
    ast.CallStmt: _opaque,
    ast.IndexStmt: _index,
    ast.ViewStmt: _view,
    ast.CreateTrigStmt: _on_table,
    ast.RuleStmt: _on_table,
    ast.CreatePolicyStmt: _on_table,
}
