"""Who may do what a plan comes to: the worker, whoever wrote the plan, and whoever its statements are run as."""

from __future__ import annotations

from collections.abc import Sequence

from ledger.errors import NotAllowed, NotPossible
from worker.objects.keeping import Action, Item, Keeping
from worker.plan.source import Plan
from worker.target import Session


def check_login(session: Session) -> None:
    """Check that nothing here is allowed to the worker only because everything is.

    Raises:
        NotPossible: It is a superuser; the message says what to connect as instead.
    """
    if session.value("SELECT bool_or(rolsuper) FROM pg_roles WHERE rolname IN (current_user, session_user)"):
        raise NotPossible(
            "the worker's login is a superuser here, whom no right holds back; connect as a role that is none, is a"
            " member of the roles that own the tables, and may create schemas"
        )


def check_rights(session: Session, keepings: Sequence[Keeping]) -> None:
    """Check before anything is touched that this role may do all of it.

    Raises:
        NotPossible: Names the object, its owner, and the GRANT that would help.
    """
    if not session.value("SELECT has_database_privilege(current_database(), 'CREATE')"):
        raise NotPossible("the worker's role may not create schemas here; GRANT CREATE ON DATABASE to it")
    own = {k.item.relation for k in keepings if k.item.relation is not None}
    locks = {oid for keeping in keepings for oid in keeping.locks}
    routines = [k.item.address.objid for k in keepings if k.item.address.catalog == "pg_proc"]
    types = sorted(k.item.address.objid for k in keepings if k.item.address.catalog == "pg_type")
    missing = session.row(
        "SELECT what, owner, current_user AS role FROM ("
        "  SELECT CASE relkind WHEN 'v' THEN 'view ' ELSE 'table ' END || oid::regclass AS what,"
        "         relowner::regrole::text AS owner, relowner AS owner_oid,"
        "         NOT oid = ANY (%(locks)s::oid[]) OR relkind IN ('S', 'm') OR has_table_privilege(oid, 'UPDATE')"
        "             AS lockable,"
        "         oid = ANY (%(own)s::oid[]) OR relkind IN ('S', 'm') AS own"
        "    FROM pg_class WHERE oid = ANY (%(relations)s::oid[])"
        "  UNION ALL"
        "  SELECT 'type ' || oid::regtype, typowner::regrole::text, typowner, true, true"
        "    FROM pg_type WHERE oid = ANY (%(types)s::oid[])"
        "  UNION ALL"
        "  SELECT 'schema ' || oid::regnamespace, nspowner::regrole::text, nspowner, true, true"
        "    FROM pg_namespace WHERE oid = ANY (%(schemas)s::oid[])"
        "  UNION ALL"
        "  SELECT 'routine ' || oid::regprocedure, proowner::regrole::text, proowner, true, true"
        "    FROM pg_proc WHERE oid = ANY (%(routines)s::oid[])"
        ") AS needed WHERE (own AND NOT pg_has_role(owner_oid, 'USAGE')) OR NOT lockable LIMIT 1",
        {
            "relations": sorted(locks | own),
            "locks": sorted(locks),
            "types": types,
            "routines": routines,
            "schemas": sorted(k.item.address.objid for k in keepings if k.item.address.catalog == "pg_namespace"),
            "own": sorted(own.union(*(k.alters for k in keepings))),
        },
    )
    if missing is not None:
        raise NotPossible(
            f"{missing['what']} belongs to {missing['owner']}; GRANT {missing['owner']} TO {missing['role']} first"
        )
    _check_homes(session, keepings)


#: What is made again as somebody's, in a schema where they may make nothing.
_HOMELESS = """
SELECT pg_get_userbyid(owner) AS owner, schema::regnamespace::text AS schema
  FROM (SELECT relowner, relnamespace FROM pg_class WHERE oid = ANY (%(views)s::oid[])
        UNION SELECT proowner, pronamespace FROM pg_proc WHERE oid = ANY (%(routines)s::oid[])) AS made (owner, schema)
 WHERE NOT has_schema_privilege(owner, schema, 'CREATE') OR NOT has_schema_privilege(schema, 'CREATE')
 LIMIT 1
"""


#: Relations that are written down, if they are.
_MADE_AGAIN = frozenset({"view", "materialized view"})


def _check_homes(session: Session, keepings: Sequence[Keeping]) -> None:
    """See now that what is made again later may be made there, by its owner as by this role."""
    views = [k.item.address.objid for k in keepings if k.item.kind in _MADE_AGAIN and k.item.action is Action.DEFINED]
    routines = [k.item.address.objid for k in keepings if k.item.address.catalog == "pg_proc"]
    homeless = session.row(_HOMELESS, {"views": views, "routines": routines})
    if homeless is not None:
        raise NotPossible(
            f"what {homeless['owner']} has in schema {homeless['schema']} could not be made there again;"
            f" GRANT CREATE ON SCHEMA {homeless['schema']} TO {homeless['owner']} first"
        )


def check_writer(session: Session, plan: Plan, items: Sequence[Item]) -> None:
    """A bare row is only as good as whoever wrote it: may that role itself drop what the row names?"""
    assert plan.row is not None  # noqa: S101 - a bare plan is a row
    writer = plan.row.recorded_by
    if writer is None:
        raise NotAllowed(
            f"the registry row of {plan.migration} was written before Stepback was installed, so nobody knows by whom;"
            " look at it, then write or register it again"
        )
    forbidden = session.value(
        "SELECT coalesce((SELECT 'role ' || %(writer)s || ' does not exist any more' WHERE NOT EXISTS"
        " (SELECT FROM pg_roles WHERE rolname = %(writer)s)),"
        " (SELECT format('role %%s, who wrote this plan, may not drop table %%s', %(writer)s, oid::regclass)"
        "    FROM pg_class WHERE oid = ANY (%(relations)s::oid[]) AND NOT pg_has_role(%(writer)s, relowner, 'USAGE')"
        "   LIMIT 1),"
        " (SELECT format('role %%s, who wrote this plan, may not drop type %%s', %(writer)s, oid::regtype)"
        "    FROM pg_type WHERE (oid = ANY (%(types)s::oid[]) OR oid IN (SELECT contypid FROM pg_constraint"
        "         WHERE oid = ANY (%(constraints)s::oid[]))) AND NOT pg_has_role(%(writer)s, typowner, 'USAGE')"
        "   LIMIT 1),"
        " (SELECT format('role %%s, who wrote this plan, may not drop schema %%s', %(writer)s, oid::regnamespace)"
        "    FROM pg_namespace WHERE oid = ANY (%(schemas)s::oid[]) AND NOT pg_has_role(%(writer)s, nspowner, 'USAGE')"
        "   LIMIT 1),"
        " (SELECT format('role %%s, who wrote this plan, may not drop %%s', %(writer)s, oid::regprocedure)"
        "    FROM pg_proc WHERE oid = ANY (%(routines)s::oid[]) AND NOT pg_has_role(%(writer)s, proowner, 'USAGE')"
        "   LIMIT 1))",
        {
            "writer": writer,
            "relations": sorted({i.relation for i in items if i.relation is not None}),
            "types": sorted(i.address.objid for i in items if i.address.catalog == "pg_type"),
            "constraints": sorted(i.address.objid for i in items if i.address.catalog == "pg_constraint"),
            "schemas": sorted(i.address.objid for i in items if i.address.catalog == "pg_namespace"),
            "routines": sorted(i.address.objid for i in items if i.address.catalog == "pg_proc"),
        },
    )
    if forbidden is not None:
        raise NotAllowed(str(forbidden))


def plan_owner(session: Session, plan: Plan) -> str:
    """Return the role that the plan's own statements are run as.

    Raises:
        NotAllowed: It is a superuser, whom nothing would hold back.
        NotPossible: The worker cannot act as this role.
    """
    row = session.row(
        "SELECT rolname AS name, rolsuper AS super, pg_has_role(rolname, 'MEMBER') AS member, current_user AS worker"
        " FROM pg_roles WHERE rolname = coalesce(%s, (SELECT pg_get_userbyid(datdba) FROM pg_database"
        " WHERE datname = current_database()))",
        (plan.owner,),
    )
    if row is None:
        raise NotAllowed(f"role {plan.owner}, who owns this plan, does not exist")
    if row["super"]:
        raise NotAllowed(
            f"the plan's own statements would run as {row['name']}, a superuser; name another role in plan.toml:"
            ' owner = "…"'
        )
    if not row["member"]:
        raise NotPossible(f"the worker cannot act as {row['name']}; GRANT {row['name']} TO {row['worker']} first")
    name: str = row["name"]
    return name
