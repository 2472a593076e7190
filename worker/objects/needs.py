"""Needs: roles and publications that a definition speaks of, and without which it cannot be made again.

While an object is there the server keeps these from being dropped, or takes them away with it; once it is only text,
nobody does. So their names are written down, and recovery looks for them before it begins.
Source: PostgreSQL documentation, the catalog page of pg_shdepend.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ledger.model import Json
from worker.objects.keeping import Action, Keeping
from worker.target import Session

_ROLES = """
SELECT k.place, array_agg(DISTINCT pg_get_userbyid(d.refobjid)::text) AS names
  FROM unnest(%(catalogs)s::regclass[], %(objids)s::oid[], %(subids)s::integer[]) WITH ORDINALITY
           AS k (classid, objid, subid, place)
  JOIN pg_shdepend AS d ON d.classid = k.classid AND d.objid = k.objid AND (k.subid = 0 OR d.objsubid = k.subid)
   AND d.dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
   AND d.refclassid = 'pg_authid'::regclass
 GROUP BY k.place
"""

_PUBLICATIONS = """
SELECT r.oid::bigint, p.pubname::text AS name FROM pg_publication_rel AS r JOIN pg_publication AS p ON p.oid = r.prpubid
 WHERE r.oid = ANY (%s::oid[])
"""


def noted(session: Session, keepings: Sequence[Keeping]) -> tuple[Keeping, ...]:
    """Return the same with the roles and publications that each needs, among its facts.

    Args:
        session: In the target, while everything is still there.
        keepings: What stays where it is, or moves, needs nobody: the server sees to that.
    """
    text = [keeping for keeping in keepings if keeping.item.action is not Action.MOVED]
    needs: dict[int, dict[str, Json]] = {id(keeping): {} for keeping in text}
    for row in session.rows(
        _ROLES,
        {
            "catalogs": [f"pg_catalog.{keeping.item.address.catalog}" for keeping in text],
            "objids": [keeping.item.address.objid for keeping in text],
            "subids": [keeping.item.address.subid for keeping in text],
        },
    ):
        keeping = text[row["place"] - 1]
        roles = [name for name in row["names"] if _speaks_of(keeping, name)]
        if roles:
            needs[id(keeping)]["roles"] = list[Json](roles)
    members = {k.item.address.objid: k for k in text if k.item.address.catalog == "pg_publication_rel"}
    for row in session.rows(_PUBLICATIONS, (sorted(members),)) if members else ():
        needs[id(members[row["oid"]])]["publication"] = row["name"]
    return tuple(
        replace(keeping, facts={**keeping.facts, **needs[id(keeping)]}) if needs.get(id(keeping)) else keeping
        for keeping in keepings
    )


def _speaks_of(keeping: Keeping, role: str) -> bool:
    """Whether what makes it again names a role; a rename, for one, needs nobody whom the object was granted to."""
    name = role.replace('"', '""')
    return any(name in text for text in (*keeping.restore, *keeping.finish, *map(str, keeping.facts.values())))
