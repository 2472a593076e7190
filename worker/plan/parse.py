"""A plan's SQL, read by PostgreSQL's own parser: known kinds of statement become values, others are refused."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import takewhile
from typing import Any, TypeAlias

from pglast import ast, parse_sql
from pglast.enums import AlterTableType, DropBehavior, ObjectType, TransactionStmtKind
from pglast.parser import ParseError

from ledger.errors import PlanRefused

#: Largest script, in bytes of UTF-8.
MAX_SCRIPT_BYTES = 1024 * 1024

#: A name as the plan writes it: one part, or schema and name.
QualifiedName: TypeAlias = tuple[str, ...]


@dataclass(frozen=True)
class Drop:
    """DROP TABLE, DROP INDEX or DROP TYPE, for one or more names."""

    #: "table", "index" or "type".
    what: str
    names: tuple[QualifiedName, ...]
    missing_ok: bool
    cascade: bool
    line: int
    text: str


@dataclass(frozen=True)
class DroppedColumn:
    """One DROP COLUMN of an ALTER TABLE."""

    name: str
    missing_ok: bool
    cascade: bool


@dataclass(frozen=True)
class DropColumns:
    """ALTER TABLE … DROP COLUMN, one or more."""

    table: QualifiedName
    columns: tuple[DroppedColumn, ...]
    missing_ok: bool
    line: int
    text: str


@dataclass(frozen=True)
class Analyze:
    """ANALYZE of named tables; done after COMMIT, since it changes nothing that a gate looks at."""

    tables: tuple[QualifiedName, ...]
    line: int
    text: str


Statement: TypeAlias = Drop | DropColumns | Analyze


@dataclass(frozen=True)
class Script:
    """A parsed plan."""

    statements: tuple[Statement, ...]
    #: What was done to the script before it was compiled, for whoever reads the plan.
    notes: tuple[str, ...] = ()


#: What the refusal of a well-known statement adds.
_ADVICE = {
    ast.TransactionStmt: "transaction control belongs to Stepback: one BEGIN at the start and one COMMIT at the end"
    " are taken off, any other cannot be honoured",
    ast.VariableSetStmt: "SET would change how later statements are understood; qualify the names instead",
    ast.CopyStmt: "COPY moves data past every check",
    ast.AlterSystemStmt: "ALTER SYSTEM changes the whole server",
}

_KINDS = {ObjectType.OBJECT_TABLE: "table", ObjectType.OBJECT_INDEX: "index", ObjectType.OBJECT_TYPE: "type"}


def parse(text: str, source: str = "rollback.sql") -> Script:
    """Read a plan's SQL.

    Args:
        text: The whole script.
        source: What to call it in messages.

    Raises:
        PlanRefused: It is empty, too large, not SQL, or holds a statement that is not known to be safe;
            the message gives the line.
    """
    found = statements(text, source)
    inner = tuple(_without_outer_transaction(found))
    notes = () if len(inner) == len(found) else ("the outer BEGIN … COMMIT was taken off: the run is one transaction",)
    read = tuple(_read(raw, text, source) for raw in inner)
    if not any(isinstance(statement, Drop | DropColumns) for statement in read):
        raise PlanRefused(f"{source} removes nothing; a plan needs at least one DROP")
    return Script(read, notes)


def statements(text: str, source: str) -> tuple[ast.RawStmt, ...]:
    """Split a script into its statements, as the server would read it."""
    if len(text.encode("utf-8", "surrogatepass")) > MAX_SCRIPT_BYTES:
        raise PlanRefused(f"{source} is larger than 1 MiB")
    # The parser stops at NUL as if the text ended there: the rest would never be looked at.
    if "\x00" in text:
        raise PlanRefused(f"{source} holds a NUL character", line=_line(text, text.index("\x00")))
    try:
        found: tuple[ast.RawStmt, ...] = parse_sql(text)
    except ParseError as error:
        index = error.args[1] if len(error.args) > 1 and isinstance(error.args[1], int) else 0
        raise PlanRefused(_explain(text, index, source, str(error.args[0])), line=_line(text, index)) from None
    except RecursionError:
        raise PlanRefused(f"{source} is nested too deeply") from None
    if not found:
        raise PlanRefused(f"{source} holds no statement")
    return found


def slice_of(raw: Any, text: str) -> str:
    """Return the exact text of a statement, without its semicolon."""
    end = raw.stmt_location + raw.stmt_len if raw.stmt_len else len(text)
    return text[raw.stmt_location : end].strip().rstrip(";").rstrip()


def line_of(raw: Any, text: str) -> int:
    """Return the line that a statement begins on, counted from 1."""
    return _line(text, raw.stmt_location)


def _line(text: str, index: int) -> int:
    return text.count("\n", 0, index) + 1


def _explain(text: str, index: int, source: str, reason: str) -> str:
    start = text.rfind("\n", 0, index) + 1
    if text[start:].lstrip().startswith("\\"):
        return f"{source} holds a psql meta-command; only SQL is understood"
    return f"{source} is not valid SQL: {reason.split(', at index', maxsplit=1)[0]}"


def _without_outer_transaction(found: tuple[ast.RawStmt, ...]) -> Iterator[ast.RawStmt]:
    """Take off one BEGIN at the start if one COMMIT is at the end."""
    begins = {TransactionStmtKind.TRANS_STMT_BEGIN, TransactionStmtKind.TRANS_STMT_START}
    wrapped = (
        len(found) > 1
        and isinstance(found[0].stmt, ast.TransactionStmt)
        and found[0].stmt.kind in begins
        and isinstance(found[-1].stmt, ast.TransactionStmt)
        and found[-1].stmt.kind == TransactionStmtKind.TRANS_STMT_COMMIT
        and not found[-1].stmt.chain
    )
    yield from found[1:-1] if wrapped else found


def _read(raw: ast.RawStmt, text: str, source: str) -> Statement:
    line, exact = line_of(raw, text), slice_of(raw, text)
    match raw.stmt:
        case ast.DropStmt() as drop if drop.removeType in _KINDS:
            return _read_drop(drop, line, exact)
        case ast.AlterTableStmt() as alter if alter.objtype == ObjectType.OBJECT_TABLE:
            return _read_alter(alter, line, exact)
        case ast.VacuumStmt() as vacuum if not vacuum.is_vacuumcmd:
            return _read_analyze(vacuum, line, exact)
    advice = _ADVICE.get(type(raw.stmt), "this kind of statement is not known to be safe")
    raise PlanRefused(f"{source}: {_words(exact)} is refused: {advice}", line=line)


def _read_drop(drop: Any, line: int, exact: str) -> Drop:
    if drop.concurrent:
        raise PlanRefused("DROP INDEX CONCURRENTLY cannot be taken back; write DROP INDEX", line=line)
    return Drop(
        what=_KINDS[drop.removeType],
        names=tuple(_name_parts(entry, line) for entry in drop.objects),
        missing_ok=bool(drop.missing_ok),
        cascade=drop.behavior == DropBehavior.DROP_CASCADE,
        line=line,
        text=exact,
    )


def _read_alter(alter: Any, line: int, exact: str) -> DropColumns:
    if any(command.subtype != AlterTableType.AT_DropColumn for command in alter.cmds):
        raise PlanRefused("of ALTER TABLE only DROP COLUMN is known to be safe", line=line)
    columns = tuple(
        DroppedColumn(command.name, bool(command.missing_ok), command.behavior == DropBehavior.DROP_CASCADE)
        for command in alter.cmds
    )
    return DropColumns(_relation(alter.relation, line), columns, bool(alter.missing_ok), line, exact)


def _read_analyze(vacuum: Any, line: int, exact: str) -> Analyze:
    if not vacuum.rels:
        raise PlanRefused("ANALYZE without a table would read the whole database; name the tables", line=line)
    if vacuum.options:
        raise PlanRefused("ANALYZE with options is not known to be safe; write ANALYZE and the tables", line=line)
    return Analyze(tuple(_relation(entry.relation, line) for entry in vacuum.rels), line, exact)


def _relation(relation: Any, line: int) -> QualifiedName:
    if relation.catalogname is not None:
        raise PlanRefused("a name with a database in front is refused; write schema.name", line=line)
    return (relation.schemaname, relation.relname) if relation.schemaname else (relation.relname,)


def _name_parts(entry: object, line: int) -> QualifiedName:
    parts = entry.names if isinstance(entry, ast.TypeName) else entry
    if isinstance(entry, ast.TypeName) and (entry.arrayBounds or entry.setof or entry.pct_type):
        raise PlanRefused("DROP TYPE takes the name of a type, not of an array of it", line=line)
    assert isinstance(parts, tuple)  # noqa: S101 - the grammar gives a list of names
    name = tuple(part.sval for part in parts)
    if len(name) > 2:
        raise PlanRefused("a name with a database in front is refused; write schema.name", line=line)
    return name


def _words(exact: str) -> str:
    """Return the first words of a statement, for a message; never its values."""
    words = takewhile(lambda word: word.replace("_", "").isalpha(), exact.split()[:3])
    return " ".join(words).upper() or "this statement"
