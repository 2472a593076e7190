"""What a plan does beside its transaction: kept and written down inside it, done after COMMIT, looked at again."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NoReturn

from ledger.errors import PlanRefused
from ledger.model import Json
from worker.commands.locks import relation_names
from worker.commands.rights import plan_owner
from worker.objects.keeping import Item, Keeping, quoted
from worker.objects.quarantine import Quarantine
from worker.plan.aside import Aside
from worker.plan.compile import compile_removal
from worker.plan.impact import compute
from worker.plan.names import relation
from worker.plan.source import Plan
from worker.plan.statements import Analyze, QualifiedName, Removal, words
from worker.target import Session
from worker.work import FinishStep, Section


@dataclass(frozen=True)
class Asides:
    """What some statements come to."""

    items: tuple[Item, ...] = ()
    absent: tuple[str, ...] = ()
    #: Written down before; nothing of them is removed inside the transaction.
    keepings: tuple[Keeping, ...] = ()
    finish: tuple[FinishStep, ...] = ()


def compile_asides(
    session: Session, plan: Plan, statements: Sequence[object], quarantine: Quarantine, *, required: bool
) -> Asides:
    """Say how statements that no transaction can hold are carried out.

    Args:
        session: In the target.
        plan: Whose they are.
        statements: Of a script; those of other kinds are passed over.
        quarantine: Names where things would go; indexes are only written down.
        required: Whether the run fails if one of them does.

    Raises:
        Refused: Any reason not to do it.
    """
    asides = [statement for statement in statements if isinstance(statement, Aside)]
    drops = [Removal((a.named,), a.line, a.text) for a in asides if a.what == "drop index"]
    impact = compute(session, drops)
    keepings = [replace(keeping, remove=(), permits={}) for keeping in compile_removal(session, impact, quarantine)]
    for keeping in keepings:
        if "partitions" in keeping.facts:
            _refuse_partitioned(keeping.item.label())
    gone = {keeping.item.address.objid: keeping.item.name for keeping in keepings}
    steps: list[FinishStep] = []
    for statement in statements:
        if isinstance(statement, Analyze):
            steps.extend(_analyze(session, statement))
        elif isinstance(statement, Aside):
            told = _told(session, plan, statement, gone)
            if told is not None:
                step = f"line {statement.line}: {words(statement.text)}"
                steps.append(FinishStep(step, "aside", json.dumps(told), Section.OPTIMIZATION, required))
    return Asides(impact.items, impact.absent, tuple(keepings), tuple(steps))


def gather(found: Sequence[Asides]) -> Asides:
    """Return what several scripts come to."""
    return Asides(
        tuple(item for each in found for item in each.items),
        tuple(name for each in found for name in each.absent),
        tuple(keeping for each in found for keeping in each.keepings),
        tuple(dict.fromkeys(step for each in found for step in each.finish)),
    )


def _analyze(session: Session, analyze: Analyze) -> list[FinishStep]:
    found = {oid for name in analyze.tables if (oid := relation(session, name)) is not None}
    # By full name: by then it may have moved away, or be another.
    names = relation_names(session, found).values()
    return [FinishStep(f"analyze {name}", "analyze", name, Section.OPTIMIZATION) for name in names]


def _told(session: Session, plan: Plan, aside: Aside, gone: dict[int, str]) -> dict[str, Json] | None:
    """Return what the step has to know after COMMIT; None where there is nothing to do."""
    told: dict[str, Json] = {"what": aside.what, "text": aside.text, "migration": plan.migration, "line": aside.line}
    told["owner"] = plan_owner(session, plan)
    if aside.what == "drop index":
        oid = relation(session, aside.name)
        return None if oid is None else {**told, "name": gone[oid], "oid": oid}
    if aside.what != "create index":
        return {**told, "name": _qualified(session, aside.name, aside.line)}
    assert aside.table is not None  # noqa: S101 - an index is of a table
    table = relation(session, aside.table)
    if table is None:
        raise PlanRefused(f"table {'.'.join(aside.table)} does not exist", line=aside.line)
    if session.value("SELECT relkind = 'p' FROM pg_class WHERE oid = %s", (table,)):
        _refuse_partitioned(f"table {'.'.join(aside.table)}", aside.line)
    name = _in_schema_of(session, table, aside.name[-1])
    there = session.row(_STATE, (name,))
    if there is not None and not (aside.may_be and there["valid"]):
        broken = "" if there["valid"] else ", and is not valid: REINDEX INDEX CONCURRENTLY or DROP it"
        raise PlanRefused(f"{name} exists already{broken}", line=aside.line)
    return None if there is not None else {**told, "name": name, "table": table}


def _refuse_partitioned(label: str, line: int | None = None) -> NoReturn:
    raise PlanRefused(
        f"{label} is partitioned, or of a partitioned table, where the server builds and drops no index CONCURRENTLY;"
        " leave CONCURRENTLY out, or do it for each partition",
        line=line,
    )


_STATE = """
SELECT coalesce(x.indisvalid, false) AS valid FROM pg_class AS c LEFT JOIN pg_index AS x ON x.indexrelid = c.oid
 WHERE c.oid = to_regclass(%s)
"""


def _in_schema_of(session: Session, table: int, name: str) -> str:
    schema = session.value(
        "SELECT n.nspname FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE c.oid = %s",
        (table,),
    )
    return quoted(schema, name)


def _qualified(session: Session, name: QualifiedName, line: int) -> str:
    oid = relation(session, name)
    if oid is None:
        raise PlanRefused(f"{'.'.join(name)} does not exist", line=line)
    return relation_names(session, {oid})[oid]
