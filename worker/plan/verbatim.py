"""Statements that are run as they are written, of every kind that is known."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from worker.plan import altering, creating, writing
from worker.plan.performed import Found, Performed

_READERS: Final[Mapping[type, Callable[[Any, int], Found]]] = {
    **altering.READERS,
    **creating.READERS,
    **writing.READERS,
}


def read(stmt: object, line: int, text: str) -> Performed | None:
    """Read a statement that can be run as it is written; None if it is not one.

    Raises:
        PlanRefused: Something in it could not be changed back.
    """
    reader = _READERS.get(type(stmt))
    if reader is None:
        return None
    found = reader(stmt, line)
    return Performed(
        tuple(found.alterations),
        tuple(found.introduces),
        tuple(found.locks),
        tuple(dict.fromkeys(found.writes)),
        tuple(dict.fromkeys(found.rewrites)),
        found.opaque,
        found.truncates,
        found.restarts,
        line,
        text,
    )
