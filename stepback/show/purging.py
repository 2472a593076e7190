"""Purges as tables: what would be deleted, and what was."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType

from stepback.purging import Doomed
from stepback.show.console import plain, table
from stepback.show.tables import count, moment, size

_NUMBERS = frozenset({"run", "rows", "bytes"})


def of_doomed(target: str, doomed: Sequence[Doomed]) -> RenderableType:
    """Return what a purge would delete, and how much that is."""
    made = table("run", "migration", "kind", "what it was", "rows", "bytes", "preserved at", numbers=_NUMBERS)
    for each in doomed:
        for stored in each.stored:
            made.add_row(
                str(each.run),
                plain(each.migration),
                plain(stored.kind),
                plain(stored.was or stored.name),
                count(stored.rows),
                size(stored.bytes),
                moment(stored.preserved_at),
            )
        if each.texts:
            made.add_row(str(each.run), plain(each.migration), "text", f"{each.texts} definition(s) and changes")
    things = sum(len(each.stored) for each in doomed)
    total = f"{things} object(s) of {len(doomed)} run(s), {size(sum(each.bytes for each in doomed))}"
    return Group(plain(f"to be deleted for good from {target}:", "bold"), made, plain(f"total: {total}", "bold"))
