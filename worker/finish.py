"""Finish: what is done after COMMIT. Each step may be repeated; failing never undoes what is committed."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

from ledger.errors import StatementFailed
from worker import aside, fence, orphans, registry
from worker.fence import Holder
from worker.objects import column
from worker.target import Session
from worker.work import FinishStep


def do(session: Session, holder: Holder, step: FinishStep) -> str | None:
    """Do one step and return what there is to say of it.

    Raises:
        StepbackError: It did not work out; the caller reports it and goes on.
    """
    return _DOING[step.what](session, holder, step.argument)


def _sql(session: Session, _holder: Holder, statement: str) -> None:
    session.execute(statement)


def _analyze(session: Session, _holder: Holder, table: str) -> None:
    if session.value("SELECT to_regclass(%s)", (table,)) is not None:
        session.execute(f"ANALYZE {table}")


def _count(session: Session, holder: Holder, argument: str) -> str:
    quarantine, relation = json.loads(argument)
    return registry.count(session, holder, quarantine, relation)


def _complete(session: Session, holder: Holder, argument: str) -> str:
    return registry.complete(session, holder, json.loads(argument))


def _look_for_rows(session: Session, holder: Holder, argument: str) -> str:
    """Count the rows that are gone since their values were kept; these stay in quarantine."""
    told = json.loads(argument)
    with session.transaction():
        fence.stand_behind(session, holder)
        gone = column.rows_gone(session, told["table"], told["inside"], told["key"])
        if gone:
            fence.add_result(session, holder, "columns", {"column": told["name"], "gone": gone})
    return f"{gone:,} row(s) are gone since"


def _build(session: Session, holder: Holder, argument: str) -> str:
    """Build an index that a rollback had removed, and write down that it is back."""
    told = json.loads(argument)
    with session.beside(told["owner"]):
        said = aside.create_index(session, told)
        for statement in told["then"]:
            session.execute(statement)
    there = session.value("SELECT pg_get_indexdef(to_regclass(%s))", (told["name"],))
    if there != told["definition"]:
        raise StatementFailed(f"{told['name']} is another index than the one that was removed; it stays preserved")
    registry.bring_back(session, holder, told["id"])
    return said


def _report(session: Session, holder: Holder, query: str) -> str:
    """Take figures about what came back; they are kept as text, whatever they are."""
    with session.transaction():
        fence.stand_behind(session, holder)
        found = session.look(f"SELECT to_json(report)::text FROM (\n{query}\n) AS report")
        if len(found) != 1:
            raise StatementFailed(f"the report returned {len(found)} rows; it is to return one")
        figures = {name: None if value is None else str(value) for name, value in json.loads(found[0][0]).items()}
        fence.set_result(session, holder, "report", {**figures})
    return ", ".join(f"{name} {value}" for name, value in figures.items())


_REMNANTS = """
SELECT (SELECT count(*) FROM unnest(%(tables)s::text[]) AS name WHERE to_regclass(name) IS NOT NULL) AS tables,
       (SELECT count(*) FROM unnest(%(types)s::text[]) AS name WHERE to_regtype(name) IS NOT NULL) AS types,
       (SELECT count(*) FROM unnest(%(tables_of_columns)s::oid[], %(columns)s::integer[]) AS c (relation, number)
          JOIN pg_attribute AS a ON a.attrelid = c.relation AND a.attnum = c.number AND NOT a.attisdropped) AS columns
"""


def _remnants(session: Session, _holder: Holder, argument: str) -> str:
    """Count what is still there of what the run removed, by its exact names."""
    named: dict[str, list[Any]] = json.loads(argument)
    left = session.row(_REMNANTS, named)
    assert left is not None  # noqa: S101 - a SELECT without FROM always has a row
    return ", ".join(f"{left[what]} of {len(named[what])} {what}" for what in ("tables", "types", "columns"))


_DOING: Final[dict[str, Callable[[Session, Holder, str], str | None]]] = {
    "sql": _sql,
    "analyze": _analyze,
    "aside": aside.do,
    "validate": orphans.validate,
    "count": _count,
    "index": _build,
    "rows": _look_for_rows,
    "remnants": _remnants,
    "report": _report,
    "registry": _complete,
}
