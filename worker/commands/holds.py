"""What holds on to something that is to be purged: another run, an object outside, somebody's own table in between."""

from __future__ import annotations

from collections.abc import Sequence

from ledger.errors import StillNeeded
from worker.fence import Holder
from worker.stock import Stored, Ties
from worker.target import Session

_INSIDE = """
WITH inside (classid, objid) AS (
    SELECT ('pg_catalog.' || catalog)::regclass::oid, objid
      FROM unnest(%(catalogs)s::text[], %(objids)s::oid[]) AS i (catalog, objid)
), schemas AS (
    SELECT oid FROM pg_namespace WHERE nspname = ANY (%(schemas)s::text[])
)
"""

#: What depends on something that goes and does not go itself. A view of ours on a kept table goes along; so would an
#: object elsewhere that the server takes for a part, and it is held as well.
_OUTSIDE = (
    _INSIDE
    + """
SELECT DISTINCT pg_describe_object(d.classid, d.objid, d.objsubid) AS outside,
       pg_describe_object(d.refclassid, d.refobjid, 0) AS inside,
       (regexp_match(n.nspname, '^emergency_backup_r([0-9]+)_'))[1]::bigint AS run
  FROM inside AS i
  JOIN pg_depend AS d ON d.refclassid = i.classid AND d.refobjid = i.objid
  LEFT JOIN pg_attrdef AS a ON d.classid = 'pg_attrdef'::regclass AND a.oid = d.objid
  LEFT JOIN pg_constraint AS c ON d.classid = 'pg_constraint'::regclass AND c.oid = d.objid
  LEFT JOIN pg_trigger AS t ON d.classid = 'pg_trigger'::regclass AND t.oid = d.objid
  LEFT JOIN pg_rewrite AS w ON d.classid = 'pg_rewrite'::regclass AND w.oid = d.objid
  LEFT JOIN pg_class AS home
    ON home.oid = coalesce(a.adrelid, nullif(c.conrelid, 0), t.tgrelid, w.ev_class,
                           CASE WHEN d.classid = 'pg_class'::regclass THEN d.objid END)
  LEFT JOIN pg_type AS y ON y.oid = coalesce(c.contypid, CASE WHEN d.classid = 'pg_type'::regclass THEN d.objid END)
  LEFT JOIN pg_namespace AS n ON n.oid = coalesce(home.relnamespace, y.typnamespace)
 WHERE NOT EXISTS (SELECT FROM inside AS o WHERE o.classid = d.classid AND o.objid = d.objid)
   AND NOT coalesce(home.relkind = 'v' AND n.nspname = 'emergency_backup'
                    AND home.relowner = (SELECT oid FROM pg_roles WHERE rolname = current_user), false)
UNION
SELECT pg_describe_object(i.classid, i.objid, 0), 'what it belongs to', NULL
  FROM inside AS i
  LEFT JOIN pg_class AS c ON i.classid = 'pg_class'::regclass AND c.oid = i.objid
  LEFT JOIN pg_statistic_ext AS s ON i.classid = 'pg_statistic_ext'::regclass AND s.oid = i.objid
  LEFT JOIN pg_type AS t ON i.classid = 'pg_type'::regclass AND t.oid = i.objid
  LEFT JOIN pg_proc AS p ON i.classid = 'pg_proc'::regclass AND p.oid = i.objid
 WHERE coalesce(c.relnamespace, s.stxnamespace, t.typnamespace, p.pronamespace) NOT IN (SELECT oid FROM schemas)
   AND coalesce(c.relnamespace, s.stxnamespace, t.typnamespace, p.pronamespace) <> 'pg_toast'::regnamespace
 ORDER BY 3, 1, 2
"""
)

#: What other runs wrote down and could not bring back without it: a foreign key's table, the table of a column; or a
#: text with its name in it, from before it was taken away: later ones mean another of the name, and so do those of a
#: run that took one itself.
_WRITTEN_DOWN = r"""
WITH going (catalog, objid, label, name) AS (
    SELECT * FROM unnest(%(catalogs)s::text[], %(objids)s::oid[], %(labels)s::text[], %(names)s::text[])
)
SELECT DISTINCT k.run, k.kind || ' ' || k.name AS outside, going.label AS inside
  FROM emergency_backup.preserved_objects AS k
 CROSS JOIN going
 WHERE (k.installation, k.run) <> (%(installation)s, %(run)s) AND k.recovered_by IS NULL AND k.purged_by IS NULL
   AND (going.catalog = 'pg_class'
        AND (EXISTS (SELECT FROM jsonb_array_elements(k.definition -> 'locks') AS held
                      WHERE (held ->> 1)::bigint = going.objid::bigint)
             OR k.how IN ('copied', 'changed') AND k.catalog = 'pg_class' AND k.objid = going.objid)
        OR k.preserved_at < %(since)s AND k.how <> 'moved'
       AND (k.definition -> 'restore')::text
           ~ ('(^|[^\w$])' || regexp_replace(going.name, '(\W)', '\\\1', 'g') || '([^\w$]|$)')
       AND NOT EXISTS (SELECT FROM emergency_backup.preserved_objects AS own
                        WHERE own.installation = k.installation AND own.run = k.run AND own.how = 'moved'
                          AND own.definition #>> '{facts,name}' = going.name))
 ORDER BY 1, 2, 3
"""


def refuse_what_is_held(
    session: Session, subject: Holder, stored: Sequence[Stored], tied: Ties, schemas: Sequence[str]
) -> None:
    """See that nothing but what goes itself needs anything that goes.

    Args:
        session: In the target.
        subject: The run that keeps it; its attempt does not matter.
        stored: What is to go.
        tied: What hangs together with it.
        schemas: That it is in.

    Raises:
        StillNeeded: Names both ends, and the run that has to be recovered or purged before.
    """
    strangers = [each.label() for each in stored if each.was is None]
    if strangers:
        raise StillNeeded(
            f"run {subject.run} did not put this into its quarantine: {', '.join(strangers)}; take it elsewhere first"
        )
    parts = sorted(tied.parts, key=lambda part: (part.catalog, part.objid))
    asked = {
        "catalogs": [part.catalog for part in parts],
        "objids": [part.objid for part in parts],
        "schemas": list(schemas),
    }
    written = {
        "catalogs": [each.address.catalog for each in stored],
        "objids": [each.address.objid for each in stored],
        "labels": [each.was for each in stored],
        "names": [each.had_name for each in stored],
        "since": min((each.preserved_at for each in stored if each.preserved_at is not None), default=None),
        "installation": subject.installation,
        "run": subject.run,
    }
    found = [*session.rows(_OUTSIDE, asked), *session.rows(_WRITTEN_DOWN, written)]
    runs = sorted({row["run"] for row in found if row["run"] is not None})
    if not found:
        return
    pairs = "; ".join(f"{row['outside']} needs {row['inside']}" for row in found)
    first = f"recover or purge run {', '.join(map(str, runs))} first" if runs else "drop that first"
    raise StillNeeded(f"what run {subject.run} keeps is needed: {pairs}; {first}")
