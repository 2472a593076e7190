"""Types move into quarantine, enum, composite, range or domain: what uses them there goes on using them."""

from __future__ import annotations

from worker.objects.keeping import Address, Item, Keeping, Permits, quoted
from worker.objects.quarantine import Quarantine
from worker.target import Session

#: The constructors of a range and its multirange, and the multirange.
_PARTS = """
WITH types AS (
    SELECT rngtypid AS oid FROM pg_range WHERE rngtypid = %(range)s
    UNION ALL
    SELECT rngmultitypid FROM pg_range WHERE rngtypid = %(range)s
)
SELECT 'FUNCTION' AS word, n.nspname AS schema, p.proname AS name,
       '(' || oidvectortypes(p.proargtypes) || ')' AS arguments, p.oid::bigint, 'pg_proc' AS catalog
  FROM types JOIN pg_depend AS d ON d.refclassid = 'pg_type'::regclass AND d.refobjid = types.oid AND d.deptype = 'i'
  JOIN pg_proc AS p ON d.classid = 'pg_proc'::regclass AND p.oid = d.objid
  JOIN pg_namespace AS n ON n.oid = p.pronamespace
UNION ALL
SELECT 'TYPE', n.nspname, t.typname, '', t.oid, 'pg_type'
  FROM types JOIN pg_type AS t ON t.oid = types.oid AND t.typtype = 'm' JOIN pg_namespace AS n ON n.oid = t.typnamespace
 ORDER BY 6, 5
"""


def keep(session: Session, item: Item, quarantine: Quarantine) -> Keeping:
    """Say how a type is kept: by `ALTER TYPE … SET SCHEMA`; its array type goes along, the parts of a range must be sent."""
    found = session.row(
        "SELECT t.typname AS name, n.nspname AS schema, CASE t.typtype WHEN 'd' THEN 'DOMAIN' ELSE 'TYPE' END AS word"
        " FROM pg_type AS t JOIN pg_namespace AS n ON n.oid = t.typnamespace WHERE t.oid = %s",
        (item.address.objid,),
    )
    assert found is not None  # noqa: S101 - the impact was computed in this transaction
    schema, name = found["schema"], found["name"]
    inside, word = quarantine.of(schema), found["word"]
    away = [
        *_parts(session, item.address.objid, quarantine),
        (f"{word} {quoted(schema, name)}", schema, f"{word} {quoted(inside, name)}", inside),
    ]
    return Keeping(
        item,
        remove=tuple(f"ALTER {home} SET SCHEMA {quoted(to)}" for home, _from, _there, to in away),
        restore=tuple(f"ALTER {there} SET SCHEMA {quoted(back)}" for _home, back, there, _to in reversed(away)),
        permits=moved(session, item.address.objid),
        quarantine=inside,
        facts={
            "schema": schema,
            "name": name,
            "type_must_be_free": quoted(schema, name),
            "also_must_be_free": [home for home, *_ in away[:-1]],
        },
    )


def _parts(session: Session, oid: int, quarantine: Quarantine) -> list[tuple[str, str, str, str]]:
    """Return what ALTER TYPE leaves behind of a range: constructors, which print while their arguments are at home, first.

    Returns:
        For each part how ALTER names it at home, its schema, how ALTER names it in quarantine, and that schema.
    """
    found = session.rows(_PARTS, {"range": oid})
    return [
        (
            f"{part['word']} {quoted(part['schema'], part['name'])}{part['arguments']}",
            part["schema"],
            f"{part['word']} {quoted(quarantine.of(part['schema']), part['name'])}{part['arguments']}",
            quarantine.of(part["schema"]),
        )
        for part in found
    ]


def moved(session: Session, oid: int) -> Permits:
    """Return the catalog rows that SET SCHEMA of a type changes."""
    found = session.row("SELECT typarray::bigint, typrelid::bigint FROM pg_type WHERE oid = %s", (oid,))
    assert found is not None  # noqa: S101 - as above
    permits: dict[Address, frozenset[str]] = {Address("pg_type", oid): frozenset({"typnamespace"})}
    if found["typarray"]:
        permits[Address("pg_type", found["typarray"])] = frozenset({"typnamespace"})
    if found["typrelid"]:
        permits[Address("pg_class", found["typrelid"])] = frozenset({"relnamespace"})
    for row in session.rows("SELECT oid::bigint FROM pg_constraint WHERE contypid = %s", (oid,)):
        permits[Address("pg_constraint", row["oid"])] = frozenset({"connamespace"})
    for part in session.rows(_PARTS, {"range": oid}):
        column = "pronamespace" if part["catalog"] == "pg_proc" else "typnamespace"
        permits[Address(part["catalog"], part["oid"])] = frozenset({column})
        if part["catalog"] == "pg_type":
            array = session.value("SELECT typarray::bigint FROM pg_type WHERE oid = %s", (part["oid"],))
            permits[Address("pg_type", array)] = frozenset({"typnamespace"})
    return permits
