"""Which section of a rollback a change belongs to: the steps that operators know it by, as the summary shows them."""

from __future__ import annotations

from worker.objects.keeping import Action, Item
from worker.work import Section

_OF_KIND = {
    "table": Section.TABLES_REMOVAL,
    "materialized view": Section.TABLES_REMOVAL,
    "sequence": Section.TABLES_REMOVAL,
    "table column": Section.COLUMN_REMOVAL,
    "table constraint": Section.CONSTRAINTS_REMOVAL,
    "type": Section.ENUMS_REMOVAL,
    "composite type": Section.ENUMS_REMOVAL,
}


def of_item(item: Item) -> Section:
    """Return the section in which an object is removed."""
    if item.action is Action.COPIED:
        return Section.COLUMN_REMOVAL
    return _OF_KIND.get(item.kind, Section.DEFINITIONS_REMOVAL)
