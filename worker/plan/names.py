"""Names in a plan become addresses in the catalog, once, with the search_path that the target gives."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from worker.objects.keeping import Address
from worker.plan.statements import Named, QualifiedName
from worker.target import Session


def resolve(session: Session, named: Named) -> Address | None:
    """Return where an object stands, or None if there is none of that name."""
    return _BY_KIND[named.kind](session, named)


def relation(session: Session, name: QualifiedName) -> int | None:
    """Return the OID of whatever is in pg_class under a name."""
    oid: int | None = session.value(
        "SELECT c.oid::bigint FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace"
        " WHERE c.relname = %s AND n.nspname::text = ANY (%s)"
        " ORDER BY array_position(%s, n.nspname::text) LIMIT 1",
        (name[-1], *_schemas(session, name)),
    )
    return oid


def table_exists(session: Session, named: Named) -> bool:
    """Whether there is a table for a part of one."""
    return relation(session, named.name) is not None


def _in_pg_class(session: Session, named: Named) -> Address | None:
    oid = relation(session, named.name)
    return None if oid is None else Address("pg_class", oid)


def _type(session: Session, named: Named) -> Address | None:
    oid = session.value(
        "SELECT t.oid::bigint FROM pg_type AS t JOIN pg_namespace AS n ON n.oid = t.typnamespace"
        " WHERE t.typname = %s AND n.nspname::text = ANY (%s)"
        " ORDER BY array_position(%s, n.nspname::text) LIMIT 1",
        (named.name[-1], *_schemas(session, named.name)),
    )
    return None if oid is None else Address("pg_type", oid)


def _column(session: Session, named: Named) -> Address | None:
    table = relation(session, named.name)
    if table is None:
        return None
    number = session.value(
        "SELECT attnum FROM pg_attribute WHERE attrelid = %s AND attname = %s AND attnum > 0 AND NOT attisdropped",
        (table, named.part),
    )
    return None if number is None else Address("pg_class", table, number)


def _schema(session: Session, named: Named) -> Address | None:
    oid = session.value("SELECT oid::bigint FROM pg_namespace WHERE nspname = %s", (named.name[0],))
    return None if oid is None else Address("pg_namespace", oid)


_BY_KIND: Final[Mapping[str, Callable[[Session, Named], Address | None]]] = {
    "table": _in_pg_class,
    "index": _in_pg_class,
    "materialized view": _in_pg_class,
    "sequence": _in_pg_class,
    "type": _type,
    "domain": _type,
    "schema": _schema,
    "column": _column,
}


def _schemas(session: Session, name: QualifiedName) -> tuple[list[str], list[str]]:
    schemas = [name[0]] if len(name) > 1 else list(session.schemas)
    return schemas, schemas
