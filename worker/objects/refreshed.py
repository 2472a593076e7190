"""A materialized view that is refreshed: its rows as they were are copied; the recovery refreshes it once more.

No statement writes chosen rows into a materialized view. So what it held is kept to be read, and what it holds after
the recovery is what its query says then, when the tables are as they were.
"""

from __future__ import annotations

from worker.objects.column import rewritten
from worker.objects.keeping import Action, Address, Item, Keeping, cut, literal, merge, quoted
from worker.objects.quarantine import Quarantine
from worker.target import Session

_VIEW = """
SELECT c.oid::regclass::text AS identity, n.nspname AS schema, c.relname AS name, c.relispopulated AS populated
  FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE c.oid = %s
"""


def keep(session: Session, address: Address, quarantine: Quarantine, line: int) -> Keeping:
    """Say how the rows of a materialized view are kept while it is refreshed."""
    found = session.row(_VIEW, (address.objid,))
    assert found is not None  # noqa: S101 - the caller resolved it in this transaction
    view = quoted(found["schema"], found["name"])
    relation = cut(found["name"], f"_{address.objid}_{line}")
    copied = found["populated"]
    inside = quoted(quarantine.copies, relation) if copied else ""
    return Keeping(
        Item(
            address,
            "materialized view",
            found["identity"],
            f"line {line} refreshes it",
            Action.COPIED if copied else Action.CHANGED,
            relation=address.objid,
        ),
        remove=(f"CREATE TABLE {inside} AS SELECT * FROM {view}",) if copied else (),
        restore=(),
        # After COMMIT, when all that it reads is back.
        finish=(_again(address.objid, "" if copied else " WITH NO DATA"),),
        locks=frozenset({address.objid}),
        permits=merge([rewritten(session, address.objid), {address: frozenset({"relispopulated"})}]),
        quarantine=quarantine.copies if copied else None,
        relation=relation if copied else None,
        facts={"changes": []},
    )


def _again(view: int, how: str) -> str:
    """Return the statement that refreshes a view, by its OID: if the rollback made it, another may have its name."""
    refresh = f"format('REFRESH MATERIALIZED VIEW %s{how}', {view}::regclass)"
    there = f"EXISTS (SELECT FROM pg_class WHERE oid = {view})"
    return f"DO {literal(f'BEGIN IF {there} THEN EXECUTE {refresh}; END IF; END')}"
