"""Constraints of domains are kept as definitions; CHECK comes back NOT VALID and is validated after COMMIT."""

from __future__ import annotations

from worker.objects.definition import comment
from worker.objects.keeping import GONE, Address, Item, Keeping, quoted
from worker.objects.quarantine import Quarantine
from worker.target import Row, Session

_CONSTRAINT = """
SELECT con.conname AS name, con.contype::text AS type, con.convalidated AS validated,
       con.contypid::bigint AS domain_oid, pg_get_constraintdef(con.oid) AS definition,
       n.nspname AS schema, t.typname AS domain
  FROM pg_constraint AS con JOIN pg_type AS t ON t.oid = con.contypid JOIN pg_namespace AS n ON n.oid = t.typnamespace
 WHERE con.oid = %s
"""


def keep(session: Session, item: Item, _quarantine: Quarantine) -> Keeping:
    """Say how a constraint of a domain is kept: dropped by name, added again from its definition."""
    found = session.row(_CONSTRAINT, (item.address.objid,))
    assert found is not None  # noqa: S101 - the impact was computed in this transaction
    domain, name = quoted(found["schema"], found["domain"]), quoted(found["name"])
    finish = (f"ALTER DOMAIN {domain} VALIDATE CONSTRAINT {name}",) if _is_checked_later(found) else ()
    return Keeping(
        item,
        remove=(f"ALTER DOMAIN {domain} DROP CONSTRAINT {name}",),
        restore=(
            f"ALTER DOMAIN {domain} ADD CONSTRAINT {name} {found['definition']}{' NOT VALID' if finish else ''}",
            *comment(session, item.address, f"CONSTRAINT {name} ON DOMAIN {domain}"),
        ),
        finish=finish,
        permits={item.address: GONE, Address("pg_type", found["domain_oid"]): frozenset({"typnotnull"})},
        facts={"constraint": found["type"], "domain": domain},
    )


def _is_checked_later(found: Row) -> bool:
    """Whether all values can be looked at after COMMIT; the server knows no NOT NULL that is not valid."""
    return bool(found["validated"] and found["type"] == "c")
