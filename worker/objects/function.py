"""Functions and procedures are kept as definitions, as the server itself writes them down; aggregates as well."""

from __future__ import annotations

from ledger.errors import PlanRefused
from worker.objects import aggregate, ownership
from worker.objects.definition import comment
from worker.objects.keeping import GONE, Item, Keeping
from worker.objects.quarantine import Quarantine
from worker.target import Session

_ROUTINE = """
SELECT n.nspname AS schema, p.proname AS name, p.oid::regprocedure::text AS signature, p.prokind = 'a' AS aggregate,
       CASE WHEN p.prokind <> 'a' THEN pg_get_functiondef(p.oid) END AS definition
  FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace
 WHERE p.oid = %s
"""

#: What only a superuser could make again.
_BEYOND = """
SELECT CASE
    WHEN p.prokind <> 'a' AND (NOT l.lanpltrusted OR NOT has_language_privilege(l.oid, 'USAGE'))
        THEN 'is written in ' || l.lanname || ', which is not open to everybody'
    WHEN p.proleakproof THEN 'is LEAKPROOF'
    WHEN p.prosupport <> 0 THEN 'has a support function'
    WHEN g.name IS NOT NULL THEN 'sets ' || g.name || ', which not everybody may set'
END
  FROM pg_proc AS p
  JOIN pg_language AS l ON l.oid = p.prolang
  LEFT JOIN LATERAL (
      SELECT entry.name FROM unnest(p.proconfig) AS c (setting)
       CROSS JOIN LATERAL split_part(c.setting, '=', 1) AS entry (name)
        LEFT JOIN pg_settings AS s ON lower(s.name) = lower(entry.name)
       WHERE coalesce(s.context, '') <> 'user' AND NOT has_parameter_privilege(entry.name, 'SET') LIMIT 1) AS g ON true
 WHERE p.oid = %s AND NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)
"""


def keep(session: Session, item: Item, _quarantine: Quarantine) -> Keeping:
    """Say how a function, procedure or aggregate is kept."""
    oid = item.address.objid
    beyond = session.value(_BEYOND, (oid,))
    if beyond is not None:
        raise PlanRefused(f"{item.label()} {beyond}; only a superuser could make it again, so it is left alone")
    found = session.row(_ROUTINE, (oid,))
    assert found is not None  # noqa: S101 - the impact was computed in this transaction
    # Whatever it is, the server takes it under this name.
    subject = f"ROUTINE {found['signature']}"
    owned = ownership.of(session, item.address, subject)
    # A function that somebody makes meanwhile must not be replaced.
    make = (
        aggregate.definition(session, oid)
        if found["aggregate"]
        else str(found["definition"]).replace("CREATE OR REPLACE", "CREATE", 1)
    )
    return Keeping(
        item,
        remove=(f"DROP {subject}",),
        # Its body may speak of what only comes back later; it was checked when it was made first.
        restore=(
            "SET LOCAL check_function_bodies = off",
            make,
            *owned.give,
            *comment(session, item.address, subject),
        ),
        permits={item.address: GONE},
        facts={
            "schema": found["schema"],
            "routine_must_be_free": [found["name"], found["signature"]],
            "grants": owned.grants,
        },
    )
