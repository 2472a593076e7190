"""Rows that came back and refer to what is gone: set aside in quarantine, so that their foreign key can be validated.

After COMMIT, without a lock that readers or writers of other tables would notice: a foreign key that is NOT VALID holds
for every new row already, so what breaks it can only become less.
"""

from __future__ import annotations

import json
from typing import Any

from ledger.errors import StatementFailed
from worker import fence, registry
from worker.fence import Holder
from worker.objects import column
from worker.objects.keeping import Action, Address, Item, Keeping, quoted
from worker.target import Row, Session

_KEY = """
SELECT con.conname AS name, con.conrelid::bigint AS relation, n.nspname AS schema, c.relname AS table,
       con.confrelid::regclass::text AS parent, con.confmatchtype::text AS match,
       (pg_identify_object('pg_class'::regclass, con.conrelid, 0)).identity AS identity,
       ARRAY(SELECT attname::text FROM unnest(con.conkey) WITH ORDINALITY AS k (number, place)
               JOIN pg_attribute ON attrelid = con.conrelid AND attnum = number ORDER BY place) AS columns,
       ARRAY(SELECT attname::text FROM unnest(con.confkey) WITH ORDINALITY AS k (number, place)
               JOIN pg_attribute ON attrelid = con.confrelid AND attnum = number ORDER BY place) AS parents,
       ARRAY(SELECT attname::text FROM pg_attribute
              WHERE attrelid = con.conrelid AND attnum > 0 AND NOT attisdropped AND attgenerated = ''
              ORDER BY attnum) AS stored
  FROM pg_constraint AS con JOIN pg_class AS c ON c.oid = con.conrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace
 WHERE con.conrelid = %s AND con.conname = %s AND con.contype = 'f'
"""

#: Foreign keys to the table: rows that refer to one that is set aside would go with it, or stand in the way.
_REFERRING = """
SELECT con.conname AS name, con.conrelid::regclass::text AS table, con.conrelid = con.confrelid AS to_itself,
       ARRAY(SELECT attname::text FROM unnest(con.conkey) WITH ORDINALITY AS k (number, place)
               JOIN pg_attribute ON attrelid = con.conrelid AND attnum = number ORDER BY place) AS columns,
       ARRAY(SELECT attname::text FROM unnest(con.confkey) WITH ORDINALITY AS k (number, place)
               JOIN pg_attribute ON attrelid = con.confrelid AND attnum = number ORDER BY place) AS parents
  FROM pg_constraint AS con WHERE con.confrelid = %s AND con.contype = 'f' AND con.conparentid = 0
"""


def validate(session: Session, holder: Holder, argument: str) -> str | None:
    """Validate a foreign key of a table that came back; say what was set aside for it.

    Args:
        session: In the target, outside any transaction.
        holder: The attempt.
        argument: JSON with `statement`, `relation` (OID), `constraint`, `quarantine` (schema), `migration`.

    Raises:
        StepbackError: It stays NOT VALID: rows could not be set aside, or it is gone.
    """
    told = json.loads(argument)
    try:
        session.execute(told["statement"])
    except StatementFailed as error:
        if not error.of_rows:
            raise
        aside = _set_aside(session, holder, told)
    else:
        return None
    session.execute(told["statement"])
    return aside


def _set_aside(session: Session, holder: Holder, told: dict[str, Any]) -> str:
    key = session.row(_KEY, (told["relation"], told["constraint"]))
    if key is None:
        raise StatementFailed(f"{told['constraint']} is gone; somebody has dropped it since it came back")
    table, orphan = quoted(key["schema"], key["table"]), _orphan(key)
    schema = told["quarantine"]
    relation = f"orphans_{told['relation']}_{key['columns'][0]}"[:63]
    inside = quoted(schema, relation)
    with session.transaction():
        fence.stand_behind(session, holder)
        off, on = column.firing(session, told["relation"])
        for statement in off:
            session.execute(statement)
        _refuse_referred(session, key, table, orphan)
        session.execute(f"CREATE SCHEMA IF NOT EXISTS {quoted(schema)}")
        session.execute(f"CREATE TABLE {inside} AS SELECT * FROM {table} LIMIT 0")
        # What goes and what is kept are one statement: it cannot be more than that.
        count = session.execute(
            f"WITH gone AS (DELETE FROM {table} AS now WHERE {orphan} RETURNING now.*)"
            f" INSERT INTO {inside} SELECT * FROM gone"
        )
        for statement in on:
            session.execute(statement)
        registry.preserve_more(session, holder, told["migration"], _keeping(key, schema, relation, count))
        told_of = {"table": key["identity"], "rows": count, "key": key["name"], "in": inside}
        fence.add_result(session, holder, "set_aside", told_of)
    registry.count(session, holder, schema, relation)
    return f"{count:,} row(s) without a row in {key['parent']} set aside in {inside}"


def _orphan(key: Row) -> str:
    """Return the condition that a row breaks the foreign key, as MATCH says."""
    columns = [f"now.{quoted(name)}" for name in key["columns"]]
    same = " AND ".join(f"parent.{quoted(name)} = {own}" for name, own in zip(key["parents"], columns, strict=True))
    whole = " AND ".join(f"{own} IS NOT NULL" for own in columns)
    alone = f"{whole} AND NOT EXISTS (SELECT FROM {key['parent']} AS parent WHERE {same})"
    if key["match"] != "f":
        return alone
    some = " OR ".join(f"{own} IS NOT NULL" for own in columns)
    return f"({alone} OR ({some}) AND NOT ({whole}))"


def _refuse_referred(session: Session, key: Row, table: str, orphan: str) -> None:
    for other in session.rows(_REFERRING, (key["relation"],)):
        same = " AND ".join(
            f"referring.{quoted(own)} = now.{quoted(name)}"
            for own, name in zip(other["columns"], other["parents"], strict=True)
        )
        found = session.value(
            f"SELECT EXISTS (SELECT FROM {table} AS now JOIN {other['table']} AS referring ON {same} WHERE {orphan})"
        )
        if found:
            raise StatementFailed(
                f"{key['name']} stays NOT VALID: rows of {key['identity']} refer to nothing in {key['parent']}, and"
                f" rows of {other['table']} refer to them; decide what becomes of these, then validate the key"
            )


def _keeping(key: Row, schema: str, relation: str, count: int) -> Keeping:
    table, inside = quoted(key["schema"], key["table"]), quoted(schema, relation)
    listed = ", ".join(quoted(name) for name in key["stored"])
    because = f"{count} row(s) refer to nothing in {key['parent']}"
    item = Item(Address("pg_class", key["relation"]), "rows", key["identity"], because, Action.COPIED)
    return Keeping(
        item,
        remove=(),
        restore=(f"INSERT INTO {table} ({listed}) OVERRIDING SYSTEM VALUE SELECT {listed} FROM {inside}",),
        locks=frozenset({key["relation"]}),
        quarantine=schema,
        relation=relation,
        facts={"brings_values": True, "table": table},
    )
