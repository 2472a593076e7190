"""Shadows: a removed name must not come to mean another object, which the search_path has hidden behind it so far."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from worker.objects.keeping import Address
from worker.plan.leaving import Leaving
from worker.target import Row, Session


@dataclass(frozen=True)
class Shadow:
    """A name that goes, and what it would mean then."""

    leaving: Leaving
    #: Label of the object that would be found: "table public.users".
    other: str
    #: The search_path that finds it.
    path: tuple[str, ...]

    def told(self) -> str:
        """Return it as part of a sentence."""
        return f"{self.leaving.label} stands before {self.other} in the search_path {', '.join(self.path)}"


#: How a search_path is configured: for a role, for this database, or for everybody.
_CONFIGURED = """
SELECT CASE WHEN s.setrole <> 0 THEN pg_get_userbyid(s.setrole)::text END AS role,
       substr(entry, strpos(entry, '=') + 1) AS path
  FROM pg_db_role_setting AS s CROSS JOIN LATERAL unnest(s.setconfig) AS entry
 WHERE entry LIKE 'search\\_path=%' AND s.setdatabase IN
       (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
UNION
SELECT NULL, reset_val FROM pg_settings WHERE name = 'search_path'
 ORDER BY 1, 2
"""

#: Schemas that "$user" may mean.
_USERS = "SELECT rolname::text AS name FROM pg_roles WHERE rolname IN (SELECT nspname FROM pg_namespace) ORDER BY 1"

#: Whatever has a name that goes, anywhere.
_NAMESAKES = """
WITH gone AS (
    SELECT * FROM unnest(%(catalogs)s::text[], %(names)s::text[], %(arguments)s::text[]) WITH ORDINALITY
                    AS g (catalog, name, arguments, place)
), namesakes AS (
    SELECT g.place, 'pg_class' AS catalog, c.oid, c.relnamespace AS schema
      FROM gone AS g JOIN pg_class AS c ON g.catalog = 'pg_class' AND c.relname = g.name
     WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
    UNION ALL
    SELECT g.place, 'pg_type', t.oid, t.typnamespace
      FROM gone AS g JOIN pg_type AS t ON g.catalog = 'pg_type' AND t.typname = g.name
    UNION ALL
    SELECT g.place, 'pg_proc', p.oid, p.pronamespace
      FROM gone AS g JOIN pg_proc AS p ON g.catalog = 'pg_proc' AND p.proname = g.name
       AND p.proargtypes::text = g.arguments
)
SELECT k.place, k.catalog, k.oid::bigint, n.nspname::text AS schema, told.type || ' ' || told.identity AS label
  FROM namesakes AS k JOIN pg_namespace AS n ON n.oid = k.schema
 CROSS JOIN LATERAL pg_identify_object(('pg_catalog.' || k.catalog)::regclass, k.oid, 0) AS told
"""


def find(session: Session, leaving: Iterable[Leaving]) -> tuple[Shadow, ...]:
    """Return the names that would come to mean another object, for anybody whose search_path is known.

    Args:
        session: In the target, before the plan has run.
        leaving: The names that go.
    """
    names = [name for name in leaving if name.column is None and name.address.catalog != "pg_namespace"]
    namesakes = session.rows(
        _NAMESAKES,
        {
            "catalogs": [name.address.catalog for name in names],
            "names": [name.name for name in names],
            "arguments": [name.arguments for name in names],
        },
    )
    going = {name.address for name in names}
    if all(Address(row["catalog"], row["oid"]) in going for row in namesakes):
        return ()
    paths = _paths(session)
    found = (
        _shadow(name, [row for row in namesakes if row["place"] == place], going, path)
        for place, name in enumerate(names, start=1)
        for path in paths
    )
    # Told once each, with the first search_path that finds it: the session's own stands first.
    first: dict[tuple[Leaving, str], Shadow] = {}
    for shadow in found:
        if shadow is not None:
            first.setdefault((shadow.leaving, shadow.other), shadow)
    return tuple(first.values())


def _shadow(name: Leaving, namesakes: Sequence[Row], going: Collection[Address], path: Sequence[str]) -> Shadow | None:
    """Return what a name means after the plan, if that is something else than before."""
    in_order = sorted((row for row in namesakes if row["schema"] in path), key=lambda row: path.index(row["schema"]))
    if not in_order or Address(in_order[0]["catalog"], in_order[0]["oid"]) != name.address:
        return None
    left = [row for row in in_order if Address(row["catalog"], row["oid"]) not in going]
    return Shadow(name, left[0]["label"], tuple(path)) if left else None


def _paths(session: Session) -> list[tuple[str, ...]]:
    """Return every search_path that is known: the session's own, and those that are configured."""
    users = [row["name"] for row in session.rows(_USERS)]
    found = [session.schemas]
    for row in session.rows(_CONFIGURED):
        path = split_path(row["path"])
        of_users = [row["role"]] if row["role"] is not None else users or [""]
        found += [tuple(user if schema == "$user" else schema for schema in path) for user in of_users]
    # The server looks into its own schema first, unless the path says otherwise.
    whole = (path if "pg_catalog" in path else ("pg_catalog", *path) for path in found)
    return list(dict.fromkeys(whole))


_ENTRY = re.compile(r'\s*(?:"((?:[^"]|"")*)"|([^",\s]+))\s*(?:,|$)')


def split_path(path: str) -> tuple[str, ...]:
    """Return the schemas of a search_path as it is written in the configuration."""
    entries = ((quoted.replace('""', '"'), plain.lower()) for quoted, plain in _ENTRY.findall(path))
    return tuple(quoted or plain for quoted, plain in entries if quoted or plain)
