"""A piece of work: everything that one apply will do, as a value, before anything is done."""

from __future__ import annotations

from dataclasses import dataclass, field

from worker.objects.keeping import Item, Permits
from worker.objects.online_copy import OnlineCopy


@dataclass(frozen=True)
class Lock:
    """One lock of a relation; taken in order of OID, each by a statement of its own."""

    relation: int
    #: Qualified and quoted.
    name: str
    mode: str = "ACCESS EXCLUSIVE"
    #: Takes the lock where LOCK TABLE cannot.
    instead: str | None = None

    @property
    def statement(self) -> str:
        """What takes it."""
        return self.instead or f"LOCK TABLE ONLY {self.name} IN {self.mode} MODE"


@dataclass(frozen=True)
class Change:
    """One audited step of apply: a name and the exact statements."""

    step: str
    statements: tuple[str, ...]
    #: Role that they are run as, where they are the plan's own; None for the worker.
    owner: str | None = None
    #: Schemas that names in the plan's own are resolved with; None for the target's.
    path: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Gate:
    """One check of the plan: a SELECT that must return true."""

    #: In verify.sql, counted from 1.
    line: int
    text: str


@dataclass(frozen=True)
class Query:
    """One query of the application, which must go on working."""

    #: File and line, for messages.
    where: str
    text: str


@dataclass(frozen=True)
class FinishStep:
    """One thing to do after COMMIT; may be repeated, and never undoes what is committed."""

    step: str
    #: "sql" or "count" (take rows and checksum of a preserved table).
    what: str
    argument: str


@dataclass(frozen=True)
class Stage:
    """Changes that are compiled together, on the catalog as those before have left it."""

    changes: tuple[Change, ...]
    #: What the changes explain to the proof.
    permits: Permits
    #: Tables of the application whose rows are written.
    writes: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Work:
    """What a command comes down to on this target, as the catalog stands."""

    items: tuple[Item, ...]
    impact_sha256: str
    #: None where the command has no plan of its own.
    plan_sha256: str | None
    locks: tuple[Lock, ...]
    #: The first stage, done under the locks, in order.
    changes: tuple[Change, ...]
    #: Catalog rows that the changes explain to the proof.
    permits: Permits
    #: What is copied before apply, and must be complete under its locks.
    online: tuple[OnlineCopy, ...] = ()
    #: Done in the same transaction before the locks: touches nothing of the application's.
    groundwork: tuple[Change, ...] = ()
    #: The stages after the first as they are foreseen; each is compiled when those before it have run.
    later: tuple[tuple[Change, ...], ...] = ()
    #: Tables of the application whose rows are written.
    writes: frozenset[int] = frozenset()
    gates: tuple[Gate, ...] = ()
    #: Queries of the application that must go on working.
    queries: tuple[Query, ...] = ()
    finish: tuple[FinishStep, ...] = ()
    #: The registry row, and what it will say.
    registry_id: int | None = None
    outcome_status: str = "completed"
    notes: tuple[str, ...] = field(default=())

    @property
    def all_changes(self) -> tuple[Change, ...]:
        """Every change in order, those of later stages as they are foreseen."""
        return (*self.groundwork, *self.changes, *(change for stage in self.later for change in stage))
