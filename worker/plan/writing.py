"""INSERT, UPDATE, DELETE, MERGE, TRUNCATE, and what may do anything: whose rows each writes, as far as it says so."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from pglast import ast
from pglast.enums import DropBehavior
from pglast.visitors import Visitor

from ledger.errors import PlanRefused
from worker.plan.performed import Found
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
    if stmt.behavior == DropBehavior.DROP_CASCADE:
        raise PlanRefused("TRUNCATE … CASCADE would empty tables that it does not name; name them", line=line)
    return Found(
        writes=[relation_name(entry, line) for entry in stmt.relations],
        truncates=True,
        restarts=bool(stmt.restart_seqs),
    )


def _select(stmt: Any, line: int) -> Found:
    found = Found(writes=written_in(stmt, line), opaque=True)
    if stmt.intoClause is not None:
        found.introduces.append((Named("table", new_name(stmt.intoClause.rel, line)), None))
    return found


def _opaque(_stmt: Any, _line: int) -> Found:
    return Found(opaque=True)


READERS: Final[Mapping[type, Callable[[Any, int], Found]]] = {
    ast.InsertStmt: _rows,
    ast.UpdateStmt: _rows,
    ast.DeleteStmt: _rows,
    ast.MergeStmt: _rows,
    ast.TruncateStmt: _truncate,
    ast.SelectStmt: _select,
    ast.DoStmt: _opaque,
    ast.CallStmt: _opaque,
}
