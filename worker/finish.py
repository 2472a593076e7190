"""Finish: what is done after COMMIT. Each step may be repeated; failing never undoes what is committed."""

from __future__ import annotations

import json
from typing import Any

from ledger.errors import StatementFailed
from worker import aside, fence, orphans, registry
from worker.fence import Holder
from worker.target import Session
from worker.work import FinishStep


def do(session: Session, holder: Holder, step: FinishStep) -> str | None:
    """Do one step and return what there is to say of it.

    Raises:
        StepbackError: It did not work out; the caller reports it and goes on.
    """
    told = None
    match step.what:
        case "sql":
            session.execute(step.argument)
        case "analyze":
            if session.value("SELECT to_regclass(%s)", (step.argument,)) is not None:
                session.execute(f"ANALYZE {step.argument}")
        case "count":
            quarantine, relation = json.loads(step.argument)
            told = registry.count(session, holder, quarantine, relation)
        case "remnants":
            told = _remnants(session, json.loads(step.argument))
        case "aside":
            told = aside.do(session, holder, step.argument)
        case "validate":
            told = orphans.validate(session, holder, step.argument)
        case "report":
            told = _report(session, holder, step.argument)
        case "registry":
            told = registry.complete(session, holder, json.loads(step.argument))
        case _:
            raise AssertionError(f"unknown finish step {step.what!r}")
    return told


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


def _remnants(session: Session, named: dict[str, list[Any]]) -> str:
    """Count what is still there of what the run removed, by its exact names."""
    left = session.row(_REMNANTS, named)
    assert left is not None  # noqa: S101 - a SELECT without FROM always has a row
    return ", ".join(f"{left[what]} of {len(named[what])} {what}" for what in ("tables", "types", "columns"))
