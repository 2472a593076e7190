"""Names that nothing answers to once the plan has run: of what it removes, renames, or puts into another schema."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from worker.objects.keeping import Action, Address, Item
from worker.plan.statements import Named
from worker.target import Session


@dataclass(frozen=True)
class Leaving:
    """A name that goes."""

    address: Address
    #: As messages call the object: "table public.orders".
    label: str
    schema: str
    #: Plain; for a column, that of its table.
    name: str
    #: Plain name of a column; None for anything else.
    column: str | None
    #: Types of the arguments of a routine, as pg_proc writes them.
    arguments: str | None


_NAMES = """
WITH gone AS (
    SELECT * FROM unnest(%(catalogs)s::text[], %(objids)s::oid[], %(subids)s::integer[]) WITH ORDINALITY
                    AS g (catalog, objid, subid, place)
)
SELECT g.place, n.nspname::text AS schema, c.relname::text AS name, a.attname::text AS column, NULL AS arguments
  FROM gone AS g JOIN pg_class AS c ON c.oid = g.objid JOIN pg_namespace AS n ON n.oid = c.relnamespace
  LEFT JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum = g.subid AND g.subid > 0
 WHERE g.catalog = 'pg_class'
UNION ALL
SELECT g.place, n.nspname, t.typname, NULL, NULL
  FROM gone AS g JOIN pg_type AS t ON t.oid = g.objid JOIN pg_namespace AS n ON n.oid = t.typnamespace
 WHERE g.catalog = 'pg_type'
UNION ALL
SELECT g.place, n.nspname, p.proname, NULL, p.proargtypes::text
  FROM gone AS g JOIN pg_proc AS p ON p.oid = g.objid JOIN pg_namespace AS n ON n.oid = p.pronamespace
 WHERE g.catalog = 'pg_proc'
UNION ALL
SELECT g.place, n.nspname, n.nspname, NULL, NULL
  FROM gone AS g JOIN pg_namespace AS n ON n.oid = g.objid
 WHERE g.catalog = 'pg_namespace'
 ORDER BY 1
"""

_GOING = frozenset({Action.MOVED, Action.COPIED, Action.DEFINED})


def names_of(
    session: Session, items: Iterable[Item], renamed: Collection[Address], introduced: Iterable[Named]
) -> tuple[Leaving, ...]:
    """Return the names that go.

    Args:
        session: In the target, before the plan has run.
        items: The impact.
        renamed: What the plan gives another name or schema.
        introduced: Names that the plan itself gives to something: these go on meaning something.
    """
    going = [i for i in items if i.kind != "rows" and (i.action in _GOING or i.address in renamed)]
    unique = list({item.address: item for item in going}.values())
    found = session.rows(
        _NAMES,
        {
            "catalogs": [item.address.catalog for item in unique],
            "objids": [item.address.objid for item in unique],
            "subids": [item.address.subid for item in unique],
        },
    )
    names = (
        Leaving(
            (item := unique[row["place"] - 1]).address,
            item.label(),
            row["schema"],
            row["name"],
            row["column"],
            row["arguments"],
        )
        for row in found
    )
    again = list(introduced)
    return tuple(name for name in names if not any(_is_given(name, named) for named in again))


#: Kinds of which no two in one schema have the same name, by the catalog that they stand in.
_SHARING = {
    "pg_class": frozenset({"table", "view", "materialized view", "sequence", "index"}),
    "pg_type": frozenset({"type", "domain", "table", "view"}),
    "pg_proc": frozenset({"function", "procedure", "aggregate", "routine"}),
    "pg_namespace": frozenset({"schema"}),
}


def _is_given(name: Leaving, named: Named) -> bool:
    """Whether the plan gives a name to something; a schema counts where it says one."""
    if named.kind == "column" or name.column is not None:
        return named.kind == "column" and (named.name[-1], named.part) == (name.name, name.column)
    same = named.part is None and named.kind in _SHARING[name.address.catalog] and named.name[-1] == name.name
    return same and (len(named.name) == 1 or named.name[0] == name.schema)
