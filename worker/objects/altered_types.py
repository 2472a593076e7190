"""What can be changed about a domain or a composite type: default, NOT NULL, constraints, attributes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from ledger.errors import Conflict, PlanRefused
from ledger.model import Json
from worker.objects.altered_names import comment
from worker.objects.aspect import Aspect, nothing, one_row
from worker.objects.keeping import GONE, Address, Permits, literal, quoted
from worker.objects.subject import Subject, subject
from worker.target import Row, Session

_DOMAIN = """
SELECT pg_get_expr(typdefaultbin, 0) AS expression, typnotnull AS set, con.oid::bigint AS constraint,
       con.conname AS name
  FROM pg_type AS t LEFT JOIN pg_constraint AS con ON con.contypid = t.oid AND con.contype = 'n' WHERE t.oid = %s
"""


def _default(session: Session, of: Subject, _detail: str) -> Iterator[str]:
    found = one_row(session, _DOMAIN, of.address.objid)
    how = "DROP DEFAULT" if found["expression"] is None else f"SET DEFAULT {found['expression']}"
    yield f"ALTER DOMAIN {of.identity} {how}"


def _default_permits(_session: Session, of: Subject, _detail: str) -> Permits:
    return {of.address: frozenset({"typdefault", "typdefaultbin", "pg_depend", "pg_shdepend"})}


def _not_null(session: Session, of: Subject, _detail: str) -> Iterator[str]:
    found = one_row(session, _DOMAIN, of.address.objid)
    yield f"ALTER DOMAIN {of.identity} DROP NOT NULL"
    if found["name"] is not None:
        name = quoted(found["name"])
        yield f"ALTER DOMAIN {of.identity} ADD CONSTRAINT {name} NOT NULL"
        text = session.value(_COMMENT, ("pg_catalog.pg_constraint", found["constraint"], 0))
        if text is not None:
            yield f"COMMENT ON CONSTRAINT {name} ON DOMAIN {of.identity} IS {literal(text)}"
    elif found["set"]:
        yield f"ALTER DOMAIN {of.identity} SET NOT NULL"


def _not_null_permits(session: Session, of: Subject, _detail: str) -> Permits:
    found = one_row(session, _DOMAIN, of.address.objid)
    gone = {} if found["constraint"] is None else {Address("pg_constraint", found["constraint"]): GONE}
    return {**gone, of.address: frozenset({"typnotnull"})}


def _validation(session: Session, of: Subject, _detail: str) -> Iterator[str]:
    found = one_row(
        session,
        "SELECT convalidated AS validated, pg_get_constraintdef(con.oid) AS definition, n.nspname AS schema,"
        " t.typname AS name"
        " FROM pg_constraint AS con JOIN pg_type AS t ON t.oid = con.contypid"
        " JOIN pg_namespace AS n ON n.oid = t.typnamespace WHERE con.oid = %s",
        of.address.objid,
    )
    if not found["validated"]:
        domain = quoted(found["schema"], found["name"])
        yield f"ALTER DOMAIN {domain} DROP CONSTRAINT {quoted(of.name)}"
        yield f"ALTER DOMAIN {domain} ADD CONSTRAINT {quoted(of.name)} {found['definition']}"
        yield from comment(session, of, "")


def _validation_permits(_session: Session, of: Subject, _detail: str) -> Permits:
    return {of.address: GONE}


_COMMENT: Final = (
    "SELECT description FROM pg_description WHERE classoid = %s::regclass AND objoid = %s AND objsubid = %s"
)

_ATTRIBUTES = """
SELECT a.attnum AS number, a.attname AS name, format_type(a.atttypid, a.atttypmod) AS type,
       CASE WHEN a.attcollation <> ty.typcollation THEN
           (SELECT quote_ident(n.nspname) || '.' || quote_ident(c.collname)
              FROM pg_collation AS c JOIN pg_namespace AS n ON n.oid = c.collnamespace WHERE c.oid = a.attcollation)
       END AS collation, col_description(a.attrelid, a.attnum) AS comment
  FROM pg_type AS t JOIN pg_attribute AS a ON a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped
  JOIN pg_type AS ty ON ty.oid = a.atttypid
 WHERE t.oid = %s ORDER BY a.attnum
"""

#: Tables and materialized views that hold values of a type: in columns of it, of arrays, domains, ranges and other
#: types made of it, and tables that are typed by it.
_HOLDERS = """
WITH RECURSIVE family (oid) AS (
    SELECT %(type)s::oid
    UNION
    SELECT next.oid FROM family CROSS JOIN LATERAL (
        SELECT typarray AS oid FROM pg_type WHERE oid = family.oid AND typarray <> 0
        UNION ALL SELECT oid FROM pg_type WHERE typbasetype = family.oid
        UNION ALL SELECT rngtypid FROM pg_range WHERE rngsubtype = family.oid
        UNION ALL SELECT rngmultitypid FROM pg_range WHERE rngtypid = family.oid
        UNION ALL SELECT c.reltype FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid AND c.relkind = 'c'
                   WHERE a.atttypid = family.oid AND NOT a.attisdropped
    ) AS next
)
SELECT a.attrelid::regclass || '.' || quote_ident(a.attname) AS name
  FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid AND c.relkind IN ('r', 'p', 'm', 'f', 'i', 'I')
 WHERE a.atttypid IN (SELECT oid FROM family) AND a.attnum > 0 AND NOT a.attisdropped
UNION ALL
SELECT oid::regclass::text FROM pg_class WHERE reloftype IN (SELECT oid FROM family)
 ORDER BY 1
"""

#: What uses the attributes from one on: they would have to go and come again, to stand in their order.
_USERS = """
SELECT pg_describe_object(d.classid, d.objid, d.objsubid) AS name
  FROM pg_type AS t JOIN pg_depend AS d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = t.typrelid
   AND d.deptype <> 'i' AND d.refobjsubid >= (SELECT min(attnum) FROM pg_attribute
                                               WHERE attrelid = t.typrelid AND attname = ANY (%(names)s::text[]))
 WHERE t.oid = %(type)s ORDER BY 1 LIMIT 1
"""


def _attributes_facts(session: Session, of: Subject, touched: str, line: int) -> dict[str, Json]:
    """Write all attributes down; `touched` are the names of those that are dropped or change, as JSON."""
    holders = [row["name"] for row in session.rows(_HOLDERS, {"type": of.address.objid})]
    if holders:
        raise PlanRefused(
            f"type {of.identity} has values in {', '.join(holders)}, and those of an attribute cannot be kept apart"
            " from them; change the columns to another type instead",
            line=line,
        )
    user = session.value(_USERS, {"type": of.address.objid, "names": json.loads(touched)})
    if user is not None:
        raise PlanRefused(
            f"{user} uses attributes of type {of.identity}, which could not be put back in their order under it;"
            " drop it first",
            line=line,
        )
    attributes: list[Json] = [_attribute(row) for row in session.rows(_ATTRIBUTES, (of.address.objid,))]
    return {"type": of.identity, "attributes": attributes}


def _attribute(row: Row) -> list[Json]:
    collation = f" COLLATE {row['collation']}" if row["collation"] else ""
    return [row["name"], f"{row['type']}{collation}", row["comment"]]


def _attributes_back(session: Session, address: Address, facts: Mapping[str, Any]) -> Iterator[str]:
    """Take off what differs, from the first attribute that does, and put on what stood there."""
    if not session.value("SELECT EXISTS (SELECT FROM pg_type WHERE oid = %s)", (address.objid,)):
        raise Conflict(f"cannot be brought back as it was: type {facts['type']} does not exist any more")
    of = subject(session, address)
    was: Sequence[Any] = facts["attributes"]
    now = [_attribute(row) for row in session.rows(_ATTRIBUTES, (address.objid,))]
    same = 0
    while same < min(len(was), len(now)) and was[same] == now[same]:
        same += 1
    holders = [row["name"] for row in session.rows(_HOLDERS, {"type": address.objid})]
    if holders and (was[same:] or now[same:]):
        raise Conflict(
            f"cannot be brought back as it was: type {of.identity} has values in {', '.join(holders)} by now"
        )
    type_ = f"ALTER TYPE {of.identity}"
    yield from (f"{type_} DROP ATTRIBUTE {quoted(str(name))}" for name, *_ in reversed(now[same:]))
    for name, told, text in was[same:]:
        yield f"{type_} ADD ATTRIBUTE {quoted(name)} {told}"
        if text is not None:
            yield f"COMMENT ON COLUMN {of.identity}.{quoted(name)} IS {literal(text)}"


def _attributes_permits(session: Session, of: Subject, _detail: str) -> Permits:
    relation = session.value("SELECT typrelid::bigint FROM pg_type WHERE oid = %s", (of.address.objid,))
    rows = session.rows(_ATTRIBUTES, (of.address.objid,))
    return {Address("pg_class", relation, row["number"]): GONE for row in rows}


ASPECTS: Final[Mapping[str, Aspect]] = {
    "domain default": Aspect(_default, _default_permits, locks=False),
    "domain not null": Aspect(_not_null, _not_null_permits, locks=False),
    "domain validation": Aspect(_validation, _validation_permits, locks=False),
    "attributes": Aspect(nothing, _attributes_permits, locks=False, facts=_attributes_facts, back=_attributes_back),
}
