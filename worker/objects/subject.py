"""An object as statements name it, whatever its kind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from worker.objects.keeping import Address
from worker.target import Session


@dataclass(frozen=True)
class Subject:
    """An object as statements name it."""

    address: Address
    #: As pg_identify_object says it.
    kind: str
    #: Qualified and quoted: "public.t", "public.t.c", "c on public.t", "public.f(integer)".
    identity: str
    #: Its own name, as it is in the catalog.
    name: str
    #: Schema of an object that has one of its own.
    schema: str | None
    #: Types of the arguments in parentheses, for a function.
    arguments: str
    #: The table that it is or belongs to, or the domain that it belongs to, qualified and quoted; the table's OID.
    table: str
    relation: int | None

    @property
    def word(self) -> str:
        """What SQL calls this kind."""
        return _WORDS.get(self.kind, self.kind.upper())


_WORDS: Final[Mapping[str, str]] = {
    "composite type": "TYPE",
    "statistics object": "STATISTICS",
    "table column": "COLUMN",
    "view column": "COLUMN",
    "materialized view column": "COLUMN",
    "composite type column": "ATTRIBUTE",
    "table constraint": "CONSTRAINT",
}

_SUBJECT = """
SELECT told.type AS kind, told.identity, (parse_ident(told.schema))[1] AS schema, parts.object_args AS arguments,
       coalesce(ty.typname, con.conname, parts.object_names[cardinality(parts.object_names)]) AS name,
       home.oid::bigint AS relation,
       CASE WHEN home.oid IS NOT NULL THEN format('%%I.%%I', n.nspname, home.relname)
            WHEN dom.oid IS NOT NULL THEN format('%%I.%%I', dn.nspname, dom.typname) END AS "table"
  FROM pg_identify_object(%(catalog)s::text::regclass, %(objid)s, %(subid)s) AS told
 CROSS JOIN pg_identify_object_as_address(%(catalog)s::text::regclass, %(objid)s, %(subid)s) AS parts
  LEFT JOIN pg_constraint AS con ON %(catalog)s::text = 'pg_catalog.pg_constraint' AND con.oid = %(objid)s
  LEFT JOIN pg_trigger AS t ON %(catalog)s::text = 'pg_catalog.pg_trigger' AND t.oid = %(objid)s
  LEFT JOIN pg_rewrite AS w ON %(catalog)s::text = 'pg_catalog.pg_rewrite' AND w.oid = %(objid)s
  LEFT JOIN pg_policy AS p ON %(catalog)s::text = 'pg_catalog.pg_policy' AND p.oid = %(objid)s
  LEFT JOIN pg_index AS i ON %(catalog)s::text = 'pg_catalog.pg_class' AND i.indexrelid = %(objid)s
  LEFT JOIN pg_type AS ty ON %(catalog)s::text = 'pg_catalog.pg_type' AND ty.oid = %(objid)s
  LEFT JOIN pg_class AS home
    ON home.oid = coalesce(con.conrelid, t.tgrelid, w.ev_class, p.polrelid, i.indrelid,
                           CASE WHEN %(catalog)s::text = 'pg_catalog.pg_class' THEN %(objid)s::oid END)
  LEFT JOIN pg_namespace AS n ON n.oid = home.relnamespace
  LEFT JOIN pg_type AS dom ON dom.oid = con.contypid
  LEFT JOIN pg_namespace AS dn ON dn.oid = dom.typnamespace
"""


def subject(session: Session, address: Address) -> Subject:
    """Return an object as statements name it."""
    found = session.row(
        _SUBJECT, {"catalog": f"pg_catalog.{address.catalog}", "objid": address.objid, "subid": address.subid}
    )
    assert found is not None  # noqa: S101 - the caller resolved it in this transaction
    is_routine = address.catalog == "pg_proc"
    return Subject(
        address,
        found["kind"],
        found["identity"],
        found["name"],
        found["schema"],
        f"({', '.join(found['arguments'])})" if is_routine else "",
        found["table"] or "",
        found["relation"],
    )
