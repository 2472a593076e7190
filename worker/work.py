"""A piece of work: everything that one apply will do, as a value, before anything is done."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

from worker.objects.keeping import Item, Permits
from worker.objects.online_copy import OnlineCopy
from worker.objects.online_fill import OnlineFill
from worker.objects.remarks import Mention, Pin
from worker.target import Session

#: Takes the session of apply, tables (OIDs) whose rows were changed unseen, and whether more was lost than rows;
#: returns what the author of the plan may do about it, to be added to the refusal.
Advise: TypeAlias = Callable[[Session, Sequence[int], bool], str]


class Section(StrEnum):
    """What a step of a rollback is for, in the words that operators know; the summary of a run shows one line of each.

    In the order of the summary, which is nearly that of the doing: what depends on something goes before it.
    """

    BACKUP = "BACKUP"
    CONSTRAINTS_REMOVAL = "CONSTRAINTS_REMOVAL"
    DEFINITIONS_REMOVAL = "DEFINITIONS_REMOVAL"
    TABLES_REMOVAL = "TABLES_REMOVAL"
    COLUMN_REMOVAL = "COLUMN_REMOVAL"
    ENUMS_REMOVAL = "ENUMS_REMOVAL"
    STATEMENTS = "STATEMENTS"
    MIGRATION_TRACKING_UPDATE = "MIGRATION_TRACKING_UPDATE"
    VERIFICATION = "VERIFICATION"
    OPTIMIZATION = "OPTIMIZATION"


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
    section: Section | None = None
    #: Settings that the plan's own are run with.
    settings: Mapping[str, str] = field(default_factory=dict)
    #: Whether the run goes on without it where rows that are there do not allow it, and says so.
    may_be_left: bool = False
    #: Whether the worker's own call functions of the application, such as that of a generated column.
    evaluates: bool = False


@dataclass(frozen=True)
class Gate:
    """One check of the plan: a SELECT that must return true."""

    #: File and line, for messages.
    where: str
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
    #: "sql", "analyze", "aside" (worker/aside.py), "validate" (worker/orphans.py), "count" (rows and checksum of a
    #: preserved table), "index" (build one that comes back), "rows" (count those gone), "remnants", "report" (a
    #: query for figures), or "registry" (say that all is done).
    what: str
    argument: str
    section: Section | None = None
    #: Whether the run fails if this does: it is what was asked for, and could not be done inside the transaction.
    required: bool = False


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
    #: Columns that come back and are filled before apply.
    filling: tuple[OnlineFill, ...] = ()
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
    #: Rows of the registry, by migration, and what they will say.
    registry_ids: Mapping[str, int] = field(default_factory=dict)
    outcome_status: str = "completed"
    notes: tuple[str, ...] = field(default=())
    #: Survivors whose text speaks of what goes.
    mentions: tuple[Mention, ...] = ()
    #: What cannot be dropped outside while quarantine keeps what goes.
    pins: tuple[Pin, ...] = ()
    #: Labels of what goes along only because the command accepts this very impact.
    accepted: tuple[str, ...] = ()
    #: What the author of the plan may do about what the proof refuses.
    advise: Advise | None = None
    #: Looks at what takes its time, and returns remarks: once, in preflight.
    inspect: Callable[[Session], Sequence[str]] | None = None

    @property
    def all_changes(self) -> tuple[Change, ...]:
        """Every change in order, those of later stages as they are foreseen."""
        return (*self.groundwork, *self.changes, *(change for stage in self.later for change in stage))
