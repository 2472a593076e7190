"""What can be changed about a column without its values: default, NOT NULL, settings."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Final

from ledger.errors import PlanRefused
from ledger.model import Json
from worker.objects import family, partition_columns
from worker.objects.aspect import Aspect, one_row
from worker.objects.column_options import OPTIONS
from worker.objects.keeping import GONE, Address, Permits, quoted, validating
from worker.objects.positions import sequence, sequence_permits
from worker.objects.sequence import identity_of_partitions
from worker.objects.subject import Subject, subject
from worker.target import Session


def default(session: Session, of: Subject, _detail: str) -> Iterator[str]:
    """Return the statement that gives a column the default that it has, or none."""
    for address, alter, wrap in _places(session, of):
        expression = session.value(
            "SELECT pg_get_expr(adbin, adrelid) FROM pg_attrdef WHERE adrelid = %s AND adnum = %s",
            (address.objid, address.subid),
        )
        yield wrap(f"{alter} {'DROP DEFAULT' if expression is None else f'SET DEFAULT {expression}'}")


def _default_permits(session: Session, of: Subject, _detail: str) -> Permits:
    permits: dict[Address, frozenset[str]] = {}
    for address in family.columns(session, of.address):
        found = session.rows(
            "SELECT oid::bigint FROM pg_attrdef WHERE adrelid = %s AND adnum = %s", (address.objid, address.subid)
        )
        permits |= {Address("pg_attrdef", row["oid"]): GONE for row in found}
        permits[address] = frozenset({"atthasdef"})
    return permits


_NOT_NULL = """
SELECT a.attnotnull AS set, con.oid::bigint AS constraint, con.conname AS name, con.convalidated AS validated,
       con.connoinherit AS alone
  FROM pg_attribute AS a
  LEFT JOIN pg_constraint AS con ON con.conrelid = a.attrelid AND con.contype = 'n' AND con.conkey = ARRAY[a.attnum]
 WHERE a.attrelid = %s AND a.attnum = %s
"""


def _not_null(session: Session, of: Subject, _detail: str) -> Iterator[str]:
    found = one_row(session, _NOT_NULL, of.address.objid, of.address.subid)
    yield f"{_column(of)} DROP NOT NULL"
    if found["name"] is not None:
        how = " NO INHERIT" if found["alone"] else ""
        name = quoted(found["name"])
        yield f"ALTER TABLE {of.table} ADD CONSTRAINT {name} NOT NULL {quoted(of.name)}{how} NOT VALID"
    elif found["set"]:
        yield f"{_column(of)} SET NOT NULL"
    else:
        yield from partition_columns.not_null(session, of.address)


def _not_null_facts(session: Session, of: Subject, detail: str, line: int) -> dict[str, Json]:
    """Refuse what would not come back: NOT NULL that partitions call by another name than their table."""
    found = one_row(session, _NOT_NULL, of.address.objid, of.address.subid)
    for part in () if found["constraint"] is None else family.constraints(session, found["constraint"]):
        if part["name"] != part["whole"] and not part["local"]:
            raise PlanRefused(
                f"NOT NULL of {of.identity} is called {part['name']} in partition {part['schema']}.{part['table']}, and"
                " no statement gives it that name again; it is left alone",
                line=line,
            )
    return _facts(session, of, detail, line)


def _not_null_finish(session: Session, of: Subject) -> Iterator[str]:
    found = one_row(session, _NOT_NULL, of.address.objid, of.address.subid)
    if found["name"] is not None and found["validated"]:
        yield validating(of.address.objid, found["name"])


def _not_null_permits(session: Session, of: Subject, _detail: str) -> Permits:
    permits: dict[Address, frozenset[str]] = {}
    for address in family.columns(session, of.address):
        found = one_row(session, _NOT_NULL, address.objid, address.subid)
        if found["constraint"] is not None:
            permits[Address("pg_constraint", found["constraint"])] = GONE
        permits[address] = frozenset({"attnotnull"})
    return permits


_SETTINGS = f"""
SELECT a.attstorage::text AS storage, a.attcompression::text AS compression, {OPTIONS} AS options,
       a.attstattarget AS statistics
  FROM pg_attribute AS a WHERE a.attrelid = %s AND a.attnum = %s
"""
_STORAGE: Final = {"p": "PLAIN", "e": "EXTERNAL", "m": "MAIN", "x": "EXTENDED"}
_COMPRESSION: Final = {"p": "pglz", "l": "lz4", "": "DEFAULT"}


def settings(session: Session, of: Subject, options: str) -> Iterator[str]:
    """Return the statements that give a column the storage, compression and statistics target that it has."""
    for address, alter, wrap in _places(session, of):
        found = one_row(session, _SETTINGS, address.objid, address.subid)
        statistics = found["statistics"]
        yield wrap(f"{alter} SET STATISTICS {-1 if statistics is None else statistics}")
        if options:
            yield wrap(f"{alter} RESET ({options})")
        if found["options"]:
            yield wrap(f"{alter} SET ({', '.join(found['options'])})")
        yield wrap(f"{alter} SET STORAGE {_STORAGE[found['storage']]}")
        yield wrap(f"{alter} SET COMPRESSION {_COMPRESSION[found['compression']]}")


def _settings_permits(session: Session, of: Subject, _detail: str) -> Permits:
    columns = list(family.columns(session, of.address))
    # Indexes over the column store its values in the same way.
    indexes = session.rows(
        "SELECT a.attrelid::bigint AS index, a.attnum AS number FROM pg_index AS i"
        " JOIN pg_attribute AS a ON a.attrelid = i.indexrelid WHERE i.indrelid = ANY (%s::oid[])",
        ([address.objid for address in columns],),
    )
    also = {Address("pg_class", r["index"], r["number"]): frozenset({"attstorage", "attcompression"}) for r in indexes}
    changed = frozenset({"attstattarget", "attoptions", "attstorage", "attcompression"})
    return {**also, **dict.fromkeys(columns, changed)}


_IDENTITY = """
SELECT a.attidentity::text AS kind, (
           SELECT d.objid::bigint FROM pg_depend AS d JOIN pg_sequence AS s ON s.seqrelid = d.objid
            WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.deptype = 'i'
              AND d.refobjid = a.attrelid AND d.refobjsubid = a.attnum) AS sequence
  FROM pg_attribute AS a WHERE a.attrelid = %s AND a.attnum = %s
"""
_GENERATED: Final = {"a": "ALWAYS", "d": "BY DEFAULT"}


def _identity(session: Session, of: Subject, _detail: str) -> Iterator[str]:
    """Return what gives a column the kind of identity that it has; one that is added goes again as what it made."""
    found = one_row(session, _IDENTITY, of.address.objid, of.address.subid)
    if found["kind"]:
        yield f"{_column(of)} SET GENERATED {_GENERATED[found['kind']]}"
    if found["sequence"] is not None:
        yield from sequence(session, subject(session, Address("pg_class", found["sequence"])), "")


def _identity_permits(session: Session, of: Subject, _detail: str) -> Permits:
    found = one_row(session, _IDENTITY, of.address.objid, of.address.subid)
    numbers = {} if found["sequence"] is None else sequence_permits(Address("pg_class", found["sequence"]))
    return {**numbers, **identity_of_partitions(session, of.address)}


def _places(session: Session, of: Subject) -> Iterator[tuple[Address, str, Callable[[str], str]]]:
    """Return where a column stands, how ALTER names it there alone, and what is made of a statement about it.

    In partitions it stands too, and may be otherwise.
    """
    whole, *parts = family.members(session, of.address.objid, of.address.subid)
    place = family.alone(of.table, partitioned=whole["partitioned"])
    yield of.address, f"ALTER TABLE {place} ALTER COLUMN {quoted(of.name)}", str
    for part in parts:
        name = family.label(part)
        place = family.alone(name, partitioned=part["partitioned"])
        address = Address("pg_class", part["oid"], part["number"])
        yield address, f"ALTER TABLE {place} ALTER COLUMN {quoted(of.name)}", partial(family.if_still_there, name)


def _partitions(session: Session, of: Subject) -> frozenset[int]:
    return frozenset(part["oid"] for part in family.partitions(session, of.address.objid))


def _facts(session: Session, of: Subject, _detail: str, _line: int) -> dict[str, Json]:
    """Write down which tables may be gone by the time of a recovery: partitions come and go by themselves."""
    return {"partitions": [*sorted(_partitions(session, of))]}


def _column(of: Subject) -> str:
    return f"ALTER TABLE {of.table} ALTER COLUMN {quoted(of.name)}"


ASPECTS: Final[Mapping[str, Aspect]] = {
    "default": Aspect(default, _default_permits, around=_partitions, facts=_facts),
    "not null": Aspect(_not_null, _not_null_permits, _not_null_finish, around=_partitions, facts=_not_null_facts),
    "identity": Aspect(_identity, _identity_permits),
    "column settings": Aspect(settings, _settings_permits, around=_partitions, facts=_facts),
}
