"""What is in stock: everything that the quarantine of a run really holds, read from the catalog.

`preserved_objects` says what a run kept; this says what there is to delete, with the tables that kept things need
beside them: positions of sequences, stand-ins of parents, values as they became.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from worker.objects.keeping import Address
from worker.objects.quarantine import Quarantine
from worker.target import Session


@dataclass(frozen=True)
class Stored:
    """One object in quarantine that can be dropped by itself."""

    address: Address
    #: As pg_identify_object says it: "table", "sequence", "type", ...
    kind: str
    #: Where it is, qualified and quoted.
    name: str
    #: What it was, or is a copy of: "table public.t"; None if the run did not put it there.
    was: str | None
    #: The plain name that it had, if it was moved here.
    had_name: str | None
    #: "moved" or "copied".
    how: str
    #: Whether it has rows that can be read.
    readable: bool
    #: As counted when it was preserved; None: not known.
    rows: int | None
    checksum: str | None
    bytes: int
    preserved_at: datetime | None

    def label(self) -> str:
        """Return kind and name, as messages use it."""
        return f"{self.kind} {self.name}"

    @property
    def drop(self) -> str:
        """The statement that deletes it and nothing else: without CASCADE."""
        return f"DROP {_WORDS.get(self.kind, self.kind.upper())} {self.name}"


@dataclass(frozen=True)
class Keeper:
    """A run that still keeps something in a target."""

    installation: UUID
    run: int
    #: When the last of it was preserved, or left behind by a recovery; by the target's clock.
    since: datetime
    #: How long ago that is, by the same clock.
    age_seconds: float


#: What DROP calls them, where it is not the kind itself.
_WORDS = {"composite type": "TYPE"}

_STORED = """
WITH schemas AS (
    SELECT oid, nspname FROM pg_namespace WHERE nspname = ANY (%(schemas)s)
), found AS (
    SELECT 'pg_class'::regclass AS classid, c.oid AS objid, n.nspname, c.relname AS name,
           c.relkind IN ('r', 'S') OR c.relkind = 'm' AND c.relispopulated AS readable,
           CASE WHEN c.relkind IN ('r', 'm', 'S') THEN pg_total_relation_size(c.oid) ELSE 0 END AS bytes
      FROM schemas AS n JOIN pg_class AS c ON c.relnamespace = n.oid
     WHERE c.relkind IN ('r', 'p', 'm', 'v', 'f')
        OR c.relkind = 'S' AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = c.oid
                                              AND refclassid = 'pg_class'::regclass AND deptype IN ('a', 'i'))
    UNION ALL
    SELECT 'pg_type'::regclass, t.oid, n.nspname, t.typname, false, 0
      FROM schemas AS n JOIN pg_type AS t ON t.typnamespace = n.oid
     WHERE NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_type'::regclass AND objid = t.oid AND deptype = 'i')
    UNION ALL
    SELECT 'pg_proc'::regclass, p.oid, n.nspname, p.proname, false, 0
      FROM schemas AS n JOIN pg_proc AS p ON p.pronamespace = n.oid
     WHERE NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_proc'::regclass AND objid = p.oid AND deptype = 'i')
)
SELECT (SELECT relname::text FROM pg_class WHERE oid = found.classid) AS catalog, found.objid::bigint,
       told.type AS kind, told.identity AS name,
       coalesce(kept.was, CASE WHEN nspname = %(copies)s THEN 'a part of what is kept' END) AS was,
       kept.had_name, coalesce(kept.how, 'copied') AS how, readable, kept.rows, kept.checksum, bytes::bigint,
       kept.preserved_at
  FROM found
 CROSS JOIN LATERAL pg_identify_object(classid, objid, 0) AS told
 CROSS JOIN LATERAL (
    SELECT string_agg(k.kind || ' ' || k.name, ', ' ORDER BY k.ordinal) AS was, min(k.how) AS how, max(k.rows) AS rows,
           min(k.definition #>> '{facts,name}') FILTER (WHERE k.how = 'moved') AS had_name,
           max(k.checksum) AS checksum, min(k.preserved_at) AS preserved_at
      FROM emergency_backup.preserved_objects AS k
     WHERE k.installation = %(installation)s AND k.run = %(run)s AND k.purged_by IS NULL
       AND (k.how = 'moved' AND k.objid = found.objid AND k.catalog::text = (found.classid::regclass)::text
            OR k.quarantine = found.nspname AND k.relation = found.name
            OR k.definition #>> '{facts,position}' = told.identity
            OR k.definition #> '{facts,stand_ins}' ? told.identity)
 ) AS kept
 ORDER BY nspname, found.objid
"""

_SCHEMAS = """
SELECT nspname::text AS name FROM pg_namespace WHERE starts_with(nspname, %(prefix)s) ORDER BY 1
"""


def schemas_of(session: Session, run: int, command_id: UUID) -> list[str]:
    """Return the schemas that a run's quarantine consists of now."""
    copies = Quarantine(run, command_id).copies
    return [row["name"] for row in session.rows(_SCHEMAS, {"prefix": copies.removesuffix("0")})]


def stored_by(session: Session, installation: UUID, run: int, command_id: UUID) -> list[Stored]:
    """Return everything that a run's quarantine holds, parts of other things left out.

    Args:
        session: In the target.
        installation: Whose run it is.
        run: Its number.
        command_id: Its command's id, which names the quarantine.
    """
    asked = {
        "schemas": schemas_of(session, run, command_id),
        "copies": Quarantine(run, command_id).copies,
        "installation": installation,
        "run": run,
    }
    return [Stored(Address(row.pop("catalog"), row.pop("objid")), **row) for row in session.rows(_STORED, asked)]


#: By the marker, since a recovery may leave rows aside without having taken anything away itself.
_KEEPERS = """
SELECT m.installation, m.run, since.at AS since, extract(epoch FROM now() - since.at)::double precision AS age_seconds
  FROM emergency_backup.marker AS m
  LEFT JOIN LATERAL (
    SELECT max(greatest(k.preserved_at, k.recovered_at)) AS at, bool_or(k.recovered_by IS NULL) AS open
      FROM emergency_backup.preserved_objects AS k
     WHERE k.installation = m.installation AND k.run = m.run AND k.purged_by IS NULL) AS kept ON true
 CROSS JOIN LATERAL (SELECT greatest(kept.at, m.applied_at) AS at) AS since
 WHERE kept.open
    OR EXISTS (SELECT FROM pg_namespace WHERE starts_with(nspname, format('emergency_backup_r%%s_', m.run)))
 ORDER BY m.run
"""


def keepers(session: Session) -> list[Keeper]:
    """Return the runs that still keep something in a target, the oldest first; of every installation."""
    return [Keeper(**row) for row in session.rows(_KEEPERS)]


@dataclass(frozen=True)
class Size:
    """How much is kept in a target."""

    schemas: int
    objects: int
    bytes: int


_SIZE = """
SELECT (SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'emergency\\_backup\\_r%') AS schemas,
       (SELECT count(*) FROM emergency_backup.preserved_objects
         WHERE recovered_by IS NULL AND purged_by IS NULL) AS objects,
       (SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint FROM pg_class AS c
          JOIN pg_namespace AS n ON n.oid = c.relnamespace
         WHERE n.nspname LIKE 'emergency\\_backup\\_r%' AND c.relkind IN ('r', 'm', 'S')) AS bytes
"""


def size(session: Session) -> Size:
    """Return how much is kept in a target."""
    found = session.row(_SIZE)
    assert found is not None  # noqa: S101 - a SELECT without FROM always has a row
    return Size(**found)


_MISSING = """
SELECT format('%s %s (run %s)', kind, name, run) AS label FROM emergency_backup.preserved_objects AS k
 WHERE recovered_by IS NULL AND purged_by IS NULL AND quarantine IS NOT NULL
   AND CASE WHEN relation IS NOT NULL THEN to_regclass(format('%I.%I', quarantine, relation)) IS NULL
            WHEN how = 'moved' AND catalog = 'pg_class' THEN NOT EXISTS (
                SELECT FROM pg_class WHERE oid = objid AND relnamespace = to_regnamespace(quote_ident(quarantine)))
            WHEN how = 'moved' AND catalog = 'pg_type' THEN NOT EXISTS (
                SELECT FROM pg_type WHERE oid = objid AND typnamespace = to_regnamespace(quote_ident(quarantine)))
            ELSE false END
 ORDER BY run, ordinal
"""


def missing(session: Session) -> list[str]:
    """Return what is preserved in a target and is not where it was put; rows and checksums are for a validation."""
    return [row["label"] for row in session.rows(_MISSING)]


_TEXTS = """
SELECT count(*) FROM emergency_backup.preserved_objects
 WHERE installation = %s AND run = %s AND recovered_by IS NULL AND purged_by IS NULL AND how NOT IN ('moved', 'copied')
"""


def texts_of(session: Session, installation: UUID, run: int) -> int:
    """Return how many objects a run keeps by their text alone, or by what was changed about them."""
    count: int = session.value(_TEXTS, (installation, run))
    return count


#: Which object holds which: parts go with what they are a part of, everything else has to go before it.
_TIES = """
WITH RECURSIVE roots AS (
    SELECT place::integer, ('pg_catalog.' || catalog)::regclass AS classid, objid
      FROM unnest(%(catalogs)s::text[], %(objids)s::oid[]) WITH ORDINALITY AS r (catalog, objid, place)
), parts (place, classid, objid) AS (
    SELECT place, classid::oid, objid FROM roots
    UNION
    SELECT p.place, d.classid, d.objid
      FROM parts AS p JOIN pg_depend AS d ON d.refclassid = p.classid AND d.refobjid = p.objid
     WHERE d.deptype IN ('a', 'i', 'P', 'S')
       AND NOT EXISTS (SELECT FROM roots AS r WHERE r.classid = d.classid AND r.objid = d.objid)
)
"""

_PARTS = _TIES + "SELECT place, classid::regclass::text AS catalog, objid::bigint FROM parts"

_EDGES = (
    _TIES
    + """
SELECT DISTINCT a.place AS first, b.place AS then, a.classid::regclass::text AS catalog, a.objid::bigint
  FROM parts AS a
  JOIN pg_depend AS d ON d.classid = a.classid AND d.objid = a.objid
  JOIN parts AS b ON b.classid = d.refclassid AND b.objid = d.refobjid AND b.place <> a.place
 -- An index of a partition is a part of it and of the index of the whole.
 WHERE NOT EXISTS (SELECT FROM parts AS p WHERE p.place = a.place AND p.classid = b.classid AND p.objid = b.objid)
   AND NOT EXISTS (SELECT FROM parts AS p WHERE p.place = b.place AND p.classid = a.classid AND p.objid = a.objid)
"""
)

#: What ties tables to others and can be taken off them: foreign keys, of which partitions have pieces in turn, and
#: defaults.
_LOOSE = """
SELECT 'pg_constraint' AS catalog, oid::bigint AS objid, CASE WHEN conparentid = 0 THEN
       format('ALTER TABLE %%s DROP CONSTRAINT %%I', conrelid::regclass, conname) END AS loosen
  FROM pg_constraint WHERE contype = 'f' AND oid = ANY (%(constraints)s::oid[])
UNION ALL
SELECT 'pg_attrdef', d.oid, format('ALTER TABLE ONLY %%s ALTER COLUMN %%I DROP DEFAULT', a.attrelid::regclass, attname)
  FROM pg_attrdef AS d JOIN pg_attribute AS a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
 WHERE a.attgenerated = '' AND d.oid = ANY (%(defaults)s::oid[])
 ORDER BY 1, 2
"""


@dataclass(frozen=True)
class Tie:
    """One object depends on another, and has to go before it."""

    #: Places of the two among the objects.
    first: int
    then: int
    #: The part of the first that depends.
    through: Address


@dataclass(frozen=True)
class Ties:
    """What hangs together in quarantine."""

    #: What goes along, the objects themselves included.
    parts: frozenset[Address]
    #: Statements that take foreign keys, and defaults that need other objects, off their tables.
    loosen: tuple[str, ...]
    #: What is tied by anything else.
    firm: tuple[Tie, ...]


def ties(session: Session, stored: Sequence[Stored]) -> Ties:
    """Look up what goes with some objects, and which depends on which."""
    asked = {
        "catalogs": [each.address.catalog for each in stored],
        "objids": [each.address.objid for each in stored],
    }
    parts = frozenset(Address(row["catalog"], row["objid"]) for row in session.rows(_PARTS, asked))
    found = tuple(
        Tie(row["first"] - 1, row["then"] - 1, Address(row["catalog"], row["objid"]))
        for row in session.rows(_EDGES, asked)
    )
    oids = {
        "constraints": sorted(part.objid for part in parts if part.catalog == "pg_constraint"),
        "defaults": sorted({tie.through.objid for tie in found if tie.through.catalog == "pg_attrdef"}),
    }
    loose = {Address(row["catalog"], row["objid"]): row["loosen"] for row in session.rows(_LOOSE, oids)}
    firm = tuple(tie for tie in found if tie.through not in loose)
    return Ties(parts, tuple(statement for statement in loose.values() if statement is not None), firm)
