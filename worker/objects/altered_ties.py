"""What ties a table to others: the partition that it is, the parents that it inherits from, what hangs below it.

Which tie a statement makes or cuts shows once it has run; so what stood before is written down, and the recovery
compares. What came along with a tie (indexes and constraints of the parent's) is taken away after it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from ledger.errors import PlanRefused
from ledger.model import Json
from worker.objects import partition
from worker.objects.aspect import Aspect, nothing
from worker.objects.constraint import NOT_VALID_ON_PARTITIONED
from worker.objects.keeping import GONE, Address, Permits, merge, quoted
from worker.objects.subject import Subject, subject
from worker.target import Row, Session

#: Indexes and constraints that a partition shares with its parent: all of them, where DETACH leaves them behind.
_SHARED = """
SELECT 'pg_constraint' AS catalog, con.oid::bigint, con.conindid::bigint AS index,
       'ALTER TABLE ' || %(table)s || ' DROP CONSTRAINT ' || quote_ident(con.conname) AS gone
  FROM pg_constraint AS con JOIN pg_constraint AS up ON up.oid = con.conparentid
 WHERE con.conrelid = %(child)s AND con.contype IN ('p', 'u', 'x', 'f') AND up.conrelid <> con.conrelid
UNION ALL
SELECT 'pg_class', c.oid, 0, format('DROP INDEX %%I.%%I', n.nspname, c.relname)
  FROM pg_index AS x JOIN pg_class AS c ON c.oid = x.indexrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace
 WHERE x.indrelid = %(child)s AND EXISTS (SELECT FROM pg_inherits WHERE inhrelid = x.indexrelid)
   AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = x.indexrelid AND contype IN ('p', 'u', 'x'))
 ORDER BY 1 DESC, 2
"""

_OWN = """
SELECT oid::bigint FROM pg_constraint WHERE conrelid = %(child)s
UNION ALL
SELECT indexrelid FROM pg_index WHERE indrelid = %(child)s
"""

#: A foreign key of a partition may be its parent's or its own; its triggers come and go with that.
_FOREIGN_KEYS = """
SELECT oid::bigint, conname AS name, convalidated AS validated, confrelid::bigint AS referenced
  FROM pg_constraint WHERE conrelid = %(child)s AND contype = 'f'
"""
_TIED_KEY: Final = frozenset({"conparentid", "coninhcount", "conislocal", "pg_depend"})


def _partition_facts(session: Session, of: Subject, _detail: str, line: int) -> dict[str, Json]:
    child = of.address.objid
    tie = partition.tie(session, child)
    if tie is None:
        return {"attach": None, "keys": [], "had": [row["oid"] for row in session.rows(_OWN, {"child": child})]}
    partition.refuse_inexact(session, child, tie, line)
    own, _ = partition.own_triggers(session, child)
    keys = [row["name"] for row in session.rows(_FOREIGN_KEYS, {"child": child}) if row["validated"]]
    return {"attach": [partition.attach(tie), *own], "keys": keys, "had": []}


def _partition_back(session: Session, address: Address, facts: Mapping[str, Any]) -> Iterator[str]:
    of, tie = subject(session, address), partition.tie(session, address.objid)
    if facts["attach"] is not None and tie is None:
        yield from _validated(session, of, facts["keys"])
        yield from facts["attach"]
    elif facts["attach"] is None and tie is not None and _is_said(tie["parent_schema"], tie["parent"], facts):
        came = [row for row in _shared(session, of) if row["oid"] not in facts["had"]]
        yield partition.detach(tie)
        yield from (row["gone"] for row in came)


def _is_said(schema: str, name: str, facts: Mapping[str, Any]) -> bool:
    """Whether a table is the one that the plan said; ties that somebody else has made since are theirs."""
    said = json.loads(facts["detail"])
    return bool([schema, name][-len(said) :] == said)


def _validated(session: Session, of: Subject, keys: Sequence[str]) -> Iterator[str]:
    """Validate keys that came back with the partition: before 18 ATTACH would make another beside one that is not."""
    if session.server_version < NOT_VALID_ON_PARTITIONED:
        for row in session.rows(_FOREIGN_KEYS, {"child": of.address.objid}):
            if row["name"] in keys and not row["validated"]:
                yield f"ALTER TABLE {of.table} VALIDATE CONSTRAINT {quoted(row['name'])}"


def _shared(session: Session, of: Subject) -> list[Row]:
    return session.rows(_SHARED, {"child": of.address.objid, "table": of.table})


def _partition_permits(session: Session, of: Subject, parent: str) -> Permits:
    child = of.address.objid
    keys = [row["oid"] for row in session.rows(_FOREIGN_KEYS, {"child": child})]
    own = {Address("pg_constraint", oid): _TIED_KEY for oid in keys}
    _, triggers = partition.own_triggers(session, child)
    # What ATTACH brought goes again at recovery.
    came = [row for row in _shared(session, of) if parent]
    gone = {Address(row["catalog"], row["oid"]): GONE for row in came}
    gone.update({Address("pg_class", row["index"]): GONE for row in came if row["index"]})
    pieces = {at: gone for at, gone in partition.rows_of_keys(session, keys).items() if at not in own}
    return merge([partition.tied_rows(session, child), own, pieces, triggers, gone])


def _partition_around(session: Session, of: Subject) -> frozenset[int]:
    child = of.address.objid
    tie = partition.tie(session, child)
    own = set() if tie is None else {tie["parent_oid"], tie["default_oid"]} - {None}
    return frozenset(own | {row["referenced"] for row in session.rows(_FOREIGN_KEYS, {"child": child})})


_DEFAULT = "SELECT nullif(partdefid, 0)::bigint FROM pg_partitioned_table WHERE partrelid = %s"


def _family_around(session: Session, of: Subject) -> frozenset[int]:
    """Lock the default partition too: rows in it might belong to a new one."""
    default = session.value(_DEFAULT, (of.address.objid,))
    return frozenset() if default is None else frozenset({default})


def _family_permits(_session: Session, of: Subject, _detail: str) -> Permits:
    return {of.address: frozenset({"partdefid"})}


_PARENTS = """
SELECT p.oid::bigint, n.nspname AS schema, p.relname AS name,
       i.inhseqno = max(i.inhseqno) OVER () AS last
  FROM pg_inherits AS i JOIN pg_class AS p ON p.oid = i.inhparent JOIN pg_namespace AS n ON n.oid = p.relnamespace
 WHERE i.inhrelid = %s ORDER BY i.inhseqno
"""

#: What a child has from one parent alone becomes its own when it leaves, and no statement makes that good again.
_ONLY_FROM = """
SELECT 'column ' || quote_ident(a.attname) FROM pg_attribute AS a
  JOIN pg_attribute AS p ON p.attrelid = %(parent)s AND p.attname = a.attname AND p.attnum > 0 AND NOT p.attisdropped
 WHERE a.attrelid = %(child)s AND a.attnum > 0 AND NOT a.attislocal AND a.attinhcount = 1
UNION ALL
SELECT 'constraint ' || quote_ident(k.conname) FROM pg_constraint AS k
  JOIN pg_constraint AS p ON p.conrelid = %(parent)s AND p.contype = k.contype
       AND (p.conname = k.conname OR k.contype = 'n')
 WHERE k.conrelid = %(child)s AND k.contype IN ('c', 'n') AND NOT k.conislocal AND k.coninhcount = 1
UNION ALL
SELECT 'constraint ' || quote_ident(k.conname) || ', which is not validated,' FROM pg_constraint AS k
  JOIN pg_constraint AS p ON p.conrelid = %(parent)s AND p.contype = 'c' AND p.conname = k.conname
 WHERE k.conrelid = %(child)s AND NOT p.connoinherit AND NOT (p.convalidated AND k.convalidated)
 LIMIT 1
"""


def _parents_facts(session: Session, of: Subject, _detail: str, _line: int) -> dict[str, Json]:
    return {"parents": [quoted(row["schema"], row["name"]) for row in session.rows(_PARENTS, (of.address.objid,))]}


def _leaving_facts(session: Session, of: Subject, detail: str, line: int) -> dict[str, Json]:
    """Refuse to let a child go where it could not be given back to its parent exactly."""
    parents = session.rows(_PARENTS, (of.address.objid,))
    for parent in parents:
        reason = session.value(_ONLY_FROM, {"child": of.address.objid, "parent": parent["oid"]})
        if reason is not None:
            raise PlanRefused(
                f"{of.identity} has {reason} from its parent {parent['name']} alone, which would be its own then:"
                " no statement makes that good again; DROP the child, or leave it where it is",
                line=line,
            )
    if len(parents) > 1:
        raise PlanRefused(
            f"{of.identity} has several parents, and their order could not be made again; leave it where it is",
            line=line,
        )
    return _parents_facts(session, of, detail, line)


def _parents_back(session: Session, address: Address, facts: Mapping[str, Any]) -> Iterator[str]:
    of, rows = subject(session, address), session.rows(_PARENTS, (address.objid,))
    now = {quoted(row["schema"], row["name"]) for row in rows}
    said = {quoted(row["schema"], row["name"]) for row in rows if _is_said(row["schema"], row["name"], facts)}
    yield from (f"ALTER TABLE {of.table} NO INHERIT {name}" for name in sorted(said - set(facts["parents"])))
    yield from (f"ALTER TABLE {of.table} INHERIT {name}" for name in facts["parents"] if name not in now)


_INHERITED = """
SELECT 'pg_class' AS catalog, attrelid::bigint AS oid, attnum AS number, ARRAY['attinhcount', 'attislocal'] AS columns
  FROM pg_attribute WHERE attrelid = %(child)s AND attnum > 0 AND NOT attisdropped
UNION ALL
SELECT 'pg_constraint', oid, 0, ARRAY['coninhcount', 'conislocal'] FROM pg_constraint WHERE conrelid = %(child)s
UNION ALL
SELECT 'pg_class', %(child)s, 0, ARRAY['pg_inherits', 'pg_depend']
"""


def _parents_permits(session: Session, of: Subject, _detail: str) -> Permits:
    rows = session.rows(_INHERITED, {"child": of.address.objid})
    return {Address(row["catalog"], row["oid"], row["number"]): frozenset(row["columns"]) for row in rows}


def _parents_around(session: Session, of: Subject) -> frozenset[int]:
    return frozenset(row["oid"] for row in session.rows(_PARENTS, (of.address.objid,)))


ASPECTS: Final[Mapping[str, Aspect]] = {
    "partition": Aspect(
        nothing, _partition_permits, around=_partition_around, facts=_partition_facts, back=_partition_back
    ),
    "family": Aspect(nothing, _family_permits, around=_family_around),
    "parents": Aspect(nothing, _parents_permits, around=_parents_around, facts=_parents_facts, back=_parents_back),
    "leaving": Aspect(nothing, _parents_permits, around=_parents_around, facts=_leaving_facts, back=_parents_back),
}
