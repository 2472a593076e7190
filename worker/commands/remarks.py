"""Remarks of preflight on what a plan removes: who speaks of it by name, what it pins, what its name would mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ledger.errors import PlanRefused
from worker.objects.keeping import Action, Item, Keeping
from worker.objects.remarks import Mention, Pin
from worker.plan import leaving, mentions, pins, shadows
from worker.plan.acceptance import advised
from worker.plan.leaving import Leaving
from worker.plan.source import Plan
from worker.plan.stages import Stage
from worker.plan.statements import Named
from worker.target import Session


@dataclass(frozen=True)
class Remarks:
    """What there is to say, beyond what is done."""

    mentions: tuple[Mention, ...]
    pins: tuple[Pin, ...]
    notes: tuple[str, ...]


_PUBLISHING_ALL = "SELECT pubname::text AS name FROM pg_publication WHERE puballtables ORDER BY 1"


def remark(
    session: Session, plan: Plan, stages: Sequence[Stage], items: Sequence[Item], keepings: Sequence[Keeping]
) -> Remarks:
    """Look for whatever knows what goes by name only, and for what is held fast by it.

    Args:
        session: In the target, before the plan has run.
        plan: Says what it accepts.
        stages: All of the plan.
        items: Its whole impact.
        keepings: How all of that is kept.

    Raises:
        PlanRefused: A name that goes would silently mean another object.
    """
    renamed = {k.item.address for k in keepings if k.facts.get("what") in {"name", "schema"}}
    names = leaving.names_of(session, items, renamed, [new for new, _ in _introduced(stages)])
    _refuse_shadows(session, plan, names)
    notes = tuple(
        f"publication {row['name']} publishes all tables, those of quarantine too: who subscribes to it needs them"
        for row in session.rows(_PUBLISHING_ALL)
    )
    return Remarks(mentions.find(session, names, _going(items, keepings)), pins.find(session, items), notes)


def _introduced(stages: Sequence[Stage]) -> list[tuple[Named, Named | None]]:
    return [pair for stage in stages if stage.performed is not None for pair in stage.performed.introduces]


def _going(items: Sequence[Item], keepings: Sequence[Keeping]) -> set[int]:
    """Return the functions and procedures that the plan removes or replaces: what these mention says nothing."""
    removed = {item.address for item in items if item.action is Action.DEFINED}
    replaced = {keeping.item.address for keeping in keepings if keeping.facts.get("what") == "definition"}
    return {address.objid for address in removed | replaced if address.catalog == "pg_proc"}


def _refuse_shadows(session: Session, plan: Plan, names: Sequence[Leaving]) -> None:
    found = [shadow for shadow in shadows.find(session, names) if shadow.other not in plan.accepts]
    if found:
        told = "; ".join(shadow.told() for shadow in found)
        others = sorted({shadow.other for shadow in found})
        raise PlanRefused(
            f"{told}: queries that do not say the schema would silently go to the other one. Give that another name"
            f" first; or, if that is meant, {advised(plan, 'accepts', others)}"
        )
