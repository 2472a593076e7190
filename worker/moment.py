"""A moment in the target, and whether a row was written after it: what was written down must be what is removed.

Tables are locked before they are looked at for the last time; functions, views and comments know no such lock.
Source: PostgreSQL documentation, "Transactions and Identifiers" and pg_current_snapshot.
"""

from __future__ import annotations

from dataclasses import dataclass

from worker.target import Session

#: Rows tell their transaction without its epoch.
_AROUND = 2**32


@dataclass(frozen=True)
class Moment:
    """Which transactions were over."""

    #: The first number that was not given yet.
    next: int
    #: Lower numbers that were not over.
    running: frozenset[int]

    def before(self, xid: int, now: Moment) -> bool:
        """Whether the transaction of a row was over at this moment.

        Args:
            xid: The row's `xmin`, which may be frozen and as old as the database.
            now: A later moment. Only what began in between can be newer, so that no old number is taken for one.
        """
        began_since = (xid - self.next) % _AROUND < now.next - self.next
        return not began_since and all((xid - other) % _AROUND for other in self.running)


def of(session: Session) -> Moment:
    """Return the moment of the next look at the catalog, or one just before it."""
    _, upcoming, running = session.value("SELECT pg_current_snapshot()::text").split(":")
    return Moment(int(upcoming), frozenset(int(xid) for xid in running.split(",") if xid))
