"""What can be changed about a table as a whole, its triggers, rules and constraints, types and sequences."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from ledger.model import Json
from worker.objects import family
from worker.objects.altered_names import comment
from worker.objects.aspect import Aspect, one_row
from worker.objects.column import rewritten
from worker.objects.keeping import GONE, Address, Permits, literal, merge, quoted
from worker.objects.positions import sequence, sequence_permits
from worker.objects.subject import Subject
from worker.target import Row, Session

_CLASS = """
SELECT relrowsecurity AS secured, relforcerowsecurity AS forced, reloptions AS options, relreplident::text AS identity,
       (SELECT c.relname FROM pg_index JOIN pg_class AS c ON c.oid = indexrelid
         WHERE indrelid = t.oid AND indisreplident) AS identity_index,
       (SELECT c.relname FROM pg_index JOIN pg_class AS c ON c.oid = indexrelid
         WHERE indrelid = t.oid AND indisclustered) AS clustered
  FROM pg_class AS t WHERE oid = %s
"""


def _row_security(session: Session, of: Subject, _detail: str) -> Iterator[str]:
    found = one_row(session, _CLASS, of.address.objid)
    yield f"ALTER TABLE {of.table} {'ENABLE' if found['secured'] else 'DISABLE'} ROW LEVEL SECURITY"
    yield f"ALTER TABLE {of.table} {'' if found['forced'] else 'NO '}FORCE ROW LEVEL SECURITY"


def _options(session: Session, of: Subject, names: str) -> Iterator[str]:
    found = one_row(session, _CLASS, of.address.objid)
    alter = f"ALTER {of.word} {of.identity}"
    yield f"{alter} RESET ({names})"
    if found["options"]:
        yield f"{alter} SET ({', '.join(found['options'])})"


def _identity(session: Session, of: Subject, _detail: str) -> Iterator[str]:
    found = one_row(session, _CLASS, of.address.objid)
    how = {"d": "DEFAULT", "n": "NOTHING", "f": "FULL"}.get(found["identity"])
    how = how or f"USING INDEX {quoted(found['identity_index'])}"
    yield f"ALTER TABLE {of.table} REPLICA IDENTITY {how}"


def _cluster(session: Session, of: Subject, _detail: str) -> Iterator[str]:
    found = one_row(session, _CLASS, of.address.objid)
    index = found["clustered"]
    yield f"ALTER TABLE {of.table} {'SET WITHOUT CLUSTER' if index is None else f'CLUSTER ON {quoted(index)}'}"


def _index_permits(column: str, *own: str) -> Callable[[Session, Subject, str], Permits]:
    def permits(session: Session, of: Subject, _detail: str) -> Permits:
        indexes = session.rows("SELECT indexrelid::bigint FROM pg_index WHERE indrelid = %s", (of.address.objid,))
        also = {Address("pg_class", row["indexrelid"]): frozenset({column}) for row in indexes}
        return {**also, of.address: frozenset(own)} if own else also

    return permits


def _class_permits(*columns: str) -> Callable[[Session, Subject, str], Permits]:
    def permits(_session: Session, of: Subject, _detail: str) -> Permits:
        return {of.address: frozenset(columns)}

    return permits


def _options_permits(session: Session, of: Subject, _detail: str) -> Permits:
    toast = session.value("SELECT nullif(reltoastrelid, 0)::bigint FROM pg_class WHERE oid = %s", (of.address.objid,))
    also = {} if toast is None else {Address("pg_class", toast): frozenset({"reloptions"})}
    return {**also, of.address: frozenset({"reloptions"})}


_STATES: Final = {"O": "ENABLE", "D": "DISABLE", "R": "ENABLE REPLICA", "A": "ENABLE ALWAYS"}
#: A trigger of a partitioned table is one of each partition, too, each with a state of its own.
_FIRING = """
WITH RECURSIVE triggers AS (
    SELECT t.*, 0 AS depth FROM pg_trigger AS t WHERE NOT tgisinternal AND (oid = %(trigger)s OR tgrelid = %(table)s)
    UNION
    SELECT t.*, depth + 1 FROM triggers AS whole JOIN pg_trigger AS t ON t.tgparentid = whole.oid
)
SELECT 'pg_trigger' AS catalog, t.oid::bigint, 'TRIGGER ' || quote_ident(tgname) AS what, tgenabled::text AS state,
       format('%%I.%%I', n.nspname, c.relname) AS "table", c.relkind = 'p' AS partitioned, depth, c.oid::bigint AS home
  FROM triggers AS t JOIN pg_class AS c ON c.oid = tgrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace
UNION ALL
SELECT 'pg_rewrite', w.oid::bigint, 'RULE ' || quote_ident(rulename), ev_enabled::text,
       format('%%I.%%I', n.nspname, c.relname), c.relkind = 'p', 0, c.oid::bigint
  FROM pg_rewrite AS w JOIN pg_class AS c ON c.oid = ev_class JOIN pg_namespace AS n ON n.oid = c.relnamespace
 WHERE w.oid = %(rule)s
 ORDER BY depth, home, what
"""


def _fires(session: Session, of: Subject) -> list[Row]:
    address = of.address
    catalogs = {"trigger": "pg_trigger", "rule": "pg_rewrite", "table": "pg_class"}
    return session.rows(
        _FIRING, {key: address.objid if address.catalog == catalog else 0 for key, catalog in catalogs.items()}
    )


def _firing(session: Session, of: Subject, _detail: str) -> Iterator[str]:
    for row in _fires(session, of):
        place = family.alone(row["table"], partitioned=row["partitioned"])
        statement = f"ALTER TABLE {place} {_STATES[row['state']]} {row['what']}"
        yield family.if_still_there(row["table"], statement) if row["depth"] else statement


def _firing_around(session: Session, of: Subject) -> frozenset[int]:
    return frozenset(row["home"] for row in _fires(session, of))


def _firing_facts(session: Session, of: Subject, _detail: str, _line: int) -> dict[str, Json]:
    """Write down which of the tables that are locked may be gone by the time of a recovery."""
    parts = [row["home"] for row in _fires(session, of) if row["depth"]]
    return {"partitions": [*sorted(set(parts))]} if parts else {}


def _firing_permits(session: Session, of: Subject, _detail: str) -> Permits:
    changed = frozenset({"tgenabled", "ev_enabled"})
    return {Address(row["catalog"], row["oid"]): changed for row in _fires(session, of)}


def _validation(session: Session, of: Subject, _detail: str) -> Iterator[str]:
    found = one_row(
        session,
        "SELECT convalidated AS validated, pg_get_constraintdef(oid) AS definition FROM pg_constraint WHERE oid = %s",
        of.address.objid,
    )
    if not found["validated"]:
        yield f"ALTER TABLE {of.table} DROP CONSTRAINT {quoted(of.name)}"
        yield f"ALTER TABLE {of.table} ADD CONSTRAINT {quoted(of.name)} {found['definition']}"
        yield from comment(session, of, "")


def _validation_permits(session: Session, of: Subject, _detail: str) -> Permits:
    triggers = session.rows("SELECT oid::bigint FROM pg_trigger WHERE tgconstraint = %s", (of.address.objid,))
    return {**{Address("pg_trigger", row["oid"]): GONE for row in triggers}, of.address: GONE}


def _label(_session: Session, of: Subject, renamed: str) -> Iterator[str]:
    was, now = json.loads(renamed)
    yield f"ALTER TYPE {of.identity} RENAME VALUE {literal(now)} TO {literal(was)}"


def _label_permits(_session: Session, of: Subject, _detail: str) -> Permits:
    return {of.address: frozenset({"enumlabel"})}


def _sequence_permits(_session: Session, of: Subject, _detail: str) -> Permits:
    return sequence_permits(of.address)


_PERSISTENCE = """
SELECT c.oid::bigint, format('%%I.%%I', n.nspname, c.relname) AS name, c.relkind::text AS kind,
       CASE c.relpersistence WHEN 'u' THEN 'UNLOGGED' ELSE 'LOGGED' END AS how
  FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
 WHERE c.oid = %(table)s OR c.oid IN (SELECT indexrelid FROM pg_index WHERE indrelid = %(table)s)
    OR c.relkind = 'S' AND c.oid IN (SELECT objid FROM pg_depend WHERE classid = 'pg_class'::regclass
        AND refclassid = 'pg_class'::regclass AND refobjid = %(table)s AND deptype IN ('a', 'i'))
 ORDER BY c.relkind = 'S', c.oid
"""


def _persistence(session: Session, of: Subject, _detail: str) -> Iterator[str]:
    """Return what makes a table logged or unlogged as it is; its sequences follow it, unless they were otherwise."""
    found = session.rows(_PERSISTENCE, {"table": of.address.objid})
    (own,) = (row["how"] for row in found if row["oid"] == of.address.objid)
    yield f"ALTER {of.word} {of.identity} SET {own}"
    others = (row for row in found if row["kind"] == "S" and row["how"] != own)
    yield from (f"ALTER SEQUENCE {row['name']} SET {row['how']}" for row in others)


def _persistence_permits(session: Session, of: Subject, _detail: str) -> Permits:
    found = session.rows(_PERSISTENCE, {"table": of.address.objid})
    files = {Address("pg_class", row["oid"]): frozenset({"relpersistence", "relfilenode"}) for row in found}
    return merge([rewritten(session, of.address.objid), files])


def _target(session: Session, of: Subject, _detail: str) -> Iterator[str]:
    found = one_row(session, "SELECT stxstattarget AS target FROM pg_statistic_ext WHERE oid = %s", of.address.objid)
    yield f"ALTER STATISTICS {of.identity} SET STATISTICS {-1 if found['target'] is None else found['target']}"


_DEFERRED = """
WITH RECURSIVE pieces AS (
    SELECT %(constraint)s::oid AS oid
    UNION
    SELECT con.oid FROM pieces JOIN pg_constraint AS con ON con.conparentid = pieces.oid
)
SELECT 'pg_constraint' AS catalog, oid::bigint FROM pieces
UNION ALL
SELECT 'pg_trigger', t.oid FROM pieces JOIN pg_trigger AS t ON t.tgconstraint = pieces.oid
"""


def _deferrability(session: Session, of: Subject, _detail: str) -> Iterator[str]:
    found = one_row(
        session,
        "SELECT condeferrable AS deferrable, condeferred AS deferred FROM pg_constraint WHERE oid = %s",
        of.address.objid,
    )
    how = "DEFERRABLE" if found["deferrable"] else "NOT DEFERRABLE"
    how += " INITIALLY DEFERRED" if found["deferred"] else " INITIALLY IMMEDIATE"
    yield f"ALTER TABLE {of.table} ALTER CONSTRAINT {quoted(of.name)} {how}"


def _deferrability_permits(session: Session, of: Subject, _detail: str) -> Permits:
    changed = frozenset({"condeferrable", "condeferred", "tgdeferrable", "tginitdeferred"})
    rows = session.rows(_DEFERRED, {"constraint": of.address.objid})
    return {Address(row["catalog"], row["oid"]): changed for row in rows}


ASPECTS: Final[Mapping[str, Aspect]] = {
    "row security": Aspect(_row_security, _class_permits("relrowsecurity", "relforcerowsecurity")),
    "storage options": Aspect(_options, _options_permits),
    "replica identity": Aspect(_identity, _index_permits("indisreplident", "relreplident")),
    "cluster": Aspect(_cluster, _index_permits("indisclustered")),
    "firing": Aspect(_firing, _firing_permits, around=_firing_around, facts=_firing_facts),
    "firing of all": Aspect(_firing, _firing_permits, around=_firing_around, facts=_firing_facts),
    "label": Aspect(_label, _label_permits),
    "sequence": Aspect(sequence, _sequence_permits, locks=False),
    "persistence": Aspect(_persistence, _persistence_permits),
    "statistics target": Aspect(_target, _class_permits("stxstattarget"), locks=False),
    "deferrability": Aspect(_deferrability, _deferrability_permits),
    "validation": Aspect(_validation, _validation_permits),
}
