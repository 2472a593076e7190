"""What a statement changes and nothing else: it is written down as the SQL that sets it to what it was.

One aspect for each thing that ALTER, RENAME or COMMENT can change. Each says which SQL sets it to what it is now, and
which catalog rows a change of it explains: the same for the way there and the way back.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final
from uuid import UUID

from ledger.model import Json
from worker.objects import (
    altered_columns,
    altered_grants,
    altered_names,
    altered_tables,
    altered_ties,
    altered_types,
    definition,
    function,
    ownership,
    view,
)
from worker.objects.aspect import Aspect
from worker.objects.keeping import Action, Address, Item, Keeping, Permits
from worker.objects.quarantine import Quarantine
from worker.objects.subject import Subject, subject
from worker.target import Session


def keep(session: Session, what: str, address: Address, detail: str, line: int) -> Keeping:
    """Say how one thing about an object is kept while a statement changes it.

    Args:
        session: In the target, before the change.
        what: Key of `_ASPECTS`.
        address: The object.
        detail: What the aspect needs to know besides: the name that it is given, which triggers.
        line: Of the statement, in the plan.
    """
    of = subject(session, address)
    item = Item(address, of.kind, of.identity, f"line {line} changes its {what}", Action.CHANGED, relation=of.relation)
    if what == "definition":
        return _redefined(session, of, item)
    aspect = _ASPECTS[what]
    return Keeping(
        item,
        remove=(),
        restore=tuple(aspect.restore(session, of, detail)),
        finish=tuple(aspect.finish(session, of)),
        locks=aspect.around(session, of) | _own_lock(aspect, of),
        permits=aspect.permits(session, of, detail),
        facts={"what": what, "detail": detail, **aspect.facts(session, of, detail, line)},
    )


def _own_lock(aspect: Aspect, of: Subject) -> frozenset[int]:
    return frozenset({of.relation}) if aspect.locks and of.relation is not None else frozenset()


def permits(session: Session, what: str, address: Address, detail: str) -> Permits:
    """Return the catalog rows that a change of one thing about an object explains, as the catalog stands."""
    identity = session.value(
        "SELECT identity FROM pg_identify_object(%s::regclass, %s, %s)",
        (f"pg_catalog.{address.catalog}", address.objid, address.subid),
    )
    if identity is None:
        # What was dropped after it was changed comes back as another: nobody has seen that one yet.
        return {}
    of = subject(session, address)
    if what == "definition":
        item = Item(address, of.kind, of.identity, "", Action.CHANGED, relation=of.relation)
        return _whole(session, of, item).permits
    return _ASPECTS[what].permits(session, of, detail)


_ASPECTS: Final[Mapping[str, Aspect]] = {
    **altered_columns.ASPECTS,
    **altered_grants.ASPECTS,
    **altered_names.ASPECTS,
    **altered_tables.ASPECTS,
    **altered_ties.ASPECTS,
    **altered_types.ASPECTS,
}


def settings_of(session: Session, address: Address) -> tuple[str, ...]:
    """Return what gives a column its default and settings again, where something else has taken them away."""
    of = subject(session, address)
    return (*altered_columns.default(session, of, ""), *altered_columns.settings(session, of, ""))


def _whole(session: Session, of: Subject, item: Item) -> Keeping:
    """Say how an object would be kept if it were dropped; it needs no quarantine."""
    nowhere = Quarantine(0, UUID(int=0))
    if of.address.catalog == "pg_proc":
        return function.keep(session, item, nowhere)
    return view.keep(session, item, nowhere) if of.kind == "view" else definition.keep(session, item, nowhere)


def _redefined(session: Session, of: Subject, item: Item) -> Keeping:
    """Say how an object is kept that is replaced, or altered in ways that only all of its definition can undo."""
    whole = _whole(session, of, item)
    facts: dict[str, Json] = {"what": "definition", "detail": ""}
    # Triggers, rules and policies have nothing of their own that others depend on.
    restore = (*whole.remove, *whole.restore)
    if of.kind == "view" or of.address.catalog == "pg_proc":
        restore = tuple(
            statement.replace(f"CREATE {word}", f"CREATE OR REPLACE {word}", 1)
            for statement in whole.restore
            for word in [of.word]
            if statement.startswith((f"CREATE {word}", "SET LOCAL"))
        )
        facts["otherwise"] = [*whole.remove, *whole.restore]
        facts["columns"] = _columns(session, of.address)
        facts["grants"], facts["column_grants"] = whole.facts.get("grants"), whole.facts.get("column_grants", [])
    return Keeping(item, remove=(), restore=restore, locks=whole.locks, permits=whole.permits, facts=facts)


def _columns(session: Session, address: Address) -> int:
    """Return how many columns a view has; 0 for anything else."""
    count: int = session.value(
        "SELECT count(*) FROM pg_attribute WHERE attrelid = %s AND attnum > 0 AND NOT attisdropped AND %s",
        (address.objid, address.catalog == "pg_class"),
    )
    return count


def looks_again(facts: Mapping[str, Any]) -> bool:
    """Whether what undoes a change depends on what else has come back by then."""
    aspect = _ASPECTS.get(facts.get("what", ""))
    return aspect is not None and aspect.back is not None


def back(session: Session, address: Address, restore: Sequence[str], facts: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the statements that change something back, as the object is by now.

    Args:
        session: In the target.
        address: The object.
        restore: What was written down for it.
        facts: Likewise.
    """
    aspect = _ASPECTS.get(facts["what"])
    if aspect is not None and aspect.back is not None:
        return tuple(aspect.back(session, address, facts))
    if "otherwise" in facts and (_columns(session, address) or sys.maxsize) > facts["columns"] > 0:
        # A view cannot be replaced by one with fewer columns; one that was dropped since has its number no more.
        return (*facts["otherwise"], *ownership.grants(session, facts["grants"]), *facts["column_grants"])
    return tuple(restore)
