"""Existing queries must go on working: what could be prepared before the changes can be prepared after them.

A target's `compat/*.sql` holds queries of the application. A query that names what the plan removes is left out: its
removal is what the plan is for.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from pglast import ast, scan

from ledger.errors import IncompatibleQueries, NotPossible, PlanRefused, StatementFailed
from worker.objects.keeping import Action, Item
from worker.plan.parse import line_of, slice_of, statements
from worker.target import Session
from worker.work import Query

#: Kinds of statement that the server can prepare.
_PREPARED = (ast.SelectStmt, ast.InsertStmt, ast.UpdateStmt, ast.DeleteStmt, ast.MergeStmt)


def read(folder: Path | None) -> tuple[Query, ...]:
    """Read the queries of a target.

    Args:
        folder: The target's folder of plans.

    Raises:
        PlanRefused: A file is not SQL, or holds what cannot be prepared.
    """
    queries = []
    for path in sorted((folder / "compat").glob("*.sql")) if folder is not None else ():
        name = f"compat/{path.name}"
        try:
            script = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise PlanRefused(f"{name} cannot be read: {type(error).__name__}") from error
        for raw in statements(script, name):
            line = line_of(raw, script)
            if not isinstance(raw.stmt, _PREPARED):
                raise PlanRefused(f"{name}: only SELECT, INSERT, UPDATE, DELETE and MERGE can be looked at", line=line)
            queries.append(Query(f"{name} line {line}", slice_of(raw, script)))
    return tuple(queries)


def working(session: Session, queries: Sequence[Query]) -> tuple[Query, ...]:
    """Return the queries that the server can prepare as the catalog stands; inside a transaction."""
    return tuple(query for query in queries if _reason(session, query) is None)


def check(session: Session, queries: Sequence[Query], items: Iterable[Item]) -> str:
    """See that queries can still be prepared, those aside that name what the plan removes; say how many there are.

    Args:
        session: Inside apply, after the changes.
        queries: From `working`, before them.
        items: What the plan removes and changes.

    Raises:
        IncompatibleQueries: Names each query and what the server says of it.
    """
    removed = {_plain(item.name) for item in items if item.action not in {Action.CHANGED, Action.CREATED}}
    broken = [
        f"{query.where}: {reason}"
        for query in queries
        if (reason := _reason(session, query)) is not None and not _names(query) & removed
    ]
    if broken:
        raise IncompatibleQueries("the application's queries would not work any more: " + "; ".join(broken))
    return f"{len(queries)} of the application's queries looked at"


def _reason(session: Session, query: Query) -> str | None:
    try:
        session.try_prepare(query.text)
    except (StatementFailed, NotPossible) as error:
        return error.message
    return None


def _plain(name: str) -> str:
    """Return the last part of an object's name, without quotes and arguments."""
    return name.split(" on ", maxsplit=1)[0].split("(", maxsplit=1)[0].rsplit(".", maxsplit=1)[-1].strip('"')


def _names(query: Query) -> set[str]:
    """Return every word of a query that may be a name."""
    words = (query.text[token.start : token.end + 1] for token in scan(query.text))
    return {word.strip('"') if word.startswith('"') else word.lower() for word in words}
