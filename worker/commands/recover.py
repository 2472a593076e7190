"""Recover a rollback: what it moved moves back, what it wrote down is made again, values return to their rows."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from ledger.errors import Conflict, ImpactNotAccepted, LockNotAvailable, NothingToRecover
from ledger.model import Command, Json, Policy
from worker import fence, registry
from worker.commands import Outcome, again, damage, grouping, merging, returning, selecting
from worker.commands.again import Again
from worker.commands.backup_views import drop_views
from worker.commands.filling import Fills
from worker.commands.foreseeing import Foreseen, foresee
from worker.commands.locks import locks_of, relation_names
from worker.commands.meeting import Meetings
from worker.commands.merging import Merge
from worker.commands.obstacles import refuse_conflicts, refuse_foreign_needs
from worker.commands.rebuilding import built_after
from worker.commands.rollback import counting_steps
from worker.commands.selecting import Parted
from worker.fence import Holder, Marker
from worker.objects import family
from worker.objects.keeping import GONE, Address, Keeping, Permits, merge, quoted
from worker.objects.quarantine import Quarantine
from worker.online import filling
from worker.plan.compile import compile_removal
from worker.plan.impact import hash_of, of_addresses
from worker.plan.selection import check_report
from worker.registry import Kept
from worker.target import Row, Session
from worker.work import Change, FinishStep, Lock, Stage, Work

#: What helps where a name is taken.
_HINT = (
    "if the migration was applied again, --policy skip, overwrite or aside merges rows by key into what is there; if it"
    " was not, rename that, then recover"
)


class Recover:
    """Prepares and records one recovery."""

    def __init__(self, command: Command, holder: Holder) -> None:
        assert command.subject_run is not None  # noqa: S101 - the ledger's commands_subject_run_check
        assert command.migration is not None  # noqa: S101 - the ledger's commands_migration_known
        self._subject = command.subject_run
        self._migration = command.migration
        self._holder = holder
        self._kept: list[Kept] = []
        self._groups: list[list[Kept]] = []
        self._emptied: list[str] = []
        #: Takes what the rollback created: nothing is destroyed on the way back either.
        self._quarantine = Quarantine(holder.run, command.command_id)
        #: Where rows go that cannot stay, once they are back.
        self._aside = Quarantine(holder.run, command.command_id).copies
        self._retired: tuple[Keeping, ...] = ()
        self._recorded = 0
        self._conditions = dict(command.conditions or {})
        self._report = command.report
        self._parted: tuple[Parted, ...] = ()
        self._merges: tuple[Change, ...] = ()
        self._figures: list[Json] = []
        self._asked = command.policy
        self._policy = command.policy or Policy.SKIP
        self._again = Again(())
        self._fills = Fills(holder)
        #: All that the run still keeps, whether it comes back or not.
        self._everything: Sequence[Kept] = ()
        self._damaged: Sequence[str] = ()
        self._built: dict[int, FinishStep] = {}
        self._meetings = Meetings(self._policy, self._aside)

    def prepare(self, session: Session) -> Work:
        """Look at what the run keeps and say how it comes back, in reverse order.

        Raises:
            NothingToRecover: The run keeps nothing that is still to come back; the message says why.
            RecoverFirst: Something that is needed is kept elsewhere.
            Conflict: Something stands in the way, or something needed is gone; the message lists it.
        """
        subject = Holder(self._holder.installation, self._subject, 0)
        marker = fence.look_up(session, subject)
        kept = registry.kept_by(session, subject, self._subject)
        wanted = [k for k in kept if marker is not None and self._is_wanted(marker, k)]
        if marker is None or not wanted:
            raise NothingToRecover(_why_nothing(session, subject, self._migration, marker))
        self._everything = kept
        wanted = [returning.as_it_stands(session, k) for k in wanted]
        # Names may be alike by chance: nothing is merged that nobody has asked for.
        self._again = Again(tuple(wanted)) if self._asked is None else again.look(session, wanted)
        self._built = built_after(session, self._again.coming)
        self._kept = [k for k in self._again.coming if k.id not in self._built]
        self._fills.choose(session, self._kept)
        self._meetings = Meetings(self._policy, self._aside)
        self._merges = tuple(self._merge(session, each) for each in self._again.merges)
        refuse_conflicts(session, self._again.coming, _HINT)
        refuse_foreign_needs(session, self._kept)
        self._parted = selecting.part(session, self._kept, self._conditions, self._aside)
        views, view_permits = drop_views(session, [(k.quarantine, k.relation) for k in self._kept])
        coming = {k.id for k in self._kept}
        self._emptied = _emptied(session, self._kept, [k for k in kept if k.id not in coming])
        self._groups = grouping.grouped(self._kept)
        self._recorded = 0
        first = self._restore(session, 0)
        back = tuple(returning.item(kept, self._subject) for kept in self._again.coming)
        items = (*back, *(each.item for each in self._parted), *(each.item for each in self._again.merges))
        return Work(
            items=items,
            impact_sha256=hash_of(items),
            plan_sha256=None,
            locks=_locks(session, self._kept, self._merged),
            changes=(*views, *first.changes),
            filling=self._fills.all,
            groundwork=self._groundwork(),
            later=tuple(self._foresee(session, group) for group in self._groups[1:]),
            permits=merge(
                [first.permits, view_permits, selecting.permits(session, self._parted), self._fills.permits(session)]
            ),
            writes=first.writes | self._merged | {each.kept.address.objid for each in self._parted},
            finish=self._finish(),
            registry_ids=self._registry_ids(marker, whole=len(wanted) == len(kept)),
            outcome_status="recovered",
            notes=self._fills.notes,
            inspect=self._inspect,
        )

    def _inspect(self, session: Session) -> Sequence[str]:
        self._damaged = damage.look(session, self._everything)
        return self._damaged

    def foresee(self, session: Session) -> tuple[Foreseen, ...]:
        """Count what the recovery that was prepared would meet; for a dry run."""
        names = {kept.id: f"{kept.kind} {kept.name}" for kept in self._kept}
        names |= {each.kept.id: f"{each.kept.kind} {each.kept.name}" for each in self._again.merges}
        return foresee(session, self._kept, [(names[number], met) for number, met in self._meetings.all.items()])

    @property
    def _merged(self) -> frozenset[int]:
        """Tables that rows are merged into."""
        return frozenset(each.meeting.watched.oid for each in self._again.merges)

    def _merge(self, session: Session, merge: Merge) -> Change:
        held = self._meetings.hold(merge.meeting, merge.first)
        return Change(merge.step, merging.statements(session, merge, held), may_be_left=True, evaluates=True)

    def _groundwork(self) -> tuple[Change, ...]:
        if not self._parted and not self._meetings.keeps(self._kept):
            return ()
        create = Change(f"create {self._aside}", (f"CREATE SCHEMA {quoted(self._aside)}",))
        return (create, *selecting.groundwork(self._parted))

    def _is_wanted(self, marker: Marker, kept: Kept) -> bool:
        """Whether an object comes back: all of a run's, or those of one member of a composite plan."""
        return self._migration in (marker.migration, kept.migration)

    def _registry_ids(self, marker: Marker, *, whole: bool) -> dict[str, int]:
        """Return the rows that will say so: the composite plan's own only when nothing of it is left in quarantine."""
        if self._migration == marker.migration:
            return dict(marker.registry_ids)
        told = (self._migration, marker.migration) if whole else (self._migration,)
        return {name: row for name, row in marker.registry_ids.items() if name in told}

    def registry_rows(self, session: Session) -> list[int]:
        """Return the rows of the rollback that is being recovered."""
        marker = fence.look_up(session, Holder(self._holder.installation, self._subject, 0))
        return [] if marker is None else list(self._registry_ids(marker, whole=False).values())

    def record(self, session: Session, work: Work) -> None:
        """Write down that the objects are back."""
        del work  # It is what was prepared last.
        staying = selecting.keepings(self._parted)
        names = {each.kept.address.objid: each.kept.name for each in self._parted}
        registry.preserve(session, self._holder, self._migration, staying, names=names)
        self._recorded = len(staying)
        self._figures = selecting.figures(session, self._parted)
        taken = session.execute(
            "UPDATE emergency_backup.preserved_objects SET recovered_by = %s, recovered_at = clock_timestamp()"
            " WHERE id = ANY (%s) AND recovered_by IS NULL AND purged_by IS NULL",
            (self._holder.run, [kept.id for kept in self._kept]),
        )
        if taken != len(self._kept):
            raise LockNotAvailable(f"what run {self._subject} keeps was recovered or purged meanwhile")

    def outcome(self, session: Session, left: Mapping[str, str]) -> Outcome:
        """Say what rows did not let back, which stays preserved; keep what gave way to what came back."""
        staying = [kept for kept in self._kept if returning.may_be_left(kept) and returning.step(kept) in left]
        session.execute(
            "UPDATE emergency_backup.preserved_objects SET recovered_by = NULL, recovered_at = NULL"
            " WHERE id = ANY (%s)",
            ([kept.id for kept in staying],),
        )
        told: list[Json] = [{"step": step, "reason": reason} for step, reason in left.items()]
        names = {kept.id: kept.name for kept in self._kept if kept not in staying}
        merged = [each for each in self._again.merges if each.step not in left]
        met, gave_way = self._meetings.come_to(session, [*names, *(each.kept.id for each in merged)])
        self._preserve(session, gave_way)
        filling.forget(session, self._holder)
        if self._groundwork() and not self._parted and not gave_way:
            session.execute(f"DROP SCHEMA {quoted(self._aside)}")
        lists: dict[str, list[Json]] = {
            "tables": self._figures,
            "rows": [{"table": name, **met[number]} for number, name in names.items() if number in met],
            "merged": [_of_merge(each, met[each.kept.id]) for each in merged],
            "damaged": [*self._damaged],
            "there_again": [f"{kept.kind} {kept.name}" for kept in self._again.staying],
        }
        figures: dict[str, Json] = {"objects": len(names), "left_out": told}
        return Outcome({**figures, **{name: found for name, found in lists.items() if found}}, counting_steps(gave_way))

    def _preserve(self, session: Session, keepings: Sequence[Keeping]) -> None:
        names = relation_names(session, {oid for keeping in keepings for oid in keeping.locks})
        registry.preserve(session, self._holder, self._migration, keepings, names=names, after=self._recorded)
        self._recorded += len(keepings)

    def stage(self, session: Session, number: int) -> Stage:
        """Bring back, or take away what the rollback created, on the catalog as it is by now."""
        if grouping.is_created(self._groups[number]):
            return self._retire(session, self._groups[number])
        return self._restore(session, number)

    def record_stage(self, session: Session, number: int, created: Sequence[Row]) -> tuple[FinishStep, ...]:
        """Write down what was taken away, as this run's."""
        assert number < len(self._groups)  # noqa: S101 - a stage of ours
        del created  # They are what the rollback removed.
        self._preserve(session, self._retired)
        counting = counting_steps(self._retired)
        self._retired = ()
        return counting

    def _finish(self) -> tuple[FinishStep, ...]:
        back = grouping.moved(self._kept)
        finish = [
            returning.finish_step(kept, statement, self._aside, back)
            for kept in reversed(self._kept)
            for statement in kept.definition["finish"]
        ]
        finish += self._built.values()
        finish += [step for kept in reversed(self._kept) if (step := returning.looking_for_rows(kept)) is not None]
        finish += counting_steps(selecting.keepings(self._parted))
        if self._report is not None:
            finish.append(FinishStep("report", "report", check_report(self._report)))
        return tuple(finish)

    def _restore(self, session: Session, number: int) -> Stage:
        group = self._groups[number]
        closing, permits = self._closing(session, group)
        back: list[Change] = []
        explained = [permits]
        for kept in group:
            mended, by_mending = damage.mended(session, kept, self._everything)
            back += (returning.bring_back(session, kept, self._meetings, self._fills), *mended, *returning.rules(kept))
            explained += (returning.permits(session, kept), by_mending)
        return Stage(
            (*back, *closing),
            merge(explained),
            frozenset(returning.written(session, group)),
        )

    def _retire(self, session: Session, group: Sequence[Kept]) -> Stage:
        known = len(self._quarantine.names)
        self._retired = _retired(session, group, self._quarantine)
        closing, permits = self._closing(session, group)
        return Stage(
            (
                *(Change(f"create {n}", (f"CREATE SCHEMA {quoted(n)}",)) for n in self._quarantine.names[known:]),
                *(Change(f"take away {keeping.item.label()}", keeping.remove) for keeping in self._retired),
                *closing,
            ),
            merge([*(keeping.permits for keeping in self._retired), permits]),
        )

    def _closing(self, session: Session, group: Sequence[Kept]) -> tuple[tuple[Change, ...], Permits]:
        """Return what follows the last group: what is there again gets its rows once all else is back."""
        if group is not self._groups[-1]:
            return (), {}
        closed = (Change(f"close {name}", (f"DROP SCHEMA {quoted(name)}",)) for name in self._emptied)
        return (*self._merges, *closed), _schemas(session, self._emptied)

    def _foresee(self, session: Session, group: Sequence[Kept]) -> tuple[Change, ...]:
        """Say what a later stage will do, and refuse early what it could not."""
        if grouping.is_created(group):
            changed = frozenset(kept.address for kept in self._kept)
            retired = _retired(session, group, Quarantine(self._holder.run, self._quarantine.command_id), changed)
            return tuple(Change(f"take away {keeping.item.label()}", keeping.remove) for keeping in retired)
        away = grouping.moved(self._kept)
        # What belongs to a table that is itself still away is looked at when that is back.
        return tuple(
            Change(returning.step(kept), tuple(kept.definition["restore"]))
            if kept.address.objid in away
            else returning.bring_back(session, kept, self._meetings, self._fills)
            for kept in group
        )


def _retired(
    session: Session, group: Sequence[Kept], quarantine: Quarantine, changed: frozenset[Address] = frozenset()
) -> tuple[Keeping, ...]:
    """Say how what a rollback created is kept when it goes; what somebody has dropped since is left out.

    What is `changed` back before does not depend on it any more by then.

    Raises:
        Conflict: Something of others depends on it by now.
    """
    there = [kept.address for kept in group if _still_there(session, kept.address)]
    try:
        impact = of_addresses(session, there, "the rollback created it", changed)
    except ImpactNotAccepted as error:
        raise Conflict(
            f"what the rollback created is in use by now: {error.message}; drop that first, then recover"
        ) from error
    return compile_removal(session, impact, quarantine)


def _still_there(session: Session, address: Address) -> bool:
    found = session.value(
        "SELECT identity FROM pg_identify_object(%s::regclass, %s, %s) WHERE identity NOT LIKE 'emergency\\_backup%%'",
        (f"pg_catalog.{address.catalog}", address.objid, address.subid),
    )
    return found is not None


def _why_nothing(session: Session, subject: Holder, migration: str, marker: Marker | None) -> str:
    if marker is None:
        return f"run {subject.run} never completed on this target, so it keeps nothing"
    by = session.row(
        "SELECT count(*) AS objects, max(recovered_by) AS run,"
        " max(purged_by) FILTER (WHERE recovered_by IS NULL) AS purge FROM emergency_backup.preserved_objects"
        " WHERE installation = %s AND run = %s AND %s IN (migration, %s)",
        (subject.installation, subject.run, migration, marker.migration),
    )
    if by is not None and by["purge"] is not None:
        return f"run {subject.run} was purged by run {by['purge']}, so that nothing of it is left to bring back"
    if by is not None and by["run"] is not None:
        whose = "" if migration == marker.migration else f"{migration} of "
        return f"{whose}run {subject.run} was recovered already, by run {by['run']}"
    if migration != marker.migration:
        members = ", ".join(sorted(marker.registry_ids.keys() - {marker.migration})) or marker.migration
        return f"run {subject.run} keeps nothing of {migration}; it rolled back {members}"
    return f"run {subject.run} keeps nothing; only a rollback can be recovered"


_WHERE = "SELECT coalesce((SELECT oid FROM pg_class WHERE oid = %s), to_regclass(%s))::bigint"


def _of_merge(merge: Merge, figures: Mapping[str, Json]) -> dict[str, Json]:
    without: list[Json] = [*merge.without]
    return {"object": f"{merge.kept.kind} {merge.kept.name}", **figures, **({"without": without} if without else {})}


def _locks(session: Session, kept: Sequence[Kept], merged: Collection[int]) -> tuple[Lock, ...]:
    """Lock what the rollback locked, wherever it is now, what it created or created something on, and merged tables."""
    oids = {session.value(_WHERE, (oid, name)) for k in kept for name, oid in k.definition["locks"]}
    oids |= {k.definition["facts"]["table"] for k in kept if k.how == "created"}
    known = {*merged, *(oid for oid in oids if oid is not None)}
    # Partitions that were added since are altered with their table.
    return locks_of(session, dict.fromkeys(family.with_partitions(session, known), "ACCESS EXCLUSIVE"))


def _emptied(session: Session, kept: Sequence[Kept], staying: Sequence[Kept]) -> list[str]:
    """Return the quarantine schemas that hold nothing once this is back; copies stay where they are."""
    staying_there = {k.quarantine for k in kept if k.how != "moved"}
    full = staying_there | {k.quarantine for k in staying}
    candidates = sorted({k.quarantine for k in kept if k.quarantine is not None} - full)
    return [name for name in candidates if session.value("SELECT to_regnamespace(%s)", (quoted(name),)) is not None]


def _schemas(session: Session, names: Sequence[str]) -> Permits:
    found = session.rows("SELECT oid::bigint FROM pg_namespace WHERE nspname = ANY (%s)", (list(names),))
    return {Address("pg_namespace", row["oid"]): GONE for row in found}
