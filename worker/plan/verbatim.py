"""Statements that are run as they are written, of every kind that is known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from worker.plan import creating, naming, redefining, writing
from worker.plan.performed import Performed, Reader

READERS: Final[Mapping[type, Reader]] = {
    **redefining.READERS,
    **naming.READERS,
    **creating.READERS,
    **writing.READERS,
}


def read(stmt: object, line: int, text: str) -> Performed | None:
    """Read a statement that can be run as it is written; None if it is not one.

    Raises:
        PlanRefused: Something in it could not be changed back.
    """
    reader = READERS.get(type(stmt))
    if reader is None:
        return None
    found = reader.read(stmt, line)
    return Performed(
        tuple(found.alterations),
        tuple(found.introduces),
        tuple(found.locks),
        tuple(dict.fromkeys(found.writes)),
        tuple(dict.fromkeys(found.rewrites)),
        found.opaque,
        found.truncates,
        found.restarts,
        found.cascades,
        line,
        text,
    )
