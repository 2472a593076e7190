"""Which runs have to be recovered before another: what one keeps may be of a type that a later one took."""

from __future__ import annotations

from worker import registry
from worker.commands.obstacles import foreign_needs
from worker.fence import Holder
from worker.target import Session


def needed_first(session: Session, subject: Holder) -> tuple[int, ...]:
    """Return the runs that keep what a run needs back, and what those need in turn, in the order of their recovery.

    Args:
        session: In the target.
        subject: The run to recover; its attempt does not matter.
    """
    found: dict[int, None] = {}
    _follow(session, subject, found, {subject.run})
    return tuple(found)


def _follow(session: Session, subject: Holder, found: dict[int, None], seen: set[int]) -> None:
    kept = registry.kept_by(session, subject, subject.run)
    for run in dict.fromkeys(run for _type, run, _oid in foreign_needs(session, kept)):
        if run not in seen:
            seen.add(run)
            _follow(session, Holder(subject.installation, run, 0), found, seen)
            found[run] = None
