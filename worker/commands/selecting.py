"""A selective recovery: rows of moved tables that are not wanted stay in quarantine, parted from those that go back.

It happens in the transaction of apply before its first lock, where nobody else has business, so that it does not block
however many rows there are. The condition is run as the owner of the table, like a statement of a plan; that it did
nothing but look is the proof's to see.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ledger.errors import Conflict
from ledger.model import Json
from worker.objects import column
from worker.objects.keeping import Action, Address, Item, Keeping, Permits, cut, quoted
from worker.plan.selection import check_condition
from worker.registry import Kept
from worker.target import Session
from worker.work import Change


@dataclass(frozen=True)
class Parted:
    """A table of which some rows come back."""

    kept: Kept
    condition: str
    owner: str
    #: Plain name of the table, which the condition may use.
    name: str
    #: Columns that hold values of their own.
    stored: tuple[str, ...]
    #: Schema in quarantine for the rows that stay, of the recovery's run.
    aside: str

    @property
    def inside(self) -> str:
        """The table where it is kept, qualified and quoted."""
        return quoted(self.kept.quarantine or "", self.name)

    @property
    def relation(self) -> str:
        """Plain name of the table for the rows that stay."""
        return cut(self.name, f"_left_{self.kept.address.objid}")

    @property
    def left(self) -> str:
        """The table for the rows that stay, qualified and quoted."""
        return quoted(self.aside, self.relation)

    @property
    def item(self) -> Item:
        """What the impact says of the rows that stay."""
        because = f"rows that do not meet: {self.condition}"
        return Item(self.kept.address, "rows", self.kept.name, because, Action.COPIED, relation=self.kept.address.objid)


_TABLE = """
SELECT pg_get_userbyid(c.relowner)::text AS owner, c.relname AS name, c.relkind::text AS kind,
       ARRAY(SELECT attname::text FROM pg_attribute
              WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped AND attgenerated = ''
              ORDER BY attnum) AS stored
  FROM pg_class AS c WHERE c.oid = %s
"""


def part(session: Session, kept: Sequence[Kept], conditions: Mapping[str, str], aside: str) -> tuple[Parted, ...]:
    """Find the tables that conditions are about.

    Args:
        session: In the target.
        kept: What comes back.
        conditions: By table, as somebody has written it.
        aside: Schema for rows that stay.

    Raises:
        PlanRefused: A condition is not one expression.
        Conflict: A condition is about no table that comes back, or not one whose rows can be chosen.
    """
    return tuple(_part(session, kept, table, condition, aside) for table, condition in conditions.items())


def _part(session: Session, kept: Sequence[Kept], table: str, condition: str, aside: str) -> Parted:
    moved = [k for k in kept if k.how == "moved" and k.kind == "table"]
    named = [k for k in moved if k.name == table or k.name.rsplit(".", 1)[-1] == table]
    if len(named) != 1:
        known = ", ".join(k.name for k in moved) or "none"
        raise Conflict(
            f"the condition on {table} is about no table that comes back whole: {known}; name one of them, with its"
            " schema"
        )
    found = session.row(_TABLE, (named[0].address.objid,))
    assert found is not None  # noqa: S101 - that it is there was looked at before
    if found["kind"] != "r":
        raise Conflict(f"{named[0].name} has partitions: give conditions on these, one by one")
    if column.firing(session, named[0].address.objid) != ((), ()):
        raise Conflict(
            f"rows of {named[0].name} cannot be chosen: its policies bind its owner too, or a publication needs what"
            " its rows are told apart by; recover it whole"
        )
    checked = check_condition(table, condition)
    return Parted(named[0], checked, found["owner"], found["name"], tuple(found["stored"]), aside)


def groundwork(parted: Sequence[Parted]) -> tuple[Change, ...]:
    """Return what parts the rows, before the locks, once there is a schema for those that stay."""
    return tuple(change for each in parted for change in _changes(each))


def _changes(parted: Parted) -> tuple[Change, ...]:
    schema, owner = quoted(parted.kept.quarantine or ""), quoted(parted.owner)
    staying = quoted("pg_temp", f"stepback stay {parted.kept.address.objid}")
    looked = (
        f"CREATE TEMPORARY TABLE {quoted(f'stepback stay {parted.kept.address.objid}')} ON COMMIT DROP AS"
        f" SELECT {quoted(parted.name)}.ctid AS place FROM ONLY {parted.inside} AS {quoted(parted.name)}"
        f" WHERE ({parted.condition}) IS NOT TRUE"
    )
    # What goes and what stays are one statement: together they are all there was.
    split = (
        f"WITH gone AS (DELETE FROM ONLY {parted.inside} AS now USING {staying} AS stay WHERE now.ctid = stay.place"
        f" RETURNING now.*) INSERT INTO {parted.left} SELECT * FROM gone"
    )
    name = f"{parted.kept.kind} {parted.kept.name}"
    return (
        Change(f"let {parted.owner} look at {name}", (f"GRANT USAGE ON SCHEMA {schema} TO {owner}",)),
        Change(f"choose rows of {name}", (looked,), owner=parted.owner),
        Change(
            f"part rows of {name}",
            (
                f"CREATE TABLE {parted.left} AS SELECT * FROM ONLY {parted.inside} LIMIT 0",
                split,
                f"REVOKE USAGE ON SCHEMA {schema} FROM {owner}",
            ),
        ),
    )


def permits(session: Session, parted: Sequence[Parted]) -> Permits:
    """Return the catalog rows that change: who may use the schemas where the tables were."""
    names = [each.kept.quarantine for each in parted]
    found = session.rows("SELECT oid::bigint FROM pg_namespace WHERE nspname = ANY (%s)", (names,))
    return {Address("pg_namespace", row["oid"]): frozenset({"nspacl"}) for row in found}


def keepings(parted: Sequence[Parted]) -> list[Keeping]:
    """Say how the rows that stay are kept: the recovery's own run can be recovered, which brings them."""
    return [_keeping(each) for each in parted]


def _keeping(parted: Parted) -> Keeping:
    table, listed = parted.kept.name, ", ".join(quoted(name) for name in parted.stored)
    return Keeping(
        parted.item,
        remove=(),
        restore=(f"INSERT INTO {table} ({listed}) OVERRIDING SYSTEM VALUE SELECT {listed} FROM {parted.left}",),
        locks=frozenset({parted.kept.address.objid}),
        quarantine=parted.aside,
        relation=parted.relation,
        facts={"brings_values": True, "table": table},
    )


def figures(session: Session, parted: Sequence[Parted]) -> list[Json]:
    """Count what comes back and what stays, while the rows are still in quarantine."""
    return [
        {
            "table": each.kept.name,
            "condition": each.condition,
            "recovered": session.value(f"SELECT count(*) FROM ONLY {each.inside}"),
            "left": session.value(f"SELECT count(*) FROM {each.left}"),
        }
        for each in parted
    ]
