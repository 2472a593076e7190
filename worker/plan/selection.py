"""What a selective recovery brings back: a plan's recover.sql, and conditions that somebody gives for tables.

recover.sql holds two kinds of queries. `SELECT * FROM table WHERE condition` says which rows of a table come back; any
other SELECT, at most one, is the report that the recovery ends with.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from pglast import ast, parse_sql, printers
from pglast.parser import ParseError
from pglast.stream import RawStream

from ledger.errors import PlanRefused
from worker.plan.parse import line_of, slice_of, statements

#: The printers register themselves when they are imported.
_PRINTERS: Final = printers

#: What a query that chooses rows may hold beside these is nothing.
_OF_CHOICE: Final = frozenset({"targetList", "fromClause", "whereClause", "limitOption", "op", "all", "groupDistinct"})


@dataclass(frozen=True)
class Selection:
    """Which rows come back."""

    #: SQL conditions by table, as it is written.
    conditions: Mapping[str, str] = field(default_factory=dict)
    #: A query that returns one row, once they are back.
    report: str | None = None


def read(script: str, name: str = "recover.sql") -> Selection:
    """Read a plan's recover.sql.

    Raises:
        PlanRefused: It is not SQL, holds anything but SELECT, or speaks twice of a table; the message gives the line.
    """
    conditions: dict[str, str] = {}
    report = None
    for raw in statements(script, name):
        line, query = line_of(raw, script), raw.stmt
        if not isinstance(query, ast.SelectStmt):
            raise PlanRefused(f"{name} holds queries only: what comes back, and one report", line=line)
        chosen = _choice(query)
        if chosen is None and report is not None:
            raise PlanRefused(f"{name} has a report already; which rows come back is SELECT * … WHERE", line=line)
        if chosen is None:
            report = slice_of(raw, script)
            continue
        table, condition = chosen
        if table in conditions:
            raise PlanRefused(f"{name} chooses rows of {table} twice", line=line)
        conditions[table] = condition
    return Selection(conditions, report)


def _choice(query: ast.SelectStmt) -> tuple[str, str] | None:
    """Return table and condition of a query that chooses rows; None if it is another query."""
    used = {name for name in query if getattr(query, name) not in (None, (), False)}
    tables: Sequence[Any] = query.fromClause or ()
    columns: Sequence[Any] = query.targetList or ()
    if not used <= _OF_CHOICE or query.whereClause is None or len(tables) != 1 or len(columns) != 1:
        return None
    value = columns[0].val
    fields: Sequence[Any] = (value.fields or ()) if isinstance(value, ast.ColumnRef) else ()
    everything = len(fields) == 1 and isinstance(fields[0], ast.A_Star)
    if not everything or not isinstance(tables[0], ast.RangeVar) or tables[0].alias is not None:
        return None
    return _printed(tables[0]), _printed(query.whereClause)


def _printed(node: Any) -> str:  # noqa: ANN401 - any node of the parser
    text: str = RawStream()(node)
    return text


def check_condition(table: str, condition: str) -> str:
    """Return a condition as it can be put into a query: it is one expression, and nothing ends it early.

    Raises:
        PlanRefused: It is something else.
    """
    try:
        found = parse_sql(f"SELECT WHERE (\n{condition}\n)")
    except (ParseError, RecursionError):
        raise PlanRefused(f"the condition on {table} is not an SQL expression") from None
    query: Any = found[0].stmt
    used = {name for name in query if getattr(query, name) not in (None, (), False)}
    if len(found) != 1 or not isinstance(query, ast.SelectStmt) or not used <= {"whereClause", *_OF_CHOICE}:
        raise PlanRefused(f"the condition on {table} is more than one SQL expression")
    # Written anew from what the parser understood: comments and all else that could mislead is gone.
    return _printed(query.whereClause)


def check_report(report: str) -> str:
    """Return a report's query, and see that it is one.

    Raises:
        PlanRefused: It is something else.
    """
    found = statements(report, "the report")
    if len(found) != 1 or not isinstance(found[0].stmt, ast.SelectStmt):
        raise PlanRefused("the report is not one SELECT")
    return slice_of(found[0], report)
