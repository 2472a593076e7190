"""A plan's SQL, read by PostgreSQL's own parser: one script becomes its statements, with the lines they begin on."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from pglast import ast, parse_sql
from pglast.enums import TransactionStmtKind
from pglast.parser import ParseError

from ledger.errors import PlanRefused
from worker.plan import aside, verbatim, wrapping
from worker.plan import statements as statements_
from worker.plan.aside import Aside
from worker.plan.performed import Performed
from worker.plan.rules import Refusal
from worker.plan.statements import Analyze, Removal, words
from worker.plan.wrapping import Ignored, Locking, Path, Setting

Statement: TypeAlias = Removal | Performed | Analyze | Aside | Locking | Path | Setting | Ignored

#: Psql reads these before the server ever sees them.
META_COMMAND: Final = Refusal("\\connect, \\set and all other commands of psql", "only SQL is understood: leave it out")

#: Largest script, in bytes of UTF-8.
MAX_SCRIPT_BYTES = 1024 * 1024


@dataclass(frozen=True)
class Script:
    """A parsed plan."""

    statements: tuple[Statement, ...]
    #: What was done to the script before it was compiled, for whoever reads the plan.
    notes: tuple[str, ...] = ()


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
    read = tuple(statement for raw in inner for statement in _read(raw, text, source))
    asides = [statement for statement in read if isinstance(statement, Aside)]
    if not any(isinstance(statement, Removal | Performed) for statement in read):
        if all(statement.what == "vacuum" for statement in asides):
            raise PlanRefused(f"{source} changes nothing; a plan needs a statement that does")
    elif asides:
        raise PlanRefused(
            f"{source}: {words(asides[0].text)} cannot be in the one transaction of the run; put it into finish.sql of"
            " the plan's folder",
            line=asides[0].line,
        )
    return Script(read, (*notes, *(statement.note for statement in read if isinstance(statement, Ignored))))


def parse_finish(text: str) -> Script:
    """Read a plan's finish.sql.

    Raises:
        PlanRefused: It holds anything but what is done after COMMIT.
    """
    name = "finish.sql"
    read = tuple(statement for raw in statements(text, name) for statement in _read(raw, text, name))
    for statement in read:
        if not isinstance(statement, Aside | Analyze | Ignored):
            raise PlanRefused(
                f"{name} is for ANALYZE, VACUUM, REINDEX and what runs CONCURRENTLY; this belongs into rollback.sql",
                line=statement.line,
            )
    return Script(read, tuple(statement.note for statement in read if isinstance(statement, Ignored)))


def _read(raw: ast.RawStmt, text: str, source: str) -> Iterator[Statement]:
    line = line_of(raw, text)
    for stmt, exact in statements_.parted(raw.stmt) or ((raw.stmt, slice_of(raw, text)),):
        found = (
            aside.read(stmt, line, exact)
            or statements_.read(stmt, line, exact)
            or verbatim.read(stmt, line, exact)
            or wrapping.read(stmt, line, exact)
        )
        if found is None:
            raise statements_.refusal(stmt, line, exact, source)
        yield found


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


#: What a syntax error may quote of a script: a name or a sign, as the parser puts it in quotes.
_HARMLESS = re.compile(r"""(?a:"(?:[A-Za-z_][A-Za-z0-9_]{0,62}|[^\w\s'"$]{1,3})")""")


def _explain(text: str, index: int, source: str, reason: str) -> str:
    start = text.rfind("\n", 0, index) + 1
    if text[start:].lstrip().startswith("\\"):
        return f"{source} holds a psql meta-command; {META_COMMAND.reason}"
    problem, near, found = reason.split(", at index", maxsplit=1)[0].partition(" at or near ")
    # A name or a sign helps; a literal may be a secret, and the line says where to look.
    told = f"{near}{found}" if _HARMLESS.fullmatch(found) else ""
    return f"{source} is not valid SQL: {problem}{told}"


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
