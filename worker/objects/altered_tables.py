"""What can be changed about a table as a whole, its triggers, rules and constraints, types and sequences."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from worker.objects.altered_names import comment
from worker.objects.aspect import Aspect, one_row
from worker.objects.keeping import GONE, Address, Permits, literal, quoted
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
_FIRING = """
SELECT 'pg_trigger' AS catalog, oid::bigint, 'TRIGGER ' || quote_ident(tgname) AS what, tgenabled::text AS state
  FROM pg_trigger WHERE NOT tgisinternal AND (oid = %(trigger)s OR tgrelid = %(table)s)
UNION ALL
SELECT 'pg_rewrite', oid::bigint, 'RULE ' || quote_ident(rulename), ev_enabled::text
  FROM pg_rewrite WHERE oid = %(rule)s
"""


def _fires(session: Session, of: Subject) -> list[Row]:
    address = of.address
    catalogs = {"trigger": "pg_trigger", "rule": "pg_rewrite", "table": "pg_class"}
    return session.rows(
        _FIRING, {key: address.objid if address.catalog == catalog else 0 for key, catalog in catalogs.items()}
    )


def _firing(session: Session, of: Subject, _detail: str) -> Iterator[str]:
    for row in _fires(session, of):
        yield f"ALTER TABLE {of.table} {_STATES[row['state']]} {row['what']}"


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


_SEQUENCE = """
SELECT format_type(seqtypid, NULL) AS type, seqstart AS start, seqincrement AS increment, seqmin AS min, seqmax AS max,
       seqcache AS cache, seqcycle AS cycles FROM pg_sequence WHERE seqrelid = %s
"""


def _sequence(session: Session, of: Subject, _detail: str) -> Iterator[str]:
    found = one_row(session, _SEQUENCE, of.address.objid)
    position = session.row(f"SELECT last_value, is_called FROM {of.table}")
    assert position is not None  # noqa: S101 - a sequence has one row
    yield (
        f"ALTER SEQUENCE {of.table} AS {found['type']} INCREMENT {found['increment']} MINVALUE {found['min']}"
        f" MAXVALUE {found['max']} START {found['start']} CACHE {found['cache']}"
        f" {'CYCLE' if found['cycles'] else 'NO CYCLE'}"
    )
    # If numbers were drawn since, none of them may be drawn again.
    further = "least" if found["increment"] < 0 else "greatest"
    was, called = position["last_value"], literal(str(position["is_called"]))
    yield (
        f"SELECT setval({literal(of.table)}, CASE WHEN is_called THEN {further}(last_value, {was}) ELSE {was} END,"
        f" is_called OR {called}) FROM {of.table}"
    )


def _sequence_permits(_session: Session, of: Subject, _detail: str) -> Permits:
    changed = {"seqtypid", "seqstart", "seqincrement", "seqmin", "seqmax", "seqcache", "seqcycle"}
    return {of.address: frozenset({"relfilenode", *changed})}


ASPECTS: Final[Mapping[str, Aspect]] = {
    "row security": Aspect(_row_security, _class_permits("relrowsecurity", "relforcerowsecurity")),
    "storage options": Aspect(_options, _options_permits),
    "replica identity": Aspect(_identity, _index_permits("indisreplident", "relreplident")),
    "cluster": Aspect(_cluster, _index_permits("indisclustered")),
    "firing": Aspect(_firing, _firing_permits),
    "firing of all": Aspect(_firing, _firing_permits),
    "label": Aspect(_label, _label_permits),
    "sequence": Aspect(_sequence, _sequence_permits, locks=False),
    "validation": Aspect(_validation, _validation_permits),
}
