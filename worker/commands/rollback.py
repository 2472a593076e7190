"""Roll a migration back: its plan, compiled so that nothing it removes is lost."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

from ledger.errors import ImpactChanged, ImpactNotAccepted, NothingToRollBack, PlanChanged, PlanRefused, Refused
from ledger.model import Command, Json
from ledger.settings import TargetSettings
from worker import compatibility, gates, registry
from worker.commands import Outcome
from worker.commands.asides import Asides, compile_asides, gather
from worker.commands.compiling import Compiled, Staged, compile_stage, staged
from worker.commands.locks import locks_of, relation_names
from worker.commands.remarks import remark
from worker.commands.rights import check_rights, check_writer
from worker.commands.undoing import refuse_grown_views, refuse_what_would_stay
from worker.fence import Holder
from worker.objects import rows
from worker.objects.keeping import Action, Address, Item, Keeping
from worker.objects.quarantine import Quarantine
from worker.online.choice import Chooser
from worker.plan import preserves, source
from worker.plan.acceptance import Acceptance
from worker.plan.aside import Aside
from worker.plan.compile import stronger
from worker.plan.doomed import doomed_by
from worker.plan.impact import hash_of
from worker.plan.names import relation
from worker.plan.parse import Script, Statement, parse, parse_finish
from worker.plan.preserves import Advice
from worker.plan.source import Plan
from worker.plan.stages import Foreseen
from worker.plan.wrapping import Locking
from worker.target import Row, Session
from worker.work import FinishStep, Gate, Lock, Section, Stage, Work


class Rollback:
    """Prepares and records one rollback."""

    def __init__(self, command: Command, holder: Holder, target: TargetSettings) -> None:
        self._command = command
        self._holder = holder
        self._target = target
        self._plan: Plan | None = None
        self._acceptance: Acceptance | None = None
        self._stages: tuple[Staged, ...] = ()
        self._quarantine = Quarantine(holder.run, command.command_id)
        self._first: Compiled | None = None
        self._now: Compiled | None = None
        self._asides = Asides()
        self._online = Chooser()
        #: Migrations that there is something to undo of.
        self._concerned: set[str] = set()
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
        work, objection = self.look(session)
        if objection is not None:
            raise objection
        return work

    def look(self, session: Session) -> tuple[Work, ImpactNotAccepted | None]:
        """Do the same, and return what nobody accepted beside what would be done if somebody did.

        Raises:
            StepbackError: Any other reason not to do it.
        """
        plan = self._plan = self._find(session)
        acceptance = self._acceptance = Acceptance(self._command, plan)
        scripts = self._read(plan)
        self._stages = staged(session, scripts)
        self._quarantine = Quarantine(self._holder.run, self._command.command_id)
        self._created, self._recorded = set(), 0
        first = self._first = self._compile(session, 0, self._quarantine)
        compiled = [first, *self._foresee(session, first)]
        asides = self._asides = self._beside(session, plan, scripts)
        items = (*(item for entry in compiled for item in entry.items), *asides.items)
        absent = [*(name for entry in compiled for name in entry.absent), *asides.absent]
        self._concerned = {
            entry.plan.migration for entry, staged in zip(compiled, self._stages, strict=True) if _does(entry, staged)
        }
        required = any(step.required for step in asides.finish)
        if not self._concerned and not required:
            raise NothingToRollBack("none of the objects that the plan removes exists: " + ", ".join(absent))
        # What an earlier statement changes may be reached as something else by a later one: a key that was inherited.
        changed = (address for entry in compiled for address in entry.permits)
        self._foreseen = frozenset((*(item.address for item in items), *changed))
        if plan.bare:
            check_writer(session, plan, items)
        keepings = [*(keeping for entry in compiled for keeping in entry.keepings), *asides.keepings]
        check_rights(session, keepings)
        remarks = remark(session, plan, [staged.stage for staged in self._stages], items, keepings)
        impact_sha256 = hash_of(items)
        acceptance.check_hash(impact_sha256)
        missing = acceptance.missing(item for entry in compiled for item in entry.unaccepted)
        if self._command.accept_sha256 is not None:
            acceptance = self._acceptance = replace(acceptance, by_hash=frozenset(missing))
        statements = [statement for _plan, script in scripts for statement in script.statements]
        ids = {each.migration: each.row.id for each in self._rows_of(plan) if each.row is not None}
        work = Work(
            items=items,
            impact_sha256=impact_sha256,
            plan_sha256=plan.sha256,
            locks=_locks(session, compiled, _asked_for(session, statements)),
            online=self._online.copies,
            groundwork=first.groundwork,
            changes=first.changes,
            later=tuple((*entry.groundwork, *entry.changes) for entry in compiled[1:]),
            permits=first.permits,
            gates=_gates(plan),
            queries=compatibility.read(self._target.plans),
            finish=(
                *counting_steps(first.keepings),
                *asides.finish,
                *_saying_so(ids.values(), required=required),
                _counting_remnants(items),
            ),
            registry_ids=ids,
            # Where the work itself comes after COMMIT, only then it is done.
            outcome_status="in_progress" if required else "completed",
            notes=(
                *(note for _plan, script in scripts for note in script.notes),
                *self._online.notes,
                *(f"{name} does not exist: nothing to do for it" for name in absent),
                *remarks.notes,
            ),
            mentions=remarks.mentions,
            pins=remarks.pins,
            accepted=tuple(sorted(acceptance.by_hash)),
            advise=self._advice(plan).told,
        )
        return work, acceptance.refusal(missing, impact_sha256) if set(missing) - acceptance.by_hash else None

    def _advice(self, plan: Plan) -> Advice:
        performed = [staged.stage.performed for staged in self._stages if staged.stage.performed is not None]
        preserved = frozenset(oid for staged in self._stages for oid in staged.preserved)
        return Advice(plan, preserved, any(preserves.runs_code(each) for each in performed))

    def _read(self, plan: Plan) -> list[tuple[Plan, Script]]:
        scripts = []
        for part in plan.parts:
            with self._speaking_of(part):
                scripts.append((part, parse(part.rollback_sql)))
        return scripts

    def _beside(self, session: Session, plan: Plan, scripts: Sequence[tuple[Plan, Script]]) -> Asides:
        """Compile what is done after COMMIT: what the scripts ask for, and finish.sql of the plan and its members."""
        found = []
        for part, script in scripts:
            alone = any(isinstance(statement, Aside) for statement in script.statements)
            if alone and plan.members:
                raise PlanRefused(f"{part.migration} runs CONCURRENTLY and cannot be a member: roll it back by itself")
            found.append(compile_asides(session, part, script.statements, self._quarantine, required=alone))
        for part in (*plan.members, plan):
            if part.finish_sql is not None:
                with self._speaking_of(part):
                    wanted = parse_finish(part.finish_sql).statements
                    found.append(compile_asides(session, part, wanted, self._quarantine, required=False))
        return gather(found)

    def _rows_of(self, plan: Plan) -> list[Plan]:
        """Return the plans whose registry rows the run is about: a member that has nothing to undo is left alone."""
        return [plan, *(member for member in plan.members if member.migration in self._concerned)]

    def record(self, session: Session, work: Work) -> None:
        """Write down what the first stage preserves, and how it comes back."""
        assert self._first is not None  # noqa: S101 - prepared
        assert work.items or work.later or work.finish  # noqa: S101 - otherwise refused
        self._preserve(session, self._first.keepings, self._first.plan)
        if self._asides.keepings:
            assert self._plan is not None  # noqa: S101 - prepared
            self._preserve(session, self._asides.keepings, self._plan)

    def stage(self, session: Session, number: int) -> Stage:
        """Compile a later stage on the catalog as those before it have left it.

        Raises:
            ImpactChanged: It would reach what preflight did not see.
            StepbackError: Any reason not to do it; the whole run is taken back.
        """
        compiled = self._now = self._compile(session, number, self._quarantine)
        assert self._acceptance is not None  # noqa: S101 - prepared
        self._acceptance.refuse_later(compiled.unaccepted)
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
        line = self._stages[number].stage.line
        watched, changed = self._now.watched, list[Keeping]()
        if watched:
            changed = rows.keep(session, watched, self._quarantine.copies, self._counted, line)
        rebuilt = {name for k in self._now.keepings for name in _names(k.facts.get("rebuilt"))}
        made = [_created(row, line) for row in created if row["name"] not in rebuilt]
        refuse_grown_views(session, self._now.keepings, line)
        # What belongs to something that the run has made before goes along with that.
        whole = [keeping.item.address for keeping in made if not self._is_of_a_new_relation(keeping.item)]
        refuse_what_would_stay(session, whole, line)
        # What the server made again for a statement was foreseen under another OID.
        self._created.update(Address(row["catalog"], row["objid"], row["subid"]) for row in created)
        keepings = (*self._now.keepings, *changed, *made)
        self._preserve(session, keepings, self._now.plan)
        return counting_steps(keepings)

    def _is_of_a_new_relation(self, item: Item) -> bool:
        return item.relation is not None and Address("pg_class", item.relation) in self._created

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
    ) -> Compiled:
        staged = self._stages[number]
        with session.resolving(staged.stage.path), self._speaking_of(staged.plan):
            # What is dropped after a statement of the plan's own, that may have written before.
            own = any(earlier.stage.performed is not None for earlier in self._stages[:number])
            online = None if own else self._online
            rewritten = frozenset(oid for stage in range(number) for oid in self._rewritten.get(stage, ()))
            doomed = doomed_by(session, [each.stage for each in self._stages[number:]])
            compiled = compile_stage(
                session, staged, quarantine, foreseen, changed, online=online, rewritten=rewritten, doomed=doomed
            )
        self._rewritten[number] = compiled.rewritten
        if staged.plan is self._plan:
            return compiled
        return replace(compiled, items=tuple(_of_member(item, staged.plan) for item in compiled.items))

    @contextmanager
    def _speaking_of(self, plan: Plan) -> Iterator[None]:
        """Let a refusal name the member that it is about."""
        try:
            yield
        except Refused as error:
            if plan is not self._plan:
                error.message = f"{plan.migration}: {error.message}"
            raise

    def _foresee(self, session: Session, first: Compiled) -> Iterator[Compiled]:
        """Compile the later stages on the catalog as it is, for preflight: what they reach, what they lock."""
        quarantine = Quarantine(self._holder.run, self._command.command_id)
        changed = {item.address for item in first.items}
        for number in range(1, len(self._stages)):
            foreseen = Foreseen([staged.stage for staged in self._stages[:number]])
            compiled = self._compile(session, number, quarantine, foreseen, frozenset(changed))
            changed.update([item.address for item in compiled.items], compiled.permits)
            yield compiled

    def _preserve(self, session: Session, keepings: Sequence[Keeping], plan: Plan) -> None:
        names = relation_names(session, {oid for keeping in keepings for oid in keeping.locks - _dropped(keeping)})
        registry.preserve(session, self._holder, plan.migration, keepings, names=names, after=self._recorded)
        self._recorded += len(keepings)

    def outcome(self, session: Session, left: Mapping[str, str]) -> Outcome:
        """Say nothing beside the steps; nothing of a rollback may be left out."""
        del session, left
        return Outcome()

    def registry_rows(self, session: Session) -> list[int]:
        """Return the registry rows of the plan and its members; a folder plan that nobody registered gets one."""
        return [
            registry.ensure_row(session, each.migration, each.rollback_sql, each.sha256)
            if each.row is None
            else each.row.id
            for each in self._rows_of(self._find(session))
        ]

    def _find(self, session: Session) -> Plan:
        plan = source.find(session, self._target.plans, self._command.subject)
        if self._command.plan_sha256 not in (None, plan.sha256):
            raise PlanChanged(f"the plan of {plan.migration} is not the one that was pinned when this was asked for")
        return plan


def _dropped(keeping: Keeping) -> set[int]:
    """Return the relation that is only written down: on the way back there is nothing to lock."""
    item = keeping.item
    return {item.address.objid} if item.action is Action.DEFINED and item.address.catalog == "pg_class" else set()


def _does(compiled: Compiled, staged: Staged) -> bool:
    return bool(compiled.items) or staged.stage.performed is not None


def _of_member(item: Item, member: Plan) -> Item:
    return replace(item, because=f"{member.migration}: {item.because}")


def _gates(plan: Plan) -> tuple[Gate, ...]:
    """Return the gates of all parts; those of a composite plan itself come last."""
    files = [("verify.sql" if each is plan else f"{each.migration}/verify.sql", each) for each in (*plan.members, plan)]
    return tuple(
        gate for name, each in files if each.verify_sql is not None for gate in gates.read(each.verify_sql, name)
    )


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


def _locks(session: Session, compiled: Sequence[Compiled], asked: Mapping[int, str]) -> tuple[Lock, ...]:
    modes = dict(asked)
    for entry in compiled:
        for oid in (oid for keeping in entry.keepings for oid in keeping.locks):
            modes[oid] = "ACCESS EXCLUSIVE"
        for oid, mode in entry.locks.items():
            modes[oid] = stronger(modes.get(oid, mode), mode)
    return locks_of(session, modes)


def _names(value: Json) -> list[str]:
    return [str(entry) for entry in value] if isinstance(value, list) else []


def _created(row: Row, line: int) -> Keeping:
    address = Address(row["catalog"], row["objid"], row["subid"])
    because = f"line {line} creates it"
    item = Item(address, row["kind"], row["name"], because, Action.CREATED, relation=row["relation"])
    return Keeping(item, remove=(), restore=(), facts={"table": row["relation"]})


def counting_steps(keepings: Sequence[Keeping]) -> tuple[FinishStep, ...]:
    """Return the steps that take rows and checksum of what is kept, when nobody writes there any more."""
    tables = dict.fromkeys((k.quarantine, k.relation) for k in keepings if k.relation is not None)
    return tuple(FinishStep(f"count {name}", "count", json.dumps([schema, name])) for schema, name in tables)


def _saying_so(rows: Collection[int], *, required: bool) -> list[FinishStep]:
    """Return the step that says in the registry that all is done, where the work itself comes after COMMIT."""
    if not required:
        return []
    told, section = json.dumps([*rows]), Section.MIGRATION_TRACKING_UPDATE
    return [FinishStep("update the registry", "registry", told, section, required=True)]


def _counting_remnants(items: Sequence[Item]) -> FinishStep:
    """Return the step that counts, by exact names, what is left of what went."""
    gone = [item for item in items if item.action in {Action.MOVED, Action.COPIED}]
    columns = [item.address for item in gone if item.address.subid]
    named: dict[str, Json] = {
        "tables": [item.name for item in gone if item.kind == "table"],
        "types": [item.name for item in gone if item.address.catalog == "pg_type"],
        "columns": [address.subid for address in columns],
        "tables_of_columns": [address.objid for address in columns],
    }
    return FinishStep("count what is left", "remnants", json.dumps(named), Section.VERIFICATION)
