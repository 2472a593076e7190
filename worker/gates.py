"""Gates inside apply: the plan's own checks, and the closing check of the quarantine."""

from __future__ import annotations

from collections.abc import Sequence

from pglast import ast

from ledger.errors import GateFailed, NotPossible, PlanRefused, StatementFailed
from worker.objects.quarantine import PREFIX
from worker.plan.parse import line_of, slice_of, statements
from worker.target import Session
from worker.work import Gate


def read(script: str, name: str = "verify.sql") -> tuple[Gate, ...]:
    """Split a file of gates into its gates.

    Args:
        script: Its text.
        name: What to call it in messages.

    Raises:
        PlanRefused: It is not SQL, or holds anything but SELECT: a COMMIT among the gates would end the
            transaction before the proof.
    """
    gates = []
    for raw in statements(script, name):
        line = line_of(raw, script)
        if not isinstance(raw.stmt, ast.SelectStmt):
            raise PlanRefused(f"{name}: a gate is a SELECT that returns true", line=line)
        gates.append(Gate(f"{name} line {line}", slice_of(raw, script)))
    return tuple(gates)


def verify(session: Session, gates: Sequence[Gate]) -> str:
    """Run the plan's gates and say how many hold.

    Each must return exactly one row with one boolean column that is TRUE. Each is run read-only in a
    savepoint that is rolled back.

    Args:
        session: Inside apply, after the changes.
        gates: From `read`.

    Raises:
        GateFailed: Names the gate by its line.
    """
    for gate in gates:
        try:
            found = session.look(gate.text)
        except (StatementFailed, NotPossible) as error:
            raise GateFailed(f"{gate.where}: {error.message}") from error
        if len(found) != 1 or len(found[0]) != 1:
            raise GateFailed(f"{gate.where}: expected one row with one column, got {len(found)} row(s)")
        (value,) = found[0]
        if value is not True:
            told = "NULL" if value is None else "false" if value is False else "no boolean"
            raise GateFailed(f"{gate.where}: expected true, got {told}")
    return f"{len(gates)} gate(s) hold"


_ESCAPING = """
WITH schemas AS (
    SELECT oid FROM pg_namespace WHERE starts_with(nspname, %(prefix)s)
), inside AS (
    SELECT 'pg_class'::regclass AS classid, oid AS objid FROM pg_class WHERE relnamespace IN (SELECT oid FROM schemas)
    UNION ALL
    SELECT 'pg_type'::regclass, oid FROM pg_type WHERE typnamespace IN (SELECT oid FROM schemas)
    UNION ALL
    SELECT 'pg_proc'::regclass, oid FROM pg_proc WHERE pronamespace IN (SELECT oid FROM schemas)
    UNION ALL
    SELECT 'pg_constraint'::regclass, oid FROM pg_constraint WHERE connamespace IN (SELECT oid FROM schemas)
)
SELECT DISTINCT pg_describe_object(d.classid, d.objid, d.objsubid) AS outside,
       pg_describe_object(d.refclassid, d.refobjid, 0) AS inside
  FROM inside
  JOIN pg_depend AS d ON d.refclassid = inside.classid AND d.refobjid = inside.objid
  LEFT JOIN pg_attrdef AS a ON d.classid = 'pg_attrdef'::regclass AND a.oid = d.objid
  LEFT JOIN pg_constraint AS c ON d.classid = 'pg_constraint'::regclass AND c.oid = d.objid
  LEFT JOIN pg_trigger AS t ON d.classid = 'pg_trigger'::regclass AND t.oid = d.objid
  LEFT JOIN pg_rewrite AS w ON d.classid = 'pg_rewrite'::regclass AND w.oid = d.objid
  LEFT JOIN pg_class AS home
    ON home.oid = coalesce(a.adrelid, c.conrelid, t.tgrelid, w.ev_class,
                           CASE WHEN d.classid = 'pg_class'::regclass THEN d.objid END)
  LEFT JOIN pg_namespace AS n ON n.oid = home.relnamespace
 WHERE d.deptype IN ('n', 'a')
   AND NOT EXISTS (SELECT FROM inside AS i WHERE i.classid = d.classid AND i.objid = d.objid)
   AND NOT coalesce(n.oid IN (SELECT oid FROM schemas), false)
   AND coalesce(n.nspname, '') NOT LIKE 'emergency\\_backup%%'
 ORDER BY 1, 2
"""


def closing(session: Session, run: int) -> None:
    """Check that nothing outside the quarantine of a run depends on anything inside.

    Raises:
        GateFailed: Names both ends of each dependency.
    """
    found = session.rows(_ESCAPING, {"prefix": f"{PREFIX}{run}_"})
    if found:
        pairs = "; ".join(f"{row['outside']} depends on {row['inside']}" for row in found)
        raise GateFailed(f"closing check: {pairs}")
