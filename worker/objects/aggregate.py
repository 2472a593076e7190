"""CREATE AGGREGATE from the catalog: the one routine that the server does not write down itself."""

from __future__ import annotations

from ledger.errors import PlanRefused
from worker.objects.keeping import literal, quoted
from worker.target import Row, Session

_AGGREGATE = """
SELECT n.nspname AS schema, p.proname AS name, p.oid::regprocedure::text AS signature,
       coalesce(nullif(pg_get_function_arguments(p.oid), ''), '*') AS arguments,
       p.proparallel::text AS parallel, a.aggkind = 'h' AS hypothetical,
       a.aggtransfn::regproc::text AS sfunc, format_type(a.aggtranstype, NULL) AS stype, a.aggtransspace AS sspace,
       nullif(a.aggfinalfn::regproc::text, '-') AS finalfunc, a.aggfinalextra AS finalfunc_extra,
       a.aggfinalmodify::text AS finalfunc_modify, a.agginitval AS initcond,
       nullif(a.aggcombinefn::regproc::text, '-') AS combinefunc,
       nullif(a.aggserialfn::regproc::text, '-') AS serialfunc,
       nullif(a.aggdeserialfn::regproc::text, '-') AS deserialfunc,
       nullif(a.aggmtransfn::regproc::text, '-') AS msfunc,
       nullif(a.aggminvtransfn::regproc::text, '-') AS minvfunc,
       CASE WHEN a.aggmtranstype <> 0 THEN format_type(a.aggmtranstype, NULL) END AS mstype,
       a.aggmtransspace AS msspace,
       nullif(a.aggmfinalfn::regproc::text, '-') AS mfinalfunc, a.aggmfinalextra AS mfinalfunc_extra,
       a.aggmfinalmodify::text AS mfinalfunc_modify, a.aggminitval AS minitcond,
       (SELECT 'OPERATOR(' || quote_ident(sn.nspname) || '.' || o.oprname || ')' FROM pg_operator AS o
          JOIN pg_namespace AS sn ON sn.oid = o.oprnamespace WHERE o.oid = a.aggsortop) AS sortop,
       'internal'::regtype IN (a.aggtranstype, a.aggmtranstype) AS internal,
       (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) AS superuser
  FROM pg_aggregate AS a
  JOIN pg_proc AS p ON p.oid = a.aggfnoid
  JOIN pg_namespace AS n ON n.oid = p.pronamespace
 WHERE p.oid = %s
"""

_PARALLEL = {"s": "SAFE", "r": "RESTRICTED", "u": "UNSAFE"}
_MODIFY = {"r": "READ_ONLY", "s": "SHAREABLE", "w": "READ_WRITE"}


def definition(session: Session, oid: int) -> str:
    """Return the statement that makes an aggregate again.

    Raises:
        PlanRefused: Only a superuser could make it.
    """
    found = session.row(_AGGREGATE, (oid,))
    assert found is not None  # noqa: S101 - the impact was computed in this transaction
    if found["internal"] and not found["superuser"]:
        raise PlanRefused(
            f"aggregate {found['signature']} keeps its state in memory of the server's own; only a superuser could make"
            " it again, so it is left alone"
        )
    options = [f"SFUNC = {found['sfunc']}", f"STYPE = {found['stype']}", *_state(found, "")]
    options += [
        f"{name.upper()} = {found[name]}"
        for name in ("combinefunc", "serialfunc", "deserialfunc", "msfunc", "minvfunc", "mstype", "sortop")
        if found[name] is not None
    ]
    if found["msfunc"] is not None:
        options += _state(found, "m")
    options.append(f"PARALLEL = {_PARALLEL[found['parallel']]}")
    if found["hypothetical"]:
        options.append("HYPOTHETICAL")
    name = quoted(found["schema"], found["name"])
    return f"CREATE AGGREGATE {name}({found['arguments']}) ({', '.join(options)})"


def _state(found: Row, moving: str) -> list[str]:
    """Return the options of the ordinary or of the moving state."""
    options = []
    if found[f"{moving}sspace"]:
        options.append(f"{moving}SSPACE = {found[f'{moving}sspace']}")
    if found[f"{moving}finalfunc"] is not None:
        options.append(f"{moving}FINALFUNC = {found[f'{moving}finalfunc']}")
    # The default depends on the kind of aggregate.
    options.append(f"{moving}FINALFUNC_MODIFY = {_MODIFY[found[f'{moving}finalfunc_modify']]}")
    if found[f"{moving}finalfunc_extra"]:
        options.append(f"{moving}FINALFUNC_EXTRA")
    if found[f"{moving}initcond"] is not None:
        options.append(f"{moving}INITCOND = {literal(found[f'{moving}initcond'])}")
    return options
