"""A script in stages: what is only removed is compiled at once; what is run as written changes what comes after it.

The first stage is compiled before any lock is taken. Each later one is compiled when those before it have run, inside
the same transaction, on the catalog as they left it. Preflight foresees the later ones on the catalog as it is, with
names that only come to be in the script led back to what they are now.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from worker.plan.parse import Statement
from worker.plan.performed import Performed
from worker.plan.statements import Named, Removal
from worker.plan.wrapping import Path, Setting


@dataclass(frozen=True)
class Stage:
    """Statements that are compiled together: removals, or one that is run as it is written."""

    removals: tuple[Removal, ...] = ()
    performed: Performed | None = None
    #: Schemas that names in it are resolved with; None for the target's own.
    path: tuple[str, ...] | None = None
    #: What the script has set before, by the name of the setting.
    settings: Mapping[str, str] = field(default_factory=dict)

    @property
    def line(self) -> int:
        """The line that it begins on, counted from 1."""
        return self.removals[0].line if self.performed is None else self.performed.line


def split(statements: Iterable[Statement]) -> tuple[Stage, ...]:
    """Return the stages of a script; the first holds removals only, and may be empty."""
    stages: list[Stage] = [Stage()]
    path: tuple[str, ...] | None = None
    settings: dict[str, str] = {}
    for statement in statements:
        match statement:
            case Path():
                path = statement.schemas
            case Setting():
                settings = {**settings, statement.name: statement.value}
            case Removal() if stages[-1].performed is None and path == stages[-1].path:
                stages[-1] = replace(stages[-1], removals=(*stages[-1].removals, statement))
            case Removal():
                stages.append(Stage((statement,), path=path))
            case Performed():
                stages.append(Stage(performed=statement, path=path, settings=settings))
    return tuple(stages)


class Foreseen:
    """Names as they will be when a stage is reached, led back to names as they are now."""

    def __init__(self, before: Sequence[Stage]) -> None:
        self._introduced = [
            pair for stage in before if stage.performed is not None for pair in stage.performed.introduces
        ]

    def led_back(self, named: Named) -> Named | None:
        """Return what an object is called now; None for one that the script itself makes."""
        for now, was in reversed(self._introduced):
            if now.part is None and _same_name(now, named):
                if was is None:
                    return None
                named = replace(
                    named,
                    name=was.name,
                    arguments=named.arguments if named.part is None else None,
                    missing_ok=named.missing_ok or was == now,
                )
            elif now.part is not None and now.part == named.part and _same_name(now, named):
                if was is None:
                    return None
                named = replace(named, part=was.part, missing_ok=named.missing_ok or was == now)
        return named


def _same_name(one: Named, other: Named) -> bool:
    """Whether two names may mean the same: a schema counts where both say one, and so do arguments."""
    if None not in (one.arguments, other.arguments) and one.arguments != other.arguments:
        return False
    if one.name[-1] != other.name[-1]:
        return False
    return len(one.name) == 1 or len(other.name) == 1 or one.name[0] == other.name[0]
