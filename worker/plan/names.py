"""Names in a plan become addresses in the catalog, once, with the search_path that the target gives."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from ledger.errors import PlanRefused
from worker.objects.keeping import Address
from worker.plan.statements import ArgumentType, Named, QualifiedName
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


def whole_exists(session: Session, named: Named) -> bool:
    """Whether there is a table or domain for a part of one."""
    if named.kind == "domain constraint":
        return _type(session, Named("domain", named.name)) is not None
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


def _attribute(session: Session, named: Named) -> Address | None:
    found = _type(session, Named("type", named.name))
    if found is None:
        return None
    place = session.row(
        "SELECT attrelid::bigint AS relation, attnum AS number FROM pg_type AS t"
        " JOIN pg_attribute AS a ON a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped"
        " WHERE t.oid = %s AND a.attname = %s",
        (found.objid, named.part),
    )
    return Address("pg_class", place["relation"], place["number"]) if place else None


def _identity(session: Session, named: Named) -> Address | None:
    """Find the sequence of an identity column: it is what goes with the identity."""
    column = _column(session, named)
    if column is None:
        return None
    oid = session.value(
        "SELECT objid::bigint FROM pg_depend WHERE classid = 'pg_class'::regclass AND deptype = 'i'"
        " AND refclassid = 'pg_class'::regclass AND refobjid = %s AND refobjsubid = %s"
        " AND objid IN (SELECT seqrelid FROM pg_sequence)",
        (column.objid, column.subid),
    )
    return None if oid is None else Address("pg_class", oid)


def _domain_constraint(session: Session, named: Named) -> Address | None:
    domain = _type(session, Named("domain", named.name))
    if domain is None:
        return None
    oid = session.value(
        "SELECT oid::bigint FROM pg_constraint WHERE contypid = %s AND conname = %s", (domain.objid, named.part)
    )
    return None if oid is None else Address("pg_constraint", oid)


def _schema(session: Session, named: Named) -> Address | None:
    oid = session.value("SELECT oid::bigint FROM pg_namespace WHERE nspname = %s", (named.name[0],))
    return None if oid is None else Address("pg_namespace", oid)


_PART_OF = {
    "constraint": "SELECT oid::bigint FROM pg_constraint WHERE conrelid = %s AND conname = %s AND contype <> 't'",
    "trigger": "SELECT oid::bigint FROM pg_trigger WHERE tgrelid = %s AND tgname = %s AND NOT tgisinternal",
    # What makes a view a view is no rule that could be dropped from it.
    "rule": "SELECT oid::bigint FROM pg_rewrite WHERE ev_class = %s AND rulename = %s AND rulename <> '_RETURN'",
    "policy": "SELECT oid::bigint FROM pg_policy WHERE polrelid = %s AND polname = %s",
}


def _part(session: Session, named: Named) -> Address | None:
    table = relation(session, named.name)
    oid = None if table is None else session.value(_PART_OF[named.kind], (table, named.part))
    catalog = "pg_rewrite" if named.kind == "rule" else f"pg_{named.kind}"
    return None if oid is None else Address(catalog, oid)


def _statistics(session: Session, named: Named) -> Address | None:
    oid = session.value(
        "SELECT s.oid::bigint FROM pg_statistic_ext AS s JOIN pg_namespace AS n ON n.oid = s.stxnamespace"
        " WHERE s.stxname = %s AND n.nspname::text = ANY (%s)"
        " ORDER BY array_position(%s, n.nspname::text) LIMIT 1",
        (named.name[-1], *_schemas(session, named.name)),
    )
    return None if oid is None else Address("pg_statistic_ext", oid)


#: Every routine of a name; of those with the same arguments only the one that stands first in the search_path.
_ROUTINES = """
SELECT DISTINCT ON (p.proargtypes::text) p.oid::bigint, p.oid::regprocedure::text AS name, p.prokind::text AS kind,
       p.proargtypes::text AS arguments,
       CASE WHEN p.prokind = 'p' THEN array_to_string(p.proallargtypes, ' ') END AS all_arguments
  FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace
 WHERE p.proname = %s AND n.nspname::text = ANY (%s)
 ORDER BY p.proargtypes::text, array_position(%s, n.nspname::text)
"""


def _routine(session: Session, named: Named) -> Address | None:
    found = session.rows(_ROUTINES, (named.name[-1], *_schemas(session, named.name)))
    if named.arguments is None:
        # As the server has it: without arguments DROP FUNCTION does not mean procedures, nor the other way round.
        meant = [row for row in found if named.kind == "routine" or (row["kind"] == "p") == (named.kind == "procedure")]
    else:
        wanted = _types(session, named.arguments)
        every = None if named.all_arguments is None else _types(session, named.all_arguments)
        meant = [r for r in found if r["arguments"] == wanted or (every is not None and r["all_arguments"] == every)]
    if len(meant) > 1:
        candidates = ", ".join(sorted(row["name"] for row in meant))
        raise PlanRefused(f"{named} may be any of {candidates}; write the types of its arguments")
    return Address("pg_proc", meant[0]["oid"]) if meant else None


def _types(session: Session, arguments: Sequence[ArgumentType]) -> str | None:
    """Return the OIDs of some types as pg_proc writes them, or None if one does not exist."""
    found = [_argument(session, argument) for argument in arguments]
    return " ".join(str(oid) for oid in found) if None not in found else None


def _argument(session: Session, argument: ArgumentType) -> int | None:
    schemas = list(argument.name[:-1]) or ["pg_catalog", *session.schemas]
    oid: int | None = session.value(
        "SELECT (CASE WHEN %s THEN t.typarray ELSE t.oid END)::bigint"
        " FROM pg_type AS t JOIN pg_namespace AS n ON n.oid = t.typnamespace"
        " WHERE t.typname = %s AND n.nspname::text = ANY (%s)"
        " ORDER BY array_position(%s, n.nspname::text) LIMIT 1",
        (argument.array, argument.name[-1], schemas, schemas),
    )
    return oid


_BY_KIND: Final[Mapping[str, Callable[[Session, Named], Address | None]]] = {
    "table": _in_pg_class,
    "index": _in_pg_class,
    "materialized view": _in_pg_class,
    "sequence": _in_pg_class,
    "type": _type,
    "domain": _type,
    "schema": _schema,
    "column": _column,
    "attribute": _attribute,
    "identity": _identity,
    "domain constraint": _domain_constraint,
    "view": _in_pg_class,
    "statistics": _statistics,
    **dict.fromkeys(("function", "procedure", "routine", "aggregate"), _routine),
    **dict.fromkeys(_PART_OF, _part),
}


def _schemas(session: Session, name: QualifiedName) -> tuple[list[str], list[str]]:
    schemas = [name[0]] if len(name) > 1 else list(session.schemas)
    return schemas, schemas
