"""`preserves` of a plan: tables that its functions and blocks may change beside those that their text mentions."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from ledger.errors import PlanRefused
from worker.plan.acceptance import advised
from worker.plan.names import relation
from worker.plan.performed import Performed
from worker.plan.source import Plan
from worker.target import Session

_NAME = re.compile(r'(?:"(?:[^"]|"")+"|[^\W\d][\w$]*)(?:\.(?:"(?:[^"]|"")+"|[^\W\d][\w$]*))?')
_PART = re.compile(r'"(?:[^"]|"")+"|[^\W\d][\w$]*')


def tables(session: Session, names: Sequence[str]) -> frozenset[int]:
    """Return the tables that `preserves` names, as OIDs.

    Args:
        session: In the target.
        names: As plan.toml writes them: "public.audit_log", quoted like in SQL where that is needed.

    Raises:
        PlanRefused: One is no name, or there is no such table.
    """
    return frozenset(_table(session, name) for name in names)


def _table(session: Session, written: str) -> int:
    if not _NAME.fullmatch(written):
        raise PlanRefused(f"plan.toml: preserves: {written!r} is not the name of a table, such as public.audit_log")
    parts = tuple(p[1:-1].replace('""', '"') if p[0] == '"' else p.lower() for p in _PART.findall(written))
    oid = relation(session, parts)
    if oid is None:
        raise PlanRefused(
            f"plan.toml: preserves: table {written} does not exist; write its schema too, or leave it out"
        )
    reason = session.value(_UNFIT, (oid,))
    if reason is not None:
        raise PlanRefused(f"plan.toml: preserves: {written} {reason}; leave it out")
    return oid


_UNFIT = """
SELECT CASE WHEN c.relkind NOT IN ('r', 'p') THEN 'is not a table, so it has no rows of its own'
            WHEN n.nspname LIKE 'pg\\_%%' OR n.nspname = 'information_schema' OR n.nspname LIKE 'emergency\\_backup%%'
                THEN 'belongs to the server or to Stepback' END
  FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE c.oid = %s
"""


def runs_code(performed: Performed) -> bool:
    """Whether a statement may run code that its text does not show: its own, or that of triggers."""
    return performed.opaque or bool(performed.writes)


#: Tables whose rows were changed unseen, and why their rows could not be kept by asking for it.
_CHANGED = """
SELECT format('%%I.%%I', n.nspname, c.relname) AS name, c.oid = ANY (%(known)s::oid[]) AS known,
       c.relkind <> 'r' OR c.relpersistence = 't' OR n.nspname LIKE 'emergency\\_backup%%' AS of_others,
       s.n_tup_upd + s.n_tup_ins > 0 AND NOT EXISTS (
           SELECT FROM pg_index AS x WHERE x.indrelid = c.oid AND x.indisunique AND x.indimmediate AND x.indisvalid
              AND x.indpred IS NULL AND x.indexprs IS NULL AND NOT EXISTS (
                  SELECT FROM unnest(x.indkey[0:x.indnkeyatts - 1]) AS k (number) JOIN pg_attribute AS a
                      ON a.attrelid = c.oid AND a.attnum = k.number WHERE NOT a.attnotnull)) AS keyless
  FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
  JOIN pg_stat_xact_user_tables AS s ON s.relid = c.oid
 WHERE c.oid = ANY (%(tables)s::oid[])
 ORDER BY 1
"""


@dataclass(frozen=True)
class Advice:
    """What the author of a plan may write so that what the proof refuses is preserved."""

    plan: Plan
    #: Tables that `preserves` names, as OIDs.
    preserved: frozenset[int]
    #: Whether any statement of the plan runs code that its text does not show.
    runs_code: bool

    def told(self, session: Session, tables: Sequence[int], others: bool) -> str:  # noqa: FBT001 - as worker/work.py has it
        """Return the sentence to add to a refusal of the proof.

        Args:
            session: Inside apply, after the last statement.
            tables: Those whose rows were changed unseen, as OIDs.
            others: Whether anything else was lost than rows: then no line would help.
        """
        if others or not self.runs_code:
            return (
                "; nothing in plan.toml can accept that: what a function or block does to objects has to be written as"
                " statements of rollback.sql, which are kept one by one"
            )
        found = session.rows(_CHANGED, {"tables": list(tables), "known": sorted(self.preserved)})
        helpless = [
            f"; {row['name']} {reason}, so preserves would not help"
            for row in found
            if (reason := _reason_against(row)) is not None
        ]
        names = [row["name"] for row in found]
        return "".join(helpless) or f". If their rows are to be preserved too, {advised(self.plan, 'preserves', names)}"


def _reason_against(row: dict[str, object]) -> str | None:
    if row["of_others"]:
        return "is no table of the application"
    if row["known"]:
        return "is named there already and was changed by a statement which is not looked over"
    return "has no primary key or UNIQUE NOT NULL key" if row["keyless"] else None
