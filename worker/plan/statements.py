"""The statements of a plan as values: what removes, what is run as it is written, what is refused and why."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import takewhile
from typing import Any, Final, TypeAlias

from pglast import ast, parse_sql
from pglast.enums import AlterTableType, DropBehavior, FunctionParameterMode, ObjectType
from pglast.stream import RawStream

from ledger.errors import PlanRefused

#: A name as the plan writes it: one part, or schema and name.
QualifiedName: TypeAlias = tuple[str, ...]


@dataclass(frozen=True)
class ArgumentType:
    """The type of a function's argument, as the plan writes it."""

    name: QualifiedName
    array: bool = False

    def __str__(self) -> str:
        """Return it as messages say it."""
        return ".".join(self.name) + ("[]" if self.array else "")


@dataclass(frozen=True)
class Named:
    """One object that a statement removes."""

    #: "table", "view", "function", ..., or "column" and "constraint" of a table.
    kind: str
    #: For a part of a table, the table's.
    name: QualifiedName
    #: Its own name, for a part of a table: column, constraint, trigger, rule, policy.
    part: str | None = None
    #: Types of a function's arguments, those that are only given out left away; None if the plan does not say.
    arguments: tuple[ArgumentType, ...] | None = None
    #: The same with all that the plan writes without saying which way they go: a procedure may be named so.
    all_arguments: tuple[ArgumentType, ...] | None = None
    #: Whether it may be missing.
    missing_ok: bool = False
    #: Whether the table may be missing, for a part of one.
    table_missing_ok: bool = False
    cascade: bool = False

    def __str__(self) -> str:
        """Return it as messages say it."""
        said = f"{self.kind} {'.'.join((*self.name, *((self.part,) if self.part else ())))}"
        return said if self.arguments is None else f"{said}({', '.join(map(str, self.arguments))})"


@dataclass(frozen=True)
class Removal:
    """DROP, or ALTER TABLE with nothing but DROP COLUMN and DROP CONSTRAINT: compiled, never sent as it is written."""

    named: tuple[Named, ...]
    line: int
    text: str


@dataclass(frozen=True)
class Analyze:
    """ANALYZE of named tables; done after COMMIT, since it changes nothing that a gate looks at."""

    tables: tuple[QualifiedName, ...]
    line: int
    text: str


#: What DROP may name.
_DROPPED: Final = {
    ObjectType.OBJECT_TABLE: "table",
    ObjectType.OBJECT_INDEX: "index",
    ObjectType.OBJECT_TYPE: "type",
    ObjectType.OBJECT_DOMAIN: "domain",
    ObjectType.OBJECT_MATVIEW: "materialized view",
    ObjectType.OBJECT_SEQUENCE: "sequence",
    ObjectType.OBJECT_SCHEMA: "schema",
    ObjectType.OBJECT_VIEW: "view",
    ObjectType.OBJECT_STATISTIC_EXT: "statistics",
    ObjectType.OBJECT_FUNCTION: "function",
    ObjectType.OBJECT_PROCEDURE: "procedure",
    ObjectType.OBJECT_ROUTINE: "routine",
    ObjectType.OBJECT_AGGREGATE: "aggregate",
    ObjectType.OBJECT_TRIGGER: "trigger",
    ObjectType.OBJECT_RULE: "rule",
    ObjectType.OBJECT_POLICY: "policy",
}

#: Which of these are parts of a table: the last name is theirs, what stands before it the table's.
_PARTS: Final = frozenset({"trigger", "rule", "policy"})

#: What ALTER TABLE may drop.
_ALTERED: Final = {AlterTableType.AT_DropColumn: "column", AlterTableType.AT_DropConstraint: "constraint"}

#: What the refusal of a well-known statement adds.
_ADVICE: Final = {
    ast.TransactionStmt: "transaction control belongs to Stepback: one BEGIN at the start and one COMMIT at the end"
    " are taken off, any other cannot be honoured",
    ast.VariableSetStmt: "SET would change how later statements are understood; qualify the names instead",
    ast.CopyStmt: "COPY moves data past every check",
    ast.AlterSystemStmt: "ALTER SYSTEM changes the whole server",
}


def read(stmt: object, line: int, text: str) -> Removal | Analyze | None:
    """Read a statement that is compiled; None if it is not one.

    Args:
        stmt: The parser's node.
        line: Where it begins, counted from 1.
        text: Exactly as written.

    Raises:
        PlanRefused: A form of it that is not known to be safe.
    """
    match stmt:
        case ast.DropStmt() as drop if drop.removeType in _DROPPED:
            return _drop(drop, line, text)
        case ast.AlterTableStmt() as alter if alter.objtype == ObjectType.OBJECT_TABLE:
            return _alter_table(alter, line, text)
        case ast.VacuumStmt() as vacuum if not vacuum.is_vacuumcmd:
            return _analyze(vacuum, line, text)
    return None


def parted(stmt: object) -> tuple[tuple[object, str], ...]:
    """Part an ALTER TABLE that both drops and changes: what it drops goes first, as on the server.

    Returns:
        Nodes with their text; none for any other statement.
    """
    if not isinstance(stmt, ast.AlterTableStmt) or stmt.objtype != ObjectType.OBJECT_TABLE:
        return ()
    commands: tuple[Any, ...] = stmt.cmds or ()
    drops = tuple(command for command in commands if command.subtype in _ALTERED)
    others = tuple(command for command in commands if command.subtype not in _ALTERED)
    if not drops or not others:
        return ()
    return tuple(_printed(stmt, part) for part in (drops, others))


def _printed(alter: Any, commands: tuple[Any, ...]) -> tuple[object, str]:
    node = ast.AlterTableStmt(
        relation=alter.relation, cmds=commands, objtype=alter.objtype, missing_ok=alter.missing_ok
    )
    text: str = RawStream()(node)
    return parse_sql(text)[0].stmt, text


def refusal(stmt: object, line: int, text: str, source: str) -> PlanRefused:
    """Return why a statement that nobody reads is refused."""
    advice = _ADVICE.get(type(stmt), "this kind of statement is not known to be safe")
    return PlanRefused(f"{source}: {words(text)} is refused: {advice}", line=line)


def _drop(drop: Any, line: int, text: str) -> Removal:
    kind, cascade = _DROPPED[drop.removeType], drop.behavior == DropBehavior.DROP_CASCADE
    named = (object_named(kind, entry, line) for entry in drop.objects)
    may_be = bool(drop.missing_ok)
    # With IF EXISTS the server forgives a missing table to what is part of one, too.
    table_may_be = kind in _PARTS and may_be
    return Removal(
        tuple(replace(one, cascade=cascade, missing_ok=may_be, table_missing_ok=table_may_be) for one in named),
        line,
        text,
    )


def object_named(kind: str, entry: object, line: int) -> Named:
    """Return what a node that names an object names."""
    if isinstance(entry, ast.ObjectWithArgs):
        return _routine(kind, entry, line)
    if isinstance(entry, ast.TypeName):
        if entry.arrayBounds or entry.setof or entry.pct_type:
            raise PlanRefused("DROP TYPE takes the name of a type, not of an array of it", line=line)
        entry = entry.names
    if isinstance(entry, ast.String | str):
        return Named(kind, (entry if isinstance(entry, str) else str(entry.sval),))
    assert isinstance(entry, tuple)  # noqa: S101 - the grammar gives a list of names
    name = tuple(part.sval for part in entry)
    if kind in _PARTS:
        return Named(kind, _qualified(name[:-1], line), part=name[-1])
    return Named(kind, _qualified(name, line))


def _routine(kind: str, entry: Any, line: int) -> Named:
    name = _qualified(tuple(part.sval for part in entry.objname), line)
    if entry.args_unspecified:
        return Named(kind, name)
    arguments = tuple(argument_type(argument, line) for argument in entry.objargs or ())
    parameters = entry.objfuncargs or ()
    if any(parameter.mode != FunctionParameterMode.FUNC_PARAM_DEFAULT for parameter in parameters):
        return Named(kind, name, arguments=arguments)
    every = tuple(argument_type(parameter.argType, line) for parameter in parameters)
    return Named(kind, name, arguments=arguments, all_arguments=every)


def argument_type(argument: Any, line: int) -> ArgumentType:
    """Return the type of a function's argument."""
    if argument.pct_type or argument.setof:
        raise PlanRefused("write the types of a function's arguments as they are, without %TYPE or SETOF", line=line)
    name = _qualified(tuple(part.sval for part in argument.names), line)
    return ArgumentType(name, array=bool(argument.arrayBounds))


def _alter_table(alter: Any, line: int, text: str) -> Removal | None:
    if any(command.subtype not in _ALTERED for command in alter.cmds):
        return None
    table = relation_name(alter.relation, line)
    named = tuple(
        Named(
            _ALTERED[command.subtype],
            table,
            part=command.name,
            missing_ok=bool(command.missing_ok),
            table_missing_ok=bool(alter.missing_ok),
            cascade=command.behavior == DropBehavior.DROP_CASCADE,
        )
        for command in alter.cmds
    )
    return Removal(named, line, text)


def _analyze(vacuum: Any, line: int, text: str) -> Analyze:
    if not vacuum.rels:
        raise PlanRefused("ANALYZE without a table would read the whole database; name the tables", line=line)
    if vacuum.options:
        raise PlanRefused("ANALYZE with options is not known to be safe; write ANALYZE and the tables", line=line)
    return Analyze(tuple(relation_name(entry.relation, line) for entry in vacuum.rels), line, text)


def relation_name(relation: Any, line: int) -> QualifiedName:
    """Return the name in a RangeVar."""
    if relation.catalogname is not None:
        raise PlanRefused("a name with a database in front is refused; write schema.name", line=line)
    return (relation.schemaname, relation.relname) if relation.schemaname else (relation.relname,)


def new_name(written: Any, line: int) -> QualifiedName:
    """Return the name of what a statement makes.

    Raises:
        PlanRefused: It would be temporary.
    """
    if isinstance(written, ast.RangeVar):
        temporary, name = written.relpersistence == "t", relation_name(written, line)
    else:
        temporary, name = False, _qualified(tuple(part.sval for part in written), line)
    if temporary or name[:-1] == ("pg_temp",):
        raise PlanRefused("what is temporary would be gone before anybody sees it; leave TEMPORARY out", line=line)
    return name


def _qualified(name: QualifiedName, line: int) -> QualifiedName:
    if len(name) > 2:
        raise PlanRefused("a name with a database in front is refused; write schema.name", line=line)
    return name


def words(text: str) -> str:
    """Return the first words of a statement, for a message; never its values."""
    first = takewhile(lambda word: word.replace("_", "").isalpha(), text.split()[:3])
    return " ".join(first).upper() or "this statement"
