"""Who owns an object and who may do what with it, as statements that give it exactly that again.

What Stepback makes again it makes as itself: owner, grants and the default privileges of its own role come between.
Source: PostgreSQL documentation, "Privileges" and the reference page of ALTER DEFAULT PRIVILEGES.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ledger.errors import PlanRefused
from ledger.model import Json
from worker.objects.keeping import Address, quoted
from worker.target import Row, Session

#: Owner, schema and ACL of an object; without an ACL the server means the built-in default.
_OBJECTS = {
    "pg_class": "SELECT relowner AS owner, relnamespace AS schema, relacl AS acl,"
    " CASE relkind WHEN 'S' THEN 's' ELSE 'r' END::\"char\" AS type FROM pg_class WHERE oid = %(oid)s",
    "pg_proc": "SELECT proowner AS owner, pronamespace AS schema, proacl AS acl, 'f'::\"char\" AS type"
    " FROM pg_proc WHERE oid = %(oid)s",
    "pg_type": "SELECT typowner AS owner, typnamespace AS schema, typacl AS acl, 'T'::\"char\" AS type"
    " FROM pg_type WHERE oid = %(oid)s",
    "pg_namespace": "SELECT nspowner AS owner, oid AS schema, nspacl AS acl, 'n'::\"char\" AS type"
    " FROM pg_namespace WHERE oid = %(oid)s",
}

_GRANTS = """
WITH object AS ({object})
SELECT quote_ident(pg_get_userbyid(o.owner)) AS owner, o.schema::bigint, o.acl IS NULL AS plain, o.type::text,
       CASE WHEN g.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(g.grantee)) END AS grantee,
       g.privilege_type AS privilege, g.is_grantable AS grantable,
       quote_ident(pg_get_userbyid(g.grantor)) AS grantor, g.grantor <> o.owner AS foreign
  FROM object AS o LEFT JOIN LATERAL aclexplode(coalesce(o.acl, acldefault(o.type, o.owner))) AS g ON true
 ORDER BY grantee, privilege
"""

_COLUMN_GRANTS = """
SELECT a.attname AS column, CASE WHEN g.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(g.grantee)) END
       AS grantee, g.privilege_type AS privilege, g.is_grantable AS grantable,
       quote_ident(pg_get_userbyid(g.grantor)) AS grantor, g.grantor <> c.relowner AS foreign
  FROM pg_class AS c
  JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
 CROSS JOIN LATERAL aclexplode(a.attacl) AS g
 WHERE c.oid = %(relation)s AND (%(column)s = 0 OR a.attnum = %(column)s)
 ORDER BY a.attnum, grantee, privilege
"""

#: Who gets something on whatever this role makes; a row without a grantee takes a built-in default away.
_DEFAULTS = """
SELECT CASE WHEN g.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(g.grantee)) END AS grantee
  FROM pg_default_acl AS d LEFT JOIN LATERAL aclexplode(d.defaclacl) AS g ON true
 WHERE d.defaclrole = (SELECT oid FROM pg_roles WHERE rolname = current_user)
   AND d.defaclobjtype = %(type)s AND d.defaclnamespace IN (0, coalesce(to_regnamespace(%(schema)s), 0))
"""


@dataclass(frozen=True)
class Ownership:
    """An object's owner and grants."""

    #: Quoted.
    owner: str
    #: Statements that give it its owner; nothing else may stand before them but its making.
    give: tuple[str, ...]
    #: What `grants` needs at recovery, as JSON.
    grants: dict[str, Json]


def of(session: Session, address: Address, subject: str) -> Ownership:
    """Say who owns an object and who may do what with it.

    Args:
        session: In the target.
        address: A relation or a routine.
        subject: As ALTER and GRANT name it: "TABLE public.v", "ROUTINE public.f(integer)".

    Raises:
        PlanRefused: Somebody else than the owner granted something, which only they could do again.
    """
    rows = session.rows(_GRANTS.format(object=_OBJECTS[address.catalog]), {"oid": address.objid})
    first = rows[0]
    given = [row for row in rows if row["privilege"] is not None]
    _refuse_foreign(given, subject)
    name = session.value("SELECT nspname FROM pg_namespace WHERE oid = %s", (first["schema"],))
    statements: list[Json] = [_grant(row, row["privilege"], subject) for row in given]
    return Ownership(
        first["owner"],
        (f"ALTER {subject} OWNER TO {first['owner']}",),
        {
            "subject": subject,
            "owner": first["owner"],
            "type": first["type"],
            "schema": quoted(name),
            "plain": first["plain"],
            "statements": statements,
        },
    )


def of_columns(session: Session, relation: int, name: str, column: int = 0) -> tuple[str, ...]:
    """Return the statements that give columns their grants again, which nobody has by default.

    Args:
        session: In the target.
        relation: The table or view.
        name: Its name, qualified and quoted.
        column: The number of one column, or 0 for all.

    Raises:
        PlanRefused: As in `of`.
    """
    rows = session.rows(_COLUMN_GRANTS, {"relation": relation, "column": column})
    _refuse_foreign(rows, name)
    return tuple(_grant(row, f"{row['privilege']} ({quoted(row['column'])})", f"TABLE {name}") for row in rows)


def grants(session: Session, kept: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the statements that give an object exactly its grants again, whatever this role gives by default.

    Args:
        session: In the target, before the object is made again.
        kept: `Ownership.grants`.
    """
    intruders = [row["grantee"] for row in session.rows(_DEFAULTS, {"type": kept["type"], "schema": kept["schema"]})]
    if kept["plain"] and not intruders:
        return ()
    everybody = sorted({"PUBLIC", kept["owner"], *(grantee for grantee in intruders if grantee is not None)})
    return (*(f"REVOKE ALL ON {kept['subject']} FROM {grantee}" for grantee in everybody), *kept["statements"])


def again(session: Session, address: Address, subject: str) -> tuple[str, ...]:
    """Return the statements that give an object which its owner makes anew its grants; none if they are the defaults.

    Raises:
        PlanRefused: As in `of`.
    """
    rows = session.rows(_GRANTS.format(object=_OBJECTS[address.catalog]), {"oid": address.objid})
    if rows[0]["plain"]:
        return ()
    given = [row for row in rows if row["privilege"] is not None]
    _refuse_foreign(given, subject)
    revoke = f"REVOKE ALL ON {subject} FROM PUBLIC, {rows[0]['owner']}"
    return (revoke, *(_grant(row, row["privilege"], subject) for row in given))


def reset(session: Session, address: Address, kept: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the statements that give an object exactly the grants that it had, whoever was given some since.

    Args:
        session: In the target.
        address: The object; if it is a relation, its columns lose their grants too.
        kept: `Ownership.grants`.
    """
    rows = session.rows(_GRANTS.format(object=_OBJECTS[address.catalog]), {"oid": address.objid})
    rows += session.rows(
        _COLUMN_GRANTS, {"relation": address.objid if address.catalog == "pg_class" else 0, "column": 0}
    )
    everybody = sorted({"PUBLIC", kept["owner"], *(row["grantee"] for row in rows if row["grantee"] is not None)})
    return (*(f"REVOKE ALL ON {kept['subject']} FROM {grantee} CASCADE" for grantee in everybody), *kept["statements"])


def _refuse_foreign(rows: list[Row], subject: str) -> None:
    for row in rows:
        if row["foreign"]:
            raise PlanRefused(
                f"{row['grantor']}, who does not own {subject}, granted {row['privilege']} on it to {row['grantee']},"
                " and only they could do so again; let the owner grant it instead"
            )


def _grant(row: Row, privilege: str, subject: str) -> str:
    option = " WITH GRANT OPTION" if row["grantable"] else ""
    return f"GRANT {privilege} ON {subject} TO {row['grantee']}{option}"
