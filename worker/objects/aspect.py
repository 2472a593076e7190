"""One thing about an object that a statement can change."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from worker.objects.keeping import Permits
from worker.objects.subject import Subject
from worker.target import Row, Session


def nothing(_session: Session, _of: Subject) -> Iterator[str]:
    """Return no statements."""
    yield from ()


@dataclass(frozen=True)
class Aspect:
    """How one thing about an object is set to what it is, and which catalog rows a change of it explains."""

    restore: Callable[[Session, Subject, str], Iterator[str]]
    permits: Callable[[Session, Subject, str], Permits]
    #: To be done after the COMMIT of a recovery.
    finish: Callable[[Session, Subject], Iterator[str]] = nothing
    #: Whether the change locks the table against readers.
    locks: bool = True


def one_row(session: Session, query: str, *parameters: int) -> Row:
    """Return the row of an object that the caller has resolved in this transaction."""
    found = session.row(query, parameters)
    assert found is not None  # noqa: S101 - as above
    return found
