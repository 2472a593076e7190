"""A stamp of everything the catalog says about some objects: equal stamps, nothing about them changed in between.

The impact is computed and compiled before the locks, which takes tens of milliseconds; under them one stamp tells
whether it still holds.
"""

from __future__ import annotations

from collections.abc import Iterable

from worker.objects.keeping import Item
from worker.target import Session
from worker.work import Lock

#: Where the catalog says something about an object, and the columns that name it. A row that is written anew gets
#: another ctid and xmin; a row that is gone or new changes the count.
_ABOUT = {
    "pg_aggregate": ("aggfnoid",),
    "pg_attrdef": ("oid", "adrelid"),
    "pg_attribute": ("attrelid",),
    "pg_class": ("oid",),
    "pg_constraint": ("oid", "conrelid", "contypid"),
    "pg_description": ("objoid",),
    "pg_enum": ("enumtypid",),
    "pg_index": ("indexrelid", "indrelid"),
    "pg_inherits": ("inhrelid", "inhparent"),
    "pg_namespace": ("oid",),
    "pg_partitioned_table": ("partrelid",),
    "pg_policy": ("oid", "polrelid"),
    "pg_proc": ("oid",),
    "pg_publication_rel": ("oid", "prrelid"),
    "pg_range": ("rngtypid",),
    "pg_rewrite": ("oid", "ev_class"),
    "pg_sequence": ("seqrelid",),
    "pg_statistic_ext": ("oid", "stxrelid"),
    "pg_trigger": ("oid", "tgrelid"),
    "pg_type": ("oid",),
}

#: What this transaction itself has made, as a table for rows that do not go back, is no change by others.
_OTHERS = "xmin <> pg_current_xact_id()::xid"

#: Dependencies in both directions; the classes let the server use its indexes.
_DEPENDENCIES = f"""
SELECT 'pg_depend' || ctid || xmin FROM pg_catalog.pg_depend
 WHERE ((classid = ANY (%(classes)s::regclass[]) AND objid = ANY (%(oids)s::oid[]))
    OR (refclassid = ANY (%(classes)s::regclass[]) AND refobjid = ANY (%(oids)s::oid[]))) AND {_OTHERS}
"""
_CLASSES = [name for name, columns in _ABOUT.items() if "oid" in columns]

#: How the server would write a view or a function down now: they name what they use, which may be renamed.
_DEFINITIONS = """
SELECT pg_get_viewdef(oid) FROM pg_catalog.pg_class WHERE oid = ANY (%(oids)s::oid[]) AND relkind = 'v'
UNION ALL
SELECT pg_get_functiondef(oid) FROM pg_catalog.pg_proc WHERE oid = ANY (%(oids)s::oid[]) AND prokind <> 'a'
"""

#: OIDs of different catalogs may be the same number: then more than meant is looked at, which does no harm.
_STAMP = "SELECT md5(string_agg(line, ',' ORDER BY line)) FROM ({parts}) AS rows (line)".format(
    parts=" UNION ALL ".join(
        f"SELECT '{catalog}' || ctid || xmin FROM pg_catalog.{catalog}"
        f" WHERE ({' OR '.join(f'{column} = ANY (%(oids)s::oid[])' for column in columns)}) AND {_OTHERS}"
        for catalog, columns in _ABOUT.items()
    )
    + " UNION ALL "
    + _DEPENDENCIES
    + " UNION ALL "
    + _DEFINITIONS
)


def take(session: Session, items: Iterable[Item], locks: Iterable[Lock]) -> str:
    """Return the stamp of some objects and of the tables that are locked for them."""
    oids = {item.address.objid for item in items} | {lock.relation for lock in locks}
    stamp: str = session.value(_STAMP, {"oids": sorted(oids), "classes": _CLASSES})
    return stamp
