"""Filling columns that come back, before apply, in chunks that another attempt can go on from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final
from uuid import UUID

from ledger.errors import CopyNotComplete, CopyOutdated, Fenced, LockNotAvailable
from ledger.model import Json
from worker import fence
from worker.fence import Holder
from worker.objects import column
from worker.objects.keeping import GONE, Address, Permits, quoted
from worker.objects.online_fill import OnlineFill
from worker.target import Row, Session

#: Blocks of the copy in one transaction, so that writers of these rows wait for milliseconds.
_CHUNK: Final = 16

_KEY = "installation = %(installation)s AND run = %(run)s AND relation = %(relation)s"


@dataclass(frozen=True)
class Filling:
    """What it takes to fill columns."""

    session: Session
    holder: Holder
    fill: OnlineFill
    #: Tries something again while a lock is not granted and the budget lasts.
    patiently: Callable[[Callable[[], None]], None]
    #: Raises if the lease is lost.
    check: Callable[[], None]
    at: Callable[[str], None]

    def make(self) -> dict[str, Json]:
        """Add the columns, unless an earlier attempt has, and give all rows their values; count the chunks."""
        if _state(self.session, self.holder, self.fill) is None:
            self._act(self._add, "fill_begun")
        chunks = 0
        while not (state := self._state())["complete"]:
            self.check()
            self._act(partial(self._chunk, state["done"]), "chunk_filled")
            chunks += 1
        return {"chunks": chunks}

    def _state(self) -> Row:
        found = _state(self.session, self.holder, self.fill)
        if found is None or not found["there"]:
            raise CopyNotComplete(
                f"somebody took away the columns of {self.fill.label} that are being filled; ask again"
            )
        return found

    def _add(self) -> None:
        with self.session.transaction():
            fence.stand_behind(self.session, self.holder)
            self.session.execute(self.fill.add())
            self.session.execute(
                "INSERT INTO emergency_backup.online_fills (installation, run, relation, source, columns)"
                " VALUES (%(installation)s, %(run)s, %(relation)s, %(source)s, %(columns)s)",
                {**_where(self.holder, self.fill), "source": self.fill.table, "columns": self.fill.hidden},
            )

    def _chunk(self, done: int) -> None:
        with self.session.transaction():
            fence.stand_behind(self.session, self.holder)
            if column.firing(self.session, self.fill.relation) != ((), ()):
                raise CopyNotComplete(
                    f"{self.fill.label} has got a trigger, a rule or a policy since its columns are being filled, which"
                    " would take that for the application's writing; ask again"
                )
            blocks = self.session.value(
                "SELECT pg_relation_size(to_regclass(%s)) / current_setting('block_size')::integer", (self.fill.inside,)
            )
            self.session.evaluate(self.fill.chunk(done, done + _CHUNK))
            self.session.execute(
                f"UPDATE emergency_backup.online_fills SET done = %(done)s, complete = %(complete)s WHERE {_KEY}",
                {**_where(self.holder, self.fill), "done": done + _CHUNK, "complete": done + _CHUNK >= blocks},
            )

    def _act(self, act: Callable[[], None], point: str) -> None:
        def named() -> None:
            try:
                act()
            except LockNotAvailable as error:
                holders = ", ".join(str(blocker) for blocker in self.session.blockers(self.fill.relation))
                told = f"{self.fill.label} is held by {holders or 'somebody who has let go since'}"
                raise LockNotAvailable(told) from error

        self.patiently(named)
        self.at(point)


def is_begun(session: Session, holder: Holder, relation: int) -> bool:
    """Whether columns of a table are being filled by this run."""
    where = {"installation": holder.installation, "run": holder.run, "relation": relation}
    return bool(session.value(f"SELECT true FROM emergency_backup.online_fills WHERE {_KEY}", where))


def prove(session: Session, holder: Holder, fills: Sequence[OnlineFill]) -> None:
    """See under the locks that the columns are there, and filled.

    Raises:
        CopyOutdated: Names the first table that misses some.
    """
    for fill in fills:
        state = _state(session, holder, fill)
        if state is None or not (state["complete"] and state["there"]):
            raise CopyOutdated(f"the columns of {fill.label} must be filled again")


def forget(session: Session, holder: Holder) -> None:
    """Take the rows away that tell of columns which have their own names by now; inside apply."""
    session.execute(
        "DELETE FROM emergency_backup.online_fills WHERE installation = %s AND run = %s",
        (holder.installation, holder.run),
    )


def permits(session: Session, fill: OnlineFill) -> Permits:
    """Return the catalog rows that change when the columns get their names: nobody else knows them."""
    found = session.rows(
        "SELECT a.attnum AS number, d.oid::bigint AS preset FROM pg_attribute AS a"
        " LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum"
        " WHERE a.attrelid = %s AND a.attname = ANY (%s) AND NOT a.attisdropped",
        (fill.relation, fill.hidden),
    )
    columns = {Address("pg_class", fill.relation, row["number"]): GONE for row in found}
    return {**columns, **{Address("pg_attrdef", row["preset"]): GONE for row in found if row["preset"] is not None}}


# -- what runs leave behind

_OPEN = """
SELECT f.run, f.relation::bigint, f.source, f.columns::text[] FROM emergency_backup.online_fills AS f
 WHERE f.installation = %(installation)s AND (%(run)s::bigint IS NULL OR f.run = %(run)s::bigint)
   AND (%(relation)s::oid IS NULL OR f.relation = %(relation)s::oid)
   AND NOT EXISTS (SELECT FROM emergency_backup.marker AS m WHERE m.installation = f.installation AND m.run = f.run)
 ORDER BY f.run, f.relation
"""


def of_run(session: Session, installation: UUID, run: int | None) -> list[Row]:
    """Return the fills that a run has begun and no apply has used; of all runs, if it is None."""
    return session.rows(_OPEN, {"installation": installation, "run": run, "relation": None})


def let_go(session: Session, installation: UUID, left: Row, attempt: int | None = None) -> None:
    """Take the columns of one fill away; it is a moment's lock.

    Args:
        session: In the target.
        installation: Whose run it is.
        left: As `of_run` returned it.
        attempt: The attempt that does so; None if the run is over, so that there will be no other.

    Raises:
        LockNotAvailable: The table is in use for longer than lock_timeout; nothing was taken away.
        Fenced: A newer attempt has the run.
    """
    with session.transaction():
        # An apply that is under way holds the fence: it is waited for, and what it has used is looked for again.
        held = session.value(
            "SELECT attempt FROM emergency_backup.fence WHERE installation = %s AND run = %s FOR UPDATE",
            (installation, left["run"]),
        )
        if attempt is not None and held != attempt:
            raise Fenced(f"attempt {attempt} of run {left['run']} is not the one that may write")
        told = {"installation": installation, "run": left["run"], "relation": left["relation"]}
        if not session.rows(_OPEN, told):
            return
        table = session.value("SELECT oid::regclass::text FROM pg_class WHERE oid = %s", (left["relation"],))
        if table is not None:
            dropped = ", ".join(f"DROP COLUMN IF EXISTS {quoted(name)}" for name in left["columns"])
            session.execute(f"ALTER TABLE {table} {dropped}")
        session.execute(f"DELETE FROM emergency_backup.online_fills WHERE {_KEY}", told)


_STATE = f"""
SELECT done, complete,
       (SELECT count(*) FROM pg_attribute WHERE attrelid = relation AND attname = ANY (columns) AND NOT attisdropped)
           = cardinality(columns) AND columns = %(columns)s::name[] AS there
  FROM emergency_backup.online_fills WHERE {_KEY}
"""


def _state(session: Session, holder: Holder, fill: OnlineFill) -> Row | None:
    return session.row(_STATE, {**_where(holder, fill), "columns": fill.hidden})


def _where(holder: Holder, fill: OnlineFill) -> dict[str, Any]:
    return {"installation": holder.installation, "run": holder.run, "relation": fill.relation}
