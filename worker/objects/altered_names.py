"""What can be changed about almost anything: name, schema, owner, comment."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from ledger.model import Json
from worker.objects import family
from worker.objects.aspect import Aspect
from worker.objects.keeping import Address, Permits, literal, quoted
from worker.objects.subject import Subject
from worker.target import Row, Session

#: The column of each catalog that holds an object's name.
_NAME: Final[Mapping[str, str]] = {
    "pg_class": "relname",
    "pg_constraint": "conname",
    "pg_namespace": "nspname",
    "pg_policy": "polname",
    "pg_proc": "proname",
    "pg_rewrite": "rulename",
    "pg_statistic_ext": "stxname",
    "pg_trigger": "tgname",
    "pg_type": "typname",
}
_PART_RENAMED: Final[Mapping[str, str]] = {
    "COLUMN": "ALTER TABLE {table} RENAME COLUMN {now} TO {was}",
    "CONSTRAINT": "ALTER TABLE {table} RENAME CONSTRAINT {now} TO {was}",
    "TRIGGER": "ALTER TRIGGER {now} ON {table} RENAME TO {was}",
    "RULE": "ALTER RULE {now} ON {table} RENAME TO {was}",
    "POLICY": "ALTER POLICY {now} ON {table} RENAME TO {was}",
    "ATTRIBUTE": "ALTER TYPE {table} RENAME ATTRIBUTE {now} TO {was}",
    "DOMAIN CONSTRAINT": "ALTER DOMAIN {table} RENAME CONSTRAINT {now} TO {was}",
}


def _name(_session: Session, of: Subject, renamed: str) -> Iterator[str]:
    part = _PART_RENAMED.get(of.word)
    if part is not None:
        yield part.format(table=of.table, now=quoted(renamed), was=quoted(of.name))
        return
    now = quoted(renamed) if of.schema is None else quoted(of.schema, renamed)
    yield f"ALTER {of.word} {now}{of.arguments} RENAME TO {quoted(of.name)}"


_SAME_NAME = """
SELECT 'pg_type' AS catalog, oid::bigint FROM pg_type WHERE typrelid = %(class)s OR oid = %(type)s
UNION ALL
SELECT 'pg_type', typarray::bigint FROM pg_type WHERE (typrelid = %(class)s OR oid = %(type)s) AND typarray <> 0
UNION ALL
SELECT 'pg_class', typrelid::bigint FROM pg_type WHERE oid = %(type)s AND typrelid <> 0
UNION ALL
SELECT 'pg_class', conindid::bigint FROM pg_constraint WHERE oid = %(constraint)s AND contype IN ('p', 'u', 'x')
UNION ALL
SELECT 'pg_constraint', oid::bigint FROM pg_constraint WHERE conindid = %(class)s AND contype IN ('p', 'u', 'x')
"""


def _name_permits(session: Session, of: Subject, _detail: str) -> Permits:
    address = of.address
    if address.subid:
        return dict.fromkeys(family.columns(session, address), frozenset({"attname"}))
    same = session.rows(
        _SAME_NAME,
        {
            "class": address.objid if address.catalog == "pg_class" else 0,
            "type": address.objid if address.catalog == "pg_type" else 0,
            "constraint": address.objid if address.catalog == "pg_constraint" else 0,
        },
    )
    also = {Address(row["catalog"], row["oid"]): frozenset({_NAME[row["catalog"]]}) for row in same}
    return {**also, address: frozenset({_NAME[address.catalog]})}


def _around(session: Session, of: Subject) -> frozenset[int]:
    """Return the partitions of a table whose column is renamed: there it is renamed, too."""
    return (
        frozenset(part["oid"] for part in family.partitions(session, of.address.objid))
        if of.address.subid
        else frozenset()
    )


def _name_facts(session: Session, of: Subject, _detail: str, _line: int) -> dict[str, Json]:
    """Write down which of the tables that are locked may be gone by the time of a recovery."""
    parts = _around(session, of)
    return {"partitions": [*sorted(parts)]} if parts else {}


_OWNERS = """
SELECT 'pg_class' AS catalog, c.oid::bigint, pg_get_userbyid(c.relowner) AS owner FROM pg_class AS c
 WHERE c.oid = %(class)s OR c.oid IN (SELECT indexrelid FROM pg_index WHERE indrelid = %(class)s)
    OR c.oid = (SELECT reltoastrelid FROM pg_class WHERE oid = %(class)s)
    OR c.oid IN (SELECT indexrelid FROM pg_index JOIN pg_class AS t ON t.reltoastrelid = indrelid
                  WHERE t.oid = %(class)s)
    OR c.oid IN (SELECT objid FROM pg_depend WHERE classid = 'pg_class'::regclass AND refclassid = 'pg_class'::regclass
                    AND refobjid = %(class)s AND deptype IN ('a', 'i'))
    OR c.oid IN (SELECT typrelid FROM pg_type WHERE oid = %(type)s AND typrelid <> 0)
UNION ALL
SELECT 'pg_type', t.oid::bigint, pg_get_userbyid(t.typowner) FROM pg_type AS t
 WHERE t.typrelid = %(class)s OR t.oid = %(type)s
    OR t.oid IN (SELECT typarray FROM pg_type WHERE typrelid = %(class)s OR oid = %(type)s)
UNION ALL
SELECT 'pg_proc', oid::bigint, pg_get_userbyid(proowner) FROM pg_proc WHERE oid = %(proc)s
UNION ALL
SELECT 'pg_namespace', oid::bigint, pg_get_userbyid(nspowner) FROM pg_namespace WHERE oid = %(namespace)s
UNION ALL
SELECT 'pg_statistic_ext', oid::bigint, pg_get_userbyid(stxowner) FROM pg_statistic_ext WHERE oid = %(statistics)s
"""
_OWNED: Final[Mapping[str, frozenset[str]]] = {
    "pg_class": frozenset({"relowner", "relacl", "pg_shdepend"}),
    "pg_type": frozenset({"typowner", "typacl", "pg_shdepend"}),
    "pg_proc": frozenset({"proowner", "proacl", "pg_shdepend"}),
    "pg_namespace": frozenset({"nspowner", "nspacl", "pg_shdepend"}),
    "pg_statistic_ext": frozenset({"stxowner", "pg_shdepend"}),
}


def _owners(session: Session, of: Subject) -> list[Row]:
    address = of.address
    catalogs = {
        "class": "pg_class",
        "type": "pg_type",
        "proc": "pg_proc",
        "namespace": "pg_namespace",
        "statistics": "pg_statistic_ext",
    }
    return session.rows(
        _OWNERS, {key: address.objid if address.catalog == catalog else 0 for key, catalog in catalogs.items()}
    )


def _owner(session: Session, of: Subject, _detail: str) -> Iterator[str]:
    own = (of.address.catalog, of.address.objid)
    (owner,) = {row["owner"] for row in _owners(session, of) if (row["catalog"], row["oid"]) == own}
    yield f"ALTER {of.word} {of.identity} OWNER TO {quoted(owner)}"


def _owner_permits(session: Session, of: Subject, _detail: str) -> Permits:
    return {Address(row["catalog"], row["oid"]): _OWNED[row["catalog"]] for row in _owners(session, of)}


def comment(session: Session, of: Subject, _detail: str) -> Iterator[str]:
    """Return the statement that gives an object the comment that it has, or none."""
    text = session.value(
        "SELECT description FROM pg_description WHERE classoid = %s::regclass AND objoid = %s AND objsubid = %s",
        (f"pg_catalog.{of.address.catalog}", of.address.objid, of.address.subid),
    )
    told = {
        "ATTRIBUTE": f"COLUMN {of.identity}",
        "DOMAIN CONSTRAINT": f"CONSTRAINT {quoted(of.name)} ON DOMAIN {of.table}",
    }
    yield f"COMMENT ON {told.get(of.word, f'{of.word} {of.identity}')} IS {'NULL' if text is None else literal(text)}"


def _comment_permits(_session: Session, of: Subject, _detail: str) -> Permits:
    return {of.address: frozenset({"pg_description"})}


def _schema(_session: Session, of: Subject, moved_to: str) -> Iterator[str]:
    assert of.schema is not None  # noqa: S101 - only what lies in a schema can be moved to another
    yield f"ALTER {of.word} {quoted(moved_to, of.name)}{of.arguments} SET SCHEMA {quoted(of.schema)}"


def _schema_permits(session: Session, of: Subject, _detail: str) -> Permits:
    changed = {
        "pg_class": frozenset({"relnamespace"}),
        "pg_type": frozenset({"typnamespace"}),
        "pg_proc": frozenset({"pronamespace", "pg_depend"}),
        "pg_statistic_ext": frozenset({"stxnamespace", "pg_depend"}),
        "pg_namespace": frozenset[str](),
    }
    found = {Address(row["catalog"], row["oid"]): changed[row["catalog"]] for row in _owners(session, of)}
    for row in session.rows(
        "SELECT oid::bigint FROM pg_constraint"
        " WHERE %(class)s AND conrelid = %(oid)s OR NOT %(class)s AND contypid = %(oid)s",
        {"class": of.address.catalog == "pg_class", "oid": of.address.objid},
    ):
        found[Address("pg_constraint", row["oid"])] = frozenset({"connamespace"})
    return found


ASPECTS: Final[Mapping[str, Aspect]] = {
    "name": Aspect(_name, _name_permits, around=_around, facts=_name_facts),
    "schema": Aspect(_schema, _schema_permits),
    "owner": Aspect(_owner, _owner_permits),
    "comment": Aspect(comment, _comment_permits, locks=False),
}
