"""INSERT, UPDATE, DELETE, MERGE, TRUNCATE, and what may do anything: whose rows each writes, as far as it says so."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pglast import ast
from pglast.enums import DropBehavior
from pglast.visitors import Visitor

from worker.plan.performed import Alteration, Found, Reader
from worker.plan.rules import Refusal, Rule
from worker.plan.statements import Named, QualifiedName, new_name, relation_name


def _rows(stmt: Any, line: int) -> Found:
    """Read INSERT, UPDATE, DELETE and MERGE, wherever they stand in the statement."""
    return Found(writes=written_in(stmt, line))


def written_in(stmt: Any, line: int) -> list[QualifiedName]:
    """Return the tables and views whose rows a statement writes, in any part of it."""
    writers = (ast.InsertStmt, ast.UpdateStmt, ast.DeleteStmt, ast.MergeStmt)
    found: list[Any] = []

    class Finder(Visitor):
        def visit(self, _ancestors: object, node: object) -> None:
            if isinstance(node, writers):
                found.append(node)

    Finder()(stmt)
    return [relation_name(node.relation, line) for node in found]


def _truncate(stmt: Any, line: int) -> Found:
    return Found(
        writes=[relation_name(entry, line) for entry in stmt.relations],
        truncates=True,
        restarts=bool(stmt.restart_seqs),
        cascades=stmt.behavior == DropBehavior.DROP_CASCADE,
    )


def _select(stmt: Any, line: int) -> Found:
    found = Found(writes=written_in(stmt, line), opaque=True)
    if stmt.intoClause is not None:
        found.introduces.append((Named("table", new_name(stmt.intoClause.rel, line)), None))
    return found


def _refresh(stmt: Any, line: int) -> Found:
    if stmt.concurrent:
        raise REFRESH_CONCURRENTLY.at(line)
    return Found([Alteration("contents", Named("materialized view", relation_name(stmt.relation, line)))])


def _opaque(_stmt: Any, _line: int) -> Found:
    return Found(opaque=True)


REFRESH_CONCURRENTLY: Final = Refusal(
    "REFRESH MATERIALIZED VIEW CONCURRENTLY", "the run holds the view's lock anyway; leave CONCURRENTLY out"
)

_ROWS: Final = "run as written, while triggers of ours hand over every row as it was; these rows come back"
_REACH: Final = "also through cascades, rules, triggers, views and WITH; a row changed since by somebody stays as it is"
_OPAQUE: Final = Rule(
    "SELECT, DO, CALL",
    "run as written, likewise for every table that the statement or a function in it mentions; what else it changes"
    " the proof refuses",
    "what a function does is not in its text",
)

READERS: Final[Mapping[type, Reader]] = {
    **dict.fromkeys(
        (ast.InsertStmt, ast.UpdateStmt, ast.DeleteStmt, ast.MergeStmt),
        Reader(_rows, Rule("INSERT, UPDATE, DELETE, MERGE", f"{_ROWS}, and rows that it added go", _REACH)),
    ),
    ast.TruncateStmt: Reader(
        _truncate,
        Rule("TRUNCATE", _ROWS),
        Rule(
            "TRUNCATE … CASCADE",
            "the same, for every table that refers to one that is emptied, by however many foreign keys",
        ),
        Rule("TRUNCATE … RESTART IDENTITY", "the same; the sequences' positions come back too"),
    ),
    ast.SelectStmt: Reader(_select, _OPAQUE),
    ast.DoStmt: Reader(_opaque, _OPAQUE),
    ast.CallStmt: Reader(_opaque, _OPAQUE),
    ast.RefreshMatViewStmt: Reader(
        _refresh,
        Rule(
            "REFRESH MATERIALIZED VIEW",
            "run as written; its rows as they were are copied; the recovery refreshes it again, after COMMIT",
            "no statement writes chosen rows into a materialized view; what it reads is as it was by then",
        ),
    ),
}
