"""Roll a migration back: its plan, compiled so that nothing it removes is lost."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from ledger.errors import ImpactChanged, NothingToRollBack, PlanChanged, PlanRefused
from ledger.model import Command, Json
from ledger.settings import TargetSettings
from worker import compatibility, gates, registry
from worker.commands.backup_views import make_views
from worker.commands.locks import locks_of, relation_names
from worker.commands.rights import check_rights, check_writer, plan_owner
from worker.commands.undoing import refuse_grown_views, refuse_what_would_stay
from worker.fence import Holder
from worker.objects import rows
from worker.objects.keeping import Action, Address, Item, Keeping, Permits, merge, quoted
from worker.objects.quarantine import Quarantine
from worker.objects.rows import Watched
from worker.plan import source
from worker.plan import stages as plan_stages
from worker.plan.compile import (
    compile_performed,
    compile_removal,
    files,
    rewritten_tables,
    sequence_positions,
    stronger,
    table_locks,
    watched_tables,
)
from worker.plan.impact import compute, hash_of
from worker.plan.names import relation
from worker.plan.parse import Statement, parse
from worker.plan.shapes import refuse_others
from worker.plan.source import Plan
from worker.plan.stages import Foreseen, split
from worker.plan.statements import Analyze, words
from worker.plan.wrapping import Locking
from worker.target import Row, Session
from worker.work import Change, FinishStep, Lock, Stage, Work


@dataclass(frozen=True)
class _Compiled:
    """One stage of the plan, as the catalog stands."""

    items: tuple[Item, ...]
    absent: tuple[str, ...]
    keepings: tuple[Keeping, ...]
    changes: tuple[Change, ...]
    permits: Permits
    #: Tables that a statement locks besides those of the keepings, by OID, with the mode.
    locks: Mapping[int, str] = field(default_factory=dict)
    #: Quarantine schemas that it is the first to need.
    groundwork: tuple[Change, ...] = ()
    #: Tables whose rows it may change.
    watched: tuple[Watched, ...] = ()


class Rollback:
    """Prepares and records one rollback."""

    def __init__(self, command: Command, holder: Holder, target: TargetSettings) -> None:
        self._command = command
        self._holder = holder
        self._target = target
        self._plan: Plan | None = None
        self._stages: tuple[plan_stages.Stage, ...] = ()
        self._quarantine = Quarantine(holder.run, command.command_id)
        self._first: _Compiled | None = None
        self._now: _Compiled | None = None
        #: What preflight found: a later stage may reach nothing else that was there before.
        self._foreseen: frozenset[Address] = frozenset()
        self._created: set[Address] = set()
        self._recorded = 0
        #: Tables that may have new files since each stage.
        self._rewritten: dict[int, frozenset[int]] = {}
        #: Rows that the transaction had changed before the stage, by table.
        self._counted: dict[int, int] = {}

    def prepare(self, session: Session) -> Work:
        """Find the plan, compute its impact and compile it.

        Raises:
            StepbackError: Any reason not to do it, before anything is done.
        """
        plan = self._plan = self._find(session)
        script = parse(plan.rollback_sql)
        checks = () if plan.verify_sql is None else gates.read(plan.verify_sql)
        self._stages = split(script.statements)
        self._quarantine = Quarantine(self._holder.run, self._command.command_id)
        self._created, self._recorded = set(), 0
        with session.resolving(self._stages[0].path):
            first = self._first = self._compile(session, 0, self._quarantine)
        compiled = [first, *self._foresee(session, first)]
        items = tuple(item for entry in compiled for item in entry.items)
        absent = [name for entry in compiled for name in entry.absent]
        if not items and not any(stage.performed for stage in self._stages):
            raise NothingToRollBack("none of the objects that the plan removes exists: " + ", ".join(absent))
        self._foreseen = frozenset(item.address for item in items)
        if plan.bare:
            check_writer(session, plan, items)
        keepings = [keeping for entry in compiled for keeping in entry.keepings]
        check_rights(session, keepings)
        return Work(
            items=items,
            impact_sha256=hash_of(items),
            plan_sha256=plan.sha256,
            locks=_locks(session, compiled, _asked_for(session, script.statements)),
            groundwork=first.groundwork,
            changes=first.changes,
            later=tuple((*entry.groundwork, *entry.changes) for entry in compiled[1:]),
            permits=first.permits,
            gates=checks,
            queries=compatibility.read(self._target.plans),
            finish=(*counting_steps(first.keepings), *_analyzing(session, script.statements)),
            registry_id=plan.row.id if plan.row else None,
            notes=(*script.notes, *(f"{name} does not exist: nothing to do for it" for name in absent)),
        )

    def record(self, session: Session, work: Work) -> None:
        """Write down what the first stage preserves, and how it comes back."""
        assert self._first is not None  # noqa: S101 - prepared
        assert work.items or work.later  # noqa: S101 - otherwise refused
        self._preserve(session, self._first.keepings)

    def stage(self, session: Session, number: int) -> Stage:
        """Compile a later stage on the catalog as those before it have left it.

        Raises:
            ImpactChanged: It would reach what preflight did not see.
            StepbackError: Any reason not to do it; the whole run is taken back.
        """
        with session.resolving(self._stages[number].path):
            compiled = self._now = self._compile(session, number, self._quarantine)
        strange = [
            item.label() for item in compiled.items if not self._is_known(item) and item.action is not Action.CARRIED
        ]
        if strange:
            raise ImpactChanged(f"the plan would reach what was not foreseen: {', '.join(strange)}")
        self._counted = rows.counters(session, compiled.watched)
        changes = (*compiled.groundwork, *compiled.changes)
        writes = frozenset(table.oid for table in compiled.watched)
        return Stage(changes, compiled.permits, writes)

    def record_stage(self, session: Session, number: int, created: Sequence[Row]) -> tuple[FinishStep, ...]:
        """Write down what a later stage preserved, and what it created; return what is to be counted."""
        assert self._now is not None  # noqa: S101 - compiled
        line = self._stages[number].line
        watched, changed = self._now.watched, list[Keeping]()
        if watched:
            changed = rows.keep(session, watched, self._quarantine.copies, self._counted, line)
        rebuilt = {name for k in self._now.keepings for name in _names(k.facts.get("rebuilt"))}
        made = [_created(row, line) for row in created if row["name"] not in rebuilt]
        refuse_grown_views(session, self._now.keepings, line)
        refuse_what_would_stay(session, [keeping.item.address for keeping in made], line)
        # What the server made again for a statement was foreseen under another OID.
        self._created.update(Address(row["catalog"], row["objid"], row["subid"]) for row in created)
        keepings = (*self._now.keepings, *changed, *made)
        self._preserve(session, keepings)
        return counting_steps(keepings)

    def _is_known(self, item: Item) -> bool:
        table = None if item.relation is None else Address("pg_class", item.relation)
        return item.address in self._foreseen or bool({item.address, table} & self._created)

    def _compile(
        self,
        session: Session,
        number: int,
        quarantine: Quarantine,
        foreseen: Foreseen | None = None,
        changed: frozenset[Address] = frozenset(),
    ) -> _Compiled:
        assert self._plan is not None  # noqa: S101 - prepared
        stage = self._stages[number]
        if stage.performed is not None:
            return self._compile_performed(session, number, quarantine, foreseen)
        impact = compute(session, stage.removals, self._plan.options.accepts, foreseen, changed)
        known = len(quarantine.names)
        keepings = compile_removal(session, impact, quarantine)
        views, view_permits = make_views(session, keepings)
        return _Compiled(
            impact.items,
            impact.absent,
            keepings,
            (*(Change(_verb(keeping), keeping.remove) for keeping in keepings), *views),
            merge([*(keeping.permits for keeping in keepings), view_permits]),
            groundwork=_schemas(quarantine.names[known:]),
        )

    def _compile_performed(
        self, session: Session, number: int, quarantine: Quarantine, foreseen: Foreseen | None
    ) -> _Compiled:
        performed = self._stages[number].performed
        assert self._plan is not None and performed is not None  # noqa: S101, PT018 - prepared; the caller looked
        known = len(quarantine.names)
        owner = plan_owner(session, self._plan)
        keepings = compile_performed(session, performed, quarantine, foreseen)
        rewritten = {oid for stage in range(number) for oid in self._rewritten.get(stage, ())}
        watched = watched_tables(session, performed, number, foreseen, rewritten)
        self._rewritten[number] = rewritten_tables(session, performed, keepings, watched)
        keepings = (*keepings, *sequence_positions(session, performed, watched))
        before, after = _watching(watched, quarantine)
        run = Change(
            f"line {performed.line}: {words(performed.text)}", (performed.text,), owner, self._stages[number].path
        )
        permits = [*(keeping.permits for keeping in keepings), files(session, performed, watched)]
        locks = table_locks(session, performed, foreseen)
        locks.update(dict.fromkeys((table.oid for table in watched), "ACCESS EXCLUSIVE"))
        items = (*(keeping.item for keeping in keepings), *(rows.item(table, performed.line) for table in watched))
        refuse_others(session, items, performed.line)
        return _Compiled(
            items,
            (),
            keepings,
            (
                *before,
                *(Change(f"keep {k.item.label()}", k.remove) for k in keepings if k.remove),
                run,
                *(Change(f"note what became of {k.item.label()}", k.settle) for k in keepings if k.settle),
                *after,
            ),
            merge(permits),
            locks,
            _schemas(quarantine.names[known:]),
            tuple(watched),
        )

    def _foresee(self, session: Session, first: _Compiled) -> Iterator[_Compiled]:
        """Compile the later stages on the catalog as it is, for preflight: what they reach, what they lock."""
        quarantine = Quarantine(self._holder.run, self._command.command_id)
        changed = {item.address for item in first.items}
        for number in range(1, len(self._stages)):
            foreseen = Foreseen(self._stages[:number])
            with session.resolving(self._stages[number].path):
                compiled = self._compile(session, number, quarantine, foreseen, frozenset(changed))
            changed.update([item.address for item in compiled.items], compiled.permits)
            yield compiled

    def _preserve(self, session: Session, keepings: Sequence[Keeping]) -> None:
        names = relation_names(session, {oid for keeping in keepings for oid in keeping.locks - _dropped(keeping)})
        registry.preserve(session, self._holder, keepings, names, self._recorded)
        self._recorded += len(keepings)

    def registry_row(self, session: Session) -> int:
        """Return the plan's registry row; a folder plan that nobody registered gets one."""
        plan = self._find(session)
        if plan.row is not None:
            return plan.row.id
        return registry.ensure_row(session, plan.migration, plan.rollback_sql, plan.sha256)

    def _find(self, session: Session) -> Plan:
        plan = source.find(session, self._target.plans, self._command.migration)
        if self._command.plan_sha256 not in (None, plan.sha256):
            raise PlanChanged(f"the plan of {plan.migration} is not the one that was pinned when this was asked for")
        return plan


def _dropped(keeping: Keeping) -> set[int]:
    """Return the relation that is only written down: on the way back there is nothing to lock."""
    item = keeping.item
    return {item.address.objid} if item.action is Action.DEFINED and item.address.catalog == "pg_class" else set()


def _asked_for(session: Session, statements: Sequence[Statement]) -> dict[int, str]:
    """Return the locks that the script itself asks for, by OID, with the mode."""
    asked: dict[int, str] = {}
    for statement in statements:
        for lock in statement.locks if isinstance(statement, Locking) else ():
            oid = relation(session, lock.name)
            if oid is None:
                raise PlanRefused(f"table {'.'.join(lock.name)} does not exist", line=statement.line)
            asked[oid] = stronger(asked.get(oid, lock.mode), lock.mode)
    return asked


def _locks(session: Session, compiled: Sequence[_Compiled], asked: Mapping[int, str]) -> tuple[Lock, ...]:
    modes = dict(asked)
    for entry in compiled:
        for oid in (oid for keeping in entry.keepings for oid in keeping.locks):
            modes[oid] = "ACCESS EXCLUSIVE"
        for oid, mode in entry.locks.items():
            modes[oid] = stronger(modes.get(oid, mode), mode)
    return locks_of(session, modes)


def _schemas(names: Sequence[str]) -> tuple[Change, ...]:
    return tuple(Change(f"create {name}", (f"CREATE SCHEMA {quoted(name)}",)) for name in names)


def _watching(watched: Sequence[Watched], quarantine: Quarantine) -> tuple[tuple[Change, ...], tuple[Change, ...]]:
    """Return what is done before and after a statement so that the rows that it changes are handed over."""
    if not watched:
        return (), ()
    order = f"CREATE SEQUENCE IF NOT EXISTS {quoted(quarantine.copies, 'rows_order')}"
    before = [
        Change(f"watch the rows of {table.table}", (order, *rows.watch(table, quarantine.copies))) for table in watched
    ]
    after = [Change(f"let go of {table.table}", rows.unwatch(table, quarantine.copies)) for table in watched]
    return tuple(before), tuple(after)


def _names(value: Json) -> list[str]:
    return [str(entry) for entry in value] if isinstance(value, list) else []


def _created(row: Row, line: int) -> Keeping:
    address = Address(row["catalog"], row["objid"], row["subid"])
    because = f"line {line} creates it"
    item = Item(address, row["kind"], row["name"], because, Action.CREATED, relation=row["relation"])
    return Keeping(item, remove=(), restore=(), facts={"table": row["relation"]})


def _verb(keeping: Keeping) -> str:
    verb = {Action.MOVED: "move", Action.COPIED: "copy and drop", Action.DEFINED: "write down and drop"}
    return f"{verb[keeping.item.action]} {keeping.item.label()}"


def counting_steps(keepings: Sequence[Keeping]) -> tuple[FinishStep, ...]:
    """Return the steps that take rows and checksum of what is kept, when nobody writes there any more."""
    tables = dict.fromkeys((k.quarantine, k.relation) for k in keepings if k.relation is not None)
    return tuple(FinishStep(f"count {name}", "count", json.dumps([schema, name])) for schema, name in tables)


def _analyzing(session: Session, statements: Sequence[Statement]) -> list[FinishStep]:
    names = [name for statement in statements if isinstance(statement, Analyze) for name in statement.tables]
    found = {oid for name in names if (oid := relation(session, name)) is not None}
    return [
        # By name: by then it may have moved away, or be another.
        FinishStep(f"analyze {name}", "analyze", name)
        for name in relation_names(session, found).values()
    ]
