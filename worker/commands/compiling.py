"""Compiling one stage of a plan: what it reaches, how that is kept, and the exact statements."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from worker.commands import sections
from worker.commands.backup_views import make_views
from worker.commands.rights import plan_owner
from worker.objects import rows
from worker.objects.keeping import Action, Address, Item, Keeping, Permits, merge, quoted
from worker.objects.quarantine import Quarantine
from worker.objects.row_events import Watched
from worker.online.choice import Chooser
from worker.plan import preserves
from worker.plan import stages as plan_stages
from worker.plan.compile import (
    compile_performed,
    compile_removal,
    files,
    rewritten_tables,
    sequence_positions,
    table_locks,
    watched_tables,
)
from worker.plan.impact import compute
from worker.plan.parse import Script
from worker.plan.shapes import refuse_others
from worker.plan.source import Plan
from worker.plan.stages import Foreseen, split
from worker.plan.statements import words
from worker.target import Session
from worker.work import Change, Section


@dataclass(frozen=True)
class Staged:
    """A stage, and the plan whose it is: that of the run, or a member of it."""

    plan: Plan
    stage: plan_stages.Stage
    #: Its place in the run, from 0: what it keeps is told apart by it.
    number: int
    #: Tables that the plan says its code may change, as OIDs.
    preserved: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Compiled:
    """One stage of the plan, as the catalog stands."""

    plan: Plan
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
    #: Objects of others, which somebody must accept.
    unaccepted: tuple[Item, ...] = ()
    #: Tables that may have new files when it has run, as OIDs.
    rewritten: frozenset[int] = frozenset()


def staged(session: Session, scripts: Sequence[tuple[Plan, Script]]) -> tuple[Staged, ...]:
    """Return the stages of some scripts, one after the other; the first holds removals only, and may be empty.

    Raises:
        PlanRefused: A plan preserves a table that does not exist.
    """
    preserved = {plan.migration: preserves.tables(session, plan.options.preserves) for plan, _script in scripts}
    found = [(plan, stage) for plan, script in scripts for stage in split(script.statements)]
    filled = [found[0], *((plan, stage) for plan, stage in found[1:] if stage.removals or stage.performed is not None)]
    return tuple(Staged(plan, stage, number, preserved[plan.migration]) for number, (plan, stage) in enumerate(filled))


def compile_stage(
    session: Session,
    staged: Staged,
    quarantine: Quarantine,
    foreseen: Foreseen | None = None,
    changed: frozenset[Address] = frozenset(),
    *,
    online: Chooser | None = None,
    rewritten: frozenset[int] = frozenset(),
    doomed: Collection[Address] = (),
) -> Compiled:
    """Say what a stage does on the catalog as it is.

    Args:
        session: In the target.
        staged: The stage.
        quarantine: Where things go.
        foreseen: In preflight, leads names that the script changes before back to what they are now.
        changed: In preflight, what the stages before change.
        rewritten: Tables that may have new files since earlier stages, as OIDs.
        doomed: What later stages drop or change.
        online: Lets columns of large tables rely on copies that are made before apply.

    Raises:
        Refused: Any reason not to do it.
    """
    stage = staged.stage
    known = len(quarantine.names)
    if stage.performed is not None:
        return _performed(session, staged, quarantine, foreseen, rewritten)
    impact = compute(session, stage.removals, foreseen, changed, doomed)
    keepings = compile_removal(session, impact, quarantine)
    if online is not None:
        keepings = online.use(session, keepings, staged.plan.options.online_rows, staged.number)
    made = set() if online is None else {copy.quarantine for copy in online.copies}
    views, view_permits = make_views(session, keepings, staged.plan.options.backup_views)
    return Compiled(
        staged.plan,
        impact.items,
        impact.absent,
        keepings,
        (*(Change(_verb(k), k.remove, section=sections.of_item(k.item)) for k in keepings), *views),
        merge([*(keeping.permits for keeping in keepings), view_permits]),
        groundwork=_schemas([name for name in quarantine.names[known:] if name not in made]),
        unaccepted=impact.unaccepted,
    )


def _performed(
    session: Session,
    staged: Staged,
    quarantine: Quarantine,
    foreseen: Foreseen | None,
    rewritten: frozenset[int],
) -> Compiled:
    performed = staged.stage.performed
    assert performed is not None  # noqa: S101 - the caller looked
    known = len(quarantine.names)
    owner = plan_owner(session, staged.plan)
    keepings = compile_performed(session, performed, quarantine, foreseen)
    watched = watched_tables(
        session, performed, staged.number, foreseen, preserved=staged.preserved, rewritten=rewritten
    )
    new_files = rewritten_tables(session, performed, keepings, watched)
    keepings = (*keepings, *sequence_positions(session, performed, watched))
    before, after = _watching(watched, quarantine)
    told = f"line {performed.line}: {words(performed.text)}"
    stage = staged.stage
    run = Change(told, (performed.text,), owner, stage.path, section=Section.STATEMENTS, settings=stage.settings)
    permits = [*(keeping.permits for keeping in keepings), files(session, performed, watched)]
    locks = table_locks(session, performed, foreseen)
    locks.update(dict.fromkeys((table.oid for table in watched), "ACCESS EXCLUSIVE"))
    items = (*(keeping.item for keeping in keepings), *(rows.item(table, performed.line) for table in watched))
    refuse_others(session, items, performed.line)
    return Compiled(
        staged.plan,
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
        rewritten=new_files,
    )


def _schemas(names: Sequence[str]) -> tuple[Change, ...]:
    return tuple(Change(f"create {name}", (f"CREATE SCHEMA {quoted(name)}",), section=Section.BACKUP) for name in names)


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


def _verb(keeping: Keeping) -> str:
    verb = {Action.MOVED: "move", Action.COPIED: "copy and drop", Action.DEFINED: "write down and drop"}
    return f"{verb[keeping.item.action]} {keeping.item.label()}"
