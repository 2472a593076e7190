"""The statements of a plan as values: what removes, what is run as it is written, what is refused and why."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import takewhile
from typing import Any, Final, TypeAlias

from pglast import ast
from pglast.enums import AlterTableType, DropBehavior, ObjectType

from ledger.errors import PlanRefused

#: A name as the plan writes it: one part, or schema and name.
QualifiedName: TypeAlias = tuple[str, ...]


@dataclass(frozen=True)
class Named:
    """One object that a statement removes."""

    #: "table", "view", "function", ..., or "column" and "constraint" of a table.
    kind: str
    #: For a part of a table, the table's.
    name: QualifiedName
    #: Its own name, for a part of a table: column, constraint, trigger, rule, policy.
    part: str | None = None
    #: Types of the arguments of a function, as SQL; None if the plan does not say.
    arguments: tuple[str, ...] | None = None
    #: Whether it may be missing.
    missing_ok: bool = False
    #: Whether the table may be missing, for a part of one.
    table_missing_ok: bool = False
    cascade: bool = False

    def __str__(self) -> str:
        """Return it as messages say it."""
        said = f"{self.kind} {'.'.join((*self.name, *((self.part,) if self.part else ())))}"
        return said if self.arguments is None else f"{said}({', '.join(self.arguments)})"


@dataclass(frozen=True)
class Removal:
    """DROP, or ALTER TABLE with nothing but DROP COLUMN: compiled, never sent as it is written."""

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
}

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


def refusal(stmt: object, line: int, text: str, source: str) -> PlanRefused:
    """Return why a statement that nobody reads is refused."""
    advice = _ADVICE.get(type(stmt), "this kind of statement is not known to be safe")
    return PlanRefused(f"{source}: {words(text)} is refused: {advice}", line=line)


def _drop(drop: Any, line: int, text: str) -> Removal:
    if drop.concurrent:
        raise PlanRefused("DROP INDEX CONCURRENTLY cannot be taken back; write DROP INDEX", line=line)
    kind, cascade = _DROPPED[drop.removeType], drop.behavior == DropBehavior.DROP_CASCADE
    names = [_dropped_name(entry, line) for entry in drop.objects]
    return Removal(
        tuple(Named(kind, name, missing_ok=bool(drop.missing_ok), cascade=cascade) for name in names), line, text
    )


def _dropped_name(entry: object, line: int) -> QualifiedName:
    if isinstance(entry, ast.String):
        return (str(entry.sval),)
    parts = entry.names if isinstance(entry, ast.TypeName) else entry
    if isinstance(entry, ast.TypeName) and (entry.arrayBounds or entry.setof or entry.pct_type):
        raise PlanRefused("DROP TYPE takes the name of a type, not of an array of it", line=line)
    assert isinstance(parts, tuple)  # noqa: S101 - the grammar gives a list of names
    return _qualified(tuple(part.sval for part in parts), line)


def _alter_table(alter: Any, line: int, text: str) -> Removal | None:
    removing = [command.subtype == AlterTableType.AT_DropColumn for command in alter.cmds]
    if not all(removing):
        if any(removing):
            raise PlanRefused("write what is dropped and what is altered as two statements", line=line)
        return None
    table = relation_name(alter.relation, line)
    named = tuple(
        Named(
            "column",
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


def _qualified(name: QualifiedName, line: int) -> QualifiedName:
    if len(name) > 2:
        raise PlanRefused("a name with a database in front is refused; write schema.name", line=line)
    return name


def words(text: str) -> str:
    """Return the first words of a statement, for a message; never its values."""
    first = takewhile(lambda word: word.replace("_", "").isalpha(), text.split()[:3])
    return " ".join(first).upper() or "this statement"
