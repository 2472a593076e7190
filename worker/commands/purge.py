"""Purge: delete for good what a run keeps, object by object and never with CASCADE. The only thing that deletes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter

from ledger.errors import LockNotAvailable, NothingToPurge, StillNeeded
from ledger.model import Command, Kind, State
from ledger.subjects import Subject
from worker import fence, stock, tombstones
from worker.commands import Outcome
from worker.commands.backup_views import drop_views, show_next
from worker.commands.holds import refuse_what_is_held
from worker.commands.locks import locks_of
from worker.fence import Holder
from worker.objects.keeping import GONE, Action, Address, Item, Permits, merge, quoted
from worker.plan.impact import hash_of
from worker.stock import Stored, Ties
from worker.target import Row, Session
from worker.work import Change, FinishStep, Stage, Work

_RELATIONS = frozenset({"table", "materialized view", "sequence"})

_ROWS = """
SELECT id, kind, name, how, catalog, objid::bigint, objsubid, recovered_by, purged_by
  FROM emergency_backup.preserved_objects
 WHERE installation = %s AND run = %s ORDER BY ordinal
"""

#: Takes the rows, and finds them as they were looked at: a recovery of the same run may have come first.
_MARK = """
UPDATE emergency_backup.preserved_objects SET purged_by = %(by)s, purged_at = clock_timestamp()
 WHERE id = ANY (%(ids)s) AND purged_by IS NULL AND (recovered_by IS NULL) = (id = ANY (%(open)s))
"""


class Purge:
    """Prepares and records one purge."""

    def __init__(self, command: Command, holder: Holder, look: Callable[[int], Subject]) -> None:
        assert command.subject_run is not None  # noqa: S101 - the ledger's commands_subject_run_check
        self._subject = Holder(holder.installation, command.subject_run, 0)
        self._holder = holder
        #: Asks the ledger about the run; never under the locks.
        self._look = look
        #: What the list has of the run, and what its quarantine holds, in the order of deletion.
        self._rows: list[Row] = []
        self._stored: list[Stored] = []

    def prepare(self, session: Session) -> Work:
        """Look at what the run keeps, and say in which order it goes.

        Raises:
            NothingToPurge: The run keeps nothing, or nothing any more; the message says why.
            StillNeeded: Somebody needs it.
        """
        subject = self._look(self._subject.run)
        _refuse_unfinished(subject)
        rows = session.rows(_ROWS, (self._subject.installation, self._subject.run))
        self._rows = [row for row in rows if row["purged_by"] is None]
        schemas = stock.schemas_of(session, subject.run, subject.command_id)
        stored = stock.stored_by(session, self._subject.installation, subject.run, subject.command_id)
        given_up = [row for row in self._rows if row["recovered_by"] is None]
        if fence.look_up(session, self._subject) is None or not (stored or schemas or given_up):
            raise NothingToPurge(why_nothing(session, self._subject))
        tied = stock.ties(session, stored)
        refuse_what_is_held(session, self._subject, stored, tied, schemas)
        self._stored = _in_order(stored, tied)
        inside = [(row["schema"], row["name"]) for row in _named(session, self._stored)]
        hidden, hidden_permits = drop_views(session, inside)
        items = (
            *(_item(each, subject.run) for each in self._stored),
            *(_text(row, subject.run) for row in given_up if row["how"] not in {"moved", "copied"}),
        )
        return Work(
            items=items,
            impact_sha256=hash_of(items),
            plan_sha256=None,
            locks=locks_of(session, _modes(self._stored)),
            changes=(
                *hidden,
                *((Change("loosen ties", tied.loosen),) if tied.loosen else ()),
                *(Change(f"purge {each.label()}", (each.drop,)) for each in self._stored),
                *(Change(f"close {name}", (f"DROP SCHEMA {quoted(name)}",)) for name in schemas),
                *show_next(session, inside),
            ),
            permits=merge([dict.fromkeys(tied.parts, GONE), _schemas(session, schemas), hidden_permits]),
        )

    def outcome(self, session: Session, left: Mapping[str, str]) -> Outcome:
        """Say nothing here: tombstones say what was deleted, and none of it may be left out."""
        del session, left
        return Outcome()

    def registry_rows(self, session: Session) -> list[int]:
        """Return none: the migration stays as its rollback or recovery left it."""
        del session
        return []

    def record(self, session: Session, work: Work) -> None:
        """Write the tombstones, and that no recovery brings this back any more."""
        assert len(work.items) >= len(self._stored)  # noqa: S101 - one item each, and what is only text
        ids = [row["id"] for row in self._rows]
        still = [row["id"] for row in self._rows if row["recovered_by"] is None]
        if session.execute(_MARK, {"by": self._holder.run, "ids": ids, "open": still}) != len(ids):
            raise LockNotAvailable(f"what run {self._subject.run} keeps was recovered or purged meanwhile")
        tombstones.write(session, self._holder, self._subject.run, self._stored)

    def stage(self, session: Session, number: int) -> Stage:
        """Tell that there is none: everything is deleted in the first."""
        del session
        raise AssertionError(f"a purge has no stage {number}")

    def record_stage(self, session: Session, number: int, created: Sequence[Row]) -> tuple[FinishStep, ...]:
        """Tell that there is none."""
        del session, created
        raise AssertionError(f"a purge has no stage {number}")


def why_nothing(session: Session, subject: Holder) -> str:
    """Say why there is nothing of a run to delete."""
    if fence.look_up(session, subject) is None:
        return f"run {subject.run} never completed on this target, so it keeps nothing"
    rows = session.rows(_ROWS, (subject.installation, subject.run))
    purged = max((row["purged_by"] for row in rows if row["purged_by"] is not None), default=None)
    if purged is not None:
        return f"run {subject.run} was purged already, by run {purged}"
    if rows:
        by = max(row["recovered_by"] for row in rows)
        return f"run {subject.run} was recovered by run {by}, and nothing of it stayed behind"
    return f"run {subject.run} keeps nothing"


def _refuse_unfinished(subject: Subject) -> None:
    """Refuse what is not over, whoever it is that works on it."""
    if subject.kind not in {Kind.ROLLBACK, Kind.RECOVER}:
        raise NothingToPurge(f"run {subject.run} is a {subject.kind.value}, which keeps nothing")
    if subject.state in {State.QUEUED, State.IN_PROGRESS, State.AWAITING_APPROVAL, State.NEEDS_OPERATOR}:
        raise StillNeeded(f"run {subject.run} is {subject.state.value}; only what is over can be purged")
    if subject.recoveries:
        by = ", ".join(map(str, subject.recoveries))
        raise StillNeeded(f"run {subject.run} is to be recovered by run {by}; wait for its end, then ask again")


def _in_order(stored: Sequence[Stored], tied: Ties) -> list[Stored]:
    """Return things in the order of deletion: what depends on something goes before it.

    Raises:
        StillNeeded: They need each other.
    """
    before: dict[int, set[int]] = {place: set() for place in range(len(stored))}
    for tie in tied.firm:
        before[tie.then].add(tie.first)
    try:
        return [stored[place] for place in TopologicalSorter(before).static_order()]
    except CycleError as error:
        around = ", ".join(dict.fromkeys(stored[place].label() for place in error.args[1]))
        raise StillNeeded(
            f"these need each other, so that none can go first: {around}; take away what ties them, then ask again"
        ) from error


def _named(session: Session, stored: Sequence[Stored]) -> list[Row]:
    return session.rows(
        "SELECT n.nspname::text AS schema, c.relname::text AS name FROM pg_class AS c"
        " JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE c.oid = ANY (%s::oid[])",
        ([each.address.objid for each in stored if each.address.catalog == "pg_class"],),
    )


def _modes(stored: Sequence[Stored]) -> dict[int, str]:
    return {each.address.objid: "ACCESS EXCLUSIVE" for each in stored if each.kind in _RELATIONS}


def _item(stored: Stored, subject: int) -> Item:
    relation = stored.address.objid if stored.address.catalog == "pg_class" else None
    because = f"run {subject} keeps {stored.was}"
    action = Action(stored.how)
    return Item(stored.address, stored.kind, stored.name, because, action, bytes=stored.bytes, relation=relation)


def _text(row: Row, subject: int) -> Item:
    """Return what the list says of an object: its text stays, and is given up."""
    address = Address(row["catalog"], row["objid"], row["objsubid"])
    return Item(address, row["kind"], row["name"], f"run {subject} wrote it down", Action(row["how"]))


def _schemas(session: Session, names: Sequence[str]) -> Permits:
    found = session.rows("SELECT oid::bigint FROM pg_namespace WHERE nspname = ANY (%s)", (list(names),))
    return {Address("pg_namespace", row["oid"]): GONE for row in found}
