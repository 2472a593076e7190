"""Views in emergency_backup under the names that operators look for: `<table>_backup`, on the newest copy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from worker.objects.keeping import Keeping, Permits, merge, quoted
from worker.objects.view import dropped
from worker.target import Session
from worker.work import Change

_SCHEMA = "emergency_backup"
_MAX_IDENTIFIER_BYTES = 63


def view_name(table: str) -> str:
    """Return the name of the view for a table, within the server's limit."""
    suffix = "_backup"
    cut = table.encode()[: _MAX_IDENTIFIER_BYTES - len(suffix)].decode(errors="ignore")
    return cut + suffix


def make_views(session: Session, keepings: Sequence[Keeping], names: Mapping[str, str]) -> tuple[list[Change], Permits]:
    """Return what makes the views of a rollback anew, and what this explains to the proof.

    A table of that name, left by somebody's own script, is never touched.

    Args:
        session: In the target.
        keepings: How everything is kept.
        names: What the plan calls the views of some tables.
    """
    changes: list[Change] = []
    permits: list[Permits] = []
    tables = {}
    for keeping in keepings:
        if keeping.relation is not None and keeping.quarantine is not None:
            # By the view's name: two tables may have one name, or names that begin alike; the last is shown.
            source = str(keeping.facts.get("source", keeping.relation))
            name = names.get(source) or view_name(source)
            tables[name] = quoted(keeping.quarantine, keeping.relation)
    for name, inside in tables.items():
        oid, relkind = _there(session, name)
        if oid is not None and relkind != "v":
            continue
        drop = () if oid is None else (f"DROP VIEW {quoted(_SCHEMA, name)}",)
        changes.append(_show(name, inside, *drop))
        if oid is not None:
            permits.append(dropped(session, oid))
    return changes, merge(permits)


#: Views of this schema on some tables in quarantine, given as schema and name.
_ON = """
  FROM unnest(%(schemas)s::name[], %(names)s::name[]) AS kept (schema, name)
  JOIN pg_namespace AS n ON n.nspname = kept.schema
  JOIN pg_class AS t ON t.relnamespace = n.oid AND t.relname = kept.name
  JOIN pg_depend AS d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = t.oid
  JOIN pg_rewrite AS w ON d.classid = 'pg_rewrite'::regclass AND w.oid = d.objid
  JOIN pg_class AS v ON v.oid = w.ev_class AND v.relkind = 'v'
  JOIN pg_namespace AS vn ON vn.oid = v.relnamespace AND vn.nspname = %(home)s
"""

_FOUND = f"SELECT DISTINCT v.oid::bigint, v.relname AS name {_ON} ORDER BY 2"

_NEXT = f"""
SELECT DISTINCT ON (v.relname) v.relname AS name, other.quarantine, other.relation
{_ON}
  JOIN emergency_backup.preserved_objects AS own ON own.quarantine = kept.schema AND own.relation = kept.name
  JOIN emergency_backup.preserved_objects AS other
    ON coalesce(other.definition #>> '{{facts,source}}', other.relation::text)
       = coalesce(own.definition #>> '{{facts,source}}', own.relation::text)
   AND (other.installation, other.run) <> (own.installation, own.run)
   AND other.recovered_by IS NULL AND other.purged_by IS NULL
   AND to_regclass(quote_ident(other.quarantine) || '.' || quote_ident(other.relation)) IS NOT NULL
 ORDER BY v.relname, other.preserved_at DESC, other.id DESC
"""


def drop_views(session: Session, kept: Sequence[tuple[str | None, str | None]]) -> tuple[list[Change], Permits]:
    """Return what takes away the views on some tables in quarantine, given as schema and name."""
    found = session.rows(_FOUND, _asked(kept))
    changes = [Change(f"hide {_SCHEMA}.{row['name']}", (f"DROP VIEW {quoted(_SCHEMA, row['name'])}",)) for row in found]
    return changes, merge([dropped(session, row["oid"]) for row in found])


def show_next(session: Session, kept: Sequence[tuple[str | None, str | None]]) -> list[Change]:
    """Return what makes the views on some tables anew once these are gone: on the newest that is kept by then."""
    return [_show(row["name"], quoted(row["quarantine"], row["relation"])) for row in session.rows(_NEXT, _asked(kept))]


def _asked(kept: Sequence[tuple[str | None, str | None]]) -> dict[str, object]:
    schemas, names = [schema for schema, _name in kept], [name for _schema, name in kept]
    return {"schemas": schemas, "names": names, "home": _SCHEMA}


def _show(name: str, inside: str, *before: str) -> Change:
    create = f"CREATE VIEW {quoted(_SCHEMA, name)} AS SELECT * FROM {inside}"
    return Change(f"show {_SCHEMA}.{name}", (*before, create))


def _there(session: Session, name: str) -> tuple[int | None, str | None]:
    row = session.row(
        "SELECT c.oid::bigint, c.relkind::text FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace"
        " WHERE n.nspname = %s AND c.relname = %s",
        (_SCHEMA, name),
    )
    return (None, None) if row is None else (row["oid"], row["relkind"])
