"""One thing about an object that a statement can change."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from ledger.model import Json
from worker.objects.keeping import Address, Permits
from worker.objects.subject import Subject
from worker.target import Row, Session

#: What undoes a change as the catalog stands by then, from the facts that were written down before it. The object may
#: be gone: what was dropped after it was changed comes back as another.
Back: TypeAlias = Callable[[Session, Address, Mapping[str, Any]], Iterator[str]]


def nothing(_session: Session, _of: Subject, _detail: str = "") -> Iterator[str]:
    """Return no statements."""
    yield from ()


def no_facts(_session: Session, _of: Subject, _detail: str, _line: int) -> dict[str, Json]:
    """Write nothing down."""
    return {}


def nobody(_session: Session, _of: Subject) -> frozenset[int]:
    """Lock no other table."""
    return frozenset()


@dataclass(frozen=True)
class Aspect:
    """How one thing about an object is set to what it is, and which catalog rows a change of it explains."""

    #: Statements that set it to what it is now.
    restore: Callable[[Session, Subject, str], Iterator[str]]
    permits: Callable[[Session, Subject, str], Permits]
    #: To be done after the COMMIT of a recovery.
    finish: Callable[[Session, Subject], Iterator[str]] = nothing
    #: Whether the change locks the table against readers.
    locks: bool = True
    #: Other tables that are locked for the change, and again for the recovery.
    around: Callable[[Session, Subject], frozenset[int]] = nobody
    #: What `back` needs to know; refuses what could not be changed back. Gets the line of the statement.
    facts: Callable[[Session, Subject, str, int], dict[str, Json]] = no_facts
    #: Asked at recovery, where what undoes the change depends on what is there by then.
    back: Back | None = None


def one_row(session: Session, query: str, *parameters: int) -> Row:
    """Return the row of an object that the caller has resolved in this transaction."""
    found = session.row(query, parameters)
    assert found is not None  # noqa: S101 - as above
    return found
