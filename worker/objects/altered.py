"""What a statement changes and nothing else: it is written down as the SQL that sets it to what it was.

One entry of `_ASPECTS` for each thing that ALTER, RENAME or COMMENT can change. Each says which SQL sets it to what it
is now, and which catalog rows a change of it explains: the same for the way there and the way back.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from ledger.model import Json
from worker.objects import definition, function, ownership, view
from worker.objects.keeping import GONE, Action, Address, Item, Keeping, Permits, literal, quoted
from worker.objects.quarantine import Quarantine
from worker.target import Row, Session


@dataclass(frozen=True)
class Subject:
    """An object as statements name it."""

    address: Address
    #: As pg_identify_object says it.
    kind: str
    #: Qualified and quoted: "public.t", "public.t.c", "c on public.t", "public.f(integer)".
    identity: str
    #: Its own name, as it is in the catalog.
    name: str
    #: Schema of an object that has one of its own.
    schema: str | None
    #: Types of the arguments in parentheses, for a function.
    arguments: str
    #: The table that it is or belongs to, qualified and quoted, with its OID.
    table: str
    relation: int | None

    @property
    def word(self) -> str:
        """What SQL calls this kind."""
        return _WORDS.get(self.kind, self.kind.upper())


_WORDS: Final[Mapping[str, str]] = {
    "composite type": "TYPE",
    "statistics object": "STATISTICS",
    "table column": "COLUMN",
    "view column": "COLUMN",
    "materialized view column": "COLUMN",
    "composite type column": "COLUMN",
    "table constraint": "CONSTRAINT",
}

_SUBJECT = """
SELECT told.type AS kind, told.identity, told.schema, parts.object_args AS arguments,
       coalesce(ty.typname, parts.object_names[cardinality(parts.object_names)]) AS name,
       home.oid::bigint AS relation,
       CASE WHEN home.oid IS NOT NULL THEN format('%%I.%%I', n.nspname, home.relname) END AS "table"
  FROM pg_identify_object(%(catalog)s::text::regclass, %(objid)s, %(subid)s) AS told
 CROSS JOIN pg_identify_object_as_address(%(catalog)s::text::regclass, %(objid)s, %(subid)s) AS parts
  LEFT JOIN pg_constraint AS con ON %(catalog)s::text = 'pg_catalog.pg_constraint' AND con.oid = %(objid)s
  LEFT JOIN pg_trigger AS t ON %(catalog)s::text = 'pg_catalog.pg_trigger' AND t.oid = %(objid)s
  LEFT JOIN pg_rewrite AS w ON %(catalog)s::text = 'pg_catalog.pg_rewrite' AND w.oid = %(objid)s
  LEFT JOIN pg_policy AS p ON %(catalog)s::text = 'pg_catalog.pg_policy' AND p.oid = %(objid)s
  LEFT JOIN pg_index AS i ON %(catalog)s::text = 'pg_catalog.pg_class' AND i.indexrelid = %(objid)s
  LEFT JOIN pg_type AS ty ON %(catalog)s::text = 'pg_catalog.pg_type' AND ty.oid = %(objid)s
  LEFT JOIN pg_class AS home
    ON home.oid = coalesce(con.conrelid, t.tgrelid, w.ev_class, p.polrelid, i.indrelid,
                           CASE WHEN %(catalog)s::text = 'pg_catalog.pg_class' THEN %(objid)s::oid END)
  LEFT JOIN pg_namespace AS n ON n.oid = home.relnamespace
"""


def subject(session: Session, address: Address) -> Subject:
    """Return an object as statements name it."""
    found = session.row(
        _SUBJECT, {"catalog": f"pg_catalog.{address.catalog}", "objid": address.objid, "subid": address.subid}
    )
    assert found is not None  # noqa: S101 - the caller resolved it in this transaction
    is_routine = address.catalog == "pg_proc"
    return Subject(
        address,
        found["kind"],
        found["identity"],
        found["name"],
        found["schema"],
        f"({', '.join(found['arguments'])})" if is_routine else "",
        found["table"] or "",
        found["relation"],
    )


def keep(session: Session, what: str, address: Address, detail: str, line: int) -> Keeping:
    """Say how one thing about an object is kept while a statement changes it.

    Args:
        session: In the target, before the change.
        what: Key of `_ASPECTS`.
        address: The object.
        detail: What the aspect needs to know besides: the name that it is given, which triggers.
        line: Of the statement, in the plan.
    """
    of = subject(session, address)
    item = Item(address, of.kind, of.identity, f"line {line} changes its {what}", Action.CHANGED, relation=of.relation)
    if what == "definition":
        return _redefined(session, of, item)
    if what == "grants":
        return _granted(session, of, item)
    aspect = _ASPECTS[what]
    return Keeping(
        item,
        remove=(),
        restore=tuple(aspect.restore(session, of, detail)),
        finish=tuple(aspect.finish(session, of)),
        locks=frozenset({of.relation}) if aspect.locks and of.relation is not None else frozenset(),
        permits=aspect.permits(session, of, detail),
        facts={"what": what, "detail": detail},
    )


def permits(session: Session, what: str, address: Address, detail: str) -> Permits:
    """Return the catalog rows that a change of one thing about an object explains, as the catalog stands."""
    identity = session.value(
        "SELECT identity FROM pg_identify_object(%s::regclass, %s, %s)",
        (f"pg_catalog.{address.catalog}", address.objid, address.subid),
    )
    if identity is None:
        # What was dropped after it was changed comes back as another: nobody has seen that one yet.
        return {}
    of = subject(session, address)
    if what == "definition":
        item = Item(address, of.kind, of.identity, "", Action.CHANGED, relation=of.relation)
        return _whole(session, of, item).permits
    if what == "grants":
        return _grant_permits(session, of)
    return _ASPECTS[what].permits(session, of, detail)


def settings_of(session: Session, address: Address) -> tuple[str, ...]:
    """Return what gives a column its default and settings again, where something else has taken them away."""
    of = subject(session, address)
    return (*_default(session, of, ""), *_settings(session, of, ""))


# -- as a whole -----------------------------------------------------------------


def _whole(session: Session, of: Subject, item: Item) -> Keeping:
    """Say how an object would be kept if it were dropped; it needs no quarantine."""
    nowhere = Quarantine(0, UUID(int=0))
    if of.address.catalog == "pg_proc":
        return function.keep(session, item, nowhere)
    return view.keep(session, item, nowhere) if of.kind == "view" else definition.keep(session, item, nowhere)


def _redefined(session: Session, of: Subject, item: Item) -> Keeping:
    """Say how an object is kept that is replaced, or altered in ways that only all of its definition can undo."""
    whole = _whole(session, of, item)
    facts: dict[str, Json] = {"what": "definition", "detail": ""}
    # Triggers, rules and policies have nothing of their own that others depend on.
    restore = (*whole.remove, *whole.restore)
    if of.kind == "view" or of.address.catalog == "pg_proc":
        restore = tuple(
            statement.replace(f"CREATE {word}", f"CREATE OR REPLACE {word}", 1)
            for statement in whole.restore
            for word in [of.word]
            if statement.startswith((f"CREATE {word}", "SET LOCAL"))
        )
        facts["otherwise"] = [*whole.remove, *whole.restore]
        facts["columns"] = _columns(session, of.address)
        facts["grants"], facts["column_grants"] = whole.facts.get("grants"), whole.facts.get("column_grants", [])
    return Keeping(item, remove=(), restore=restore, locks=whole.locks, permits=whole.permits, facts=facts)


def _columns(session: Session, address: Address) -> int:
    """Return how many columns a view has; 0 for anything else."""
    count: int = session.value(
        "SELECT count(*) FROM pg_attribute WHERE attrelid = %s AND attnum > 0 AND NOT attisdropped AND %s",
        (address.objid, address.catalog == "pg_class"),
    )
    return count


def back(session: Session, address: Address, restore: Sequence[str], facts: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the statements that change something back, as the object is by now.

    Args:
        session: In the target.
        address: The object.
        restore: What was written down for it.
        facts: Likewise.
    """
    if facts["what"] == "grants":
        return (*ownership.reset(session, address, facts["grants"]), *facts["column_grants"])
    if "otherwise" in facts and _columns(session, address) > facts["columns"]:
        # A view cannot be replaced by one with fewer columns.
        return (*facts["otherwise"], *ownership.grants(session, facts["grants"]), *facts["column_grants"])
    return tuple(restore)


def _granted(session: Session, of: Subject, item: Item) -> Keeping:
    """Say how an object's grants are kept, with those of its columns."""
    words = {"pg_class": "SEQUENCE" if of.kind == "sequence" else "TABLE", "pg_proc": "ROUTINE", "pg_type": "TYPE"}
    told = f"{words.get(of.address.catalog, of.word)} {of.identity}"
    owned = ownership.of(session, of.address, told)
    columns = ownership.of_columns(session, of.address.objid, of.identity) if of.address.catalog == "pg_class" else ()
    facts: dict[str, Json] = {
        "what": "grants",
        "detail": "",
        "grants": owned.grants,
        "column_grants": list(columns),
    }
    return Keeping(item, remove=(), restore=(), permits=_grant_permits(session, of), facts=facts)


def _grant_permits(session: Session, of: Subject) -> Permits:
    changed = frozenset({"relacl", "attacl", "proacl", "typacl", "nspacl", "pg_shdepend"})
    columns = session.rows(
        "SELECT attnum AS number FROM pg_attribute WHERE attrelid = %s AND attnum > 0 AND %s",
        (of.address.objid, of.address.catalog == "pg_class"),
    )
    return {of.address: changed, **{Address("pg_class", of.address.objid, row["number"]): changed for row in columns}}


# -- columns ------------------------------------------------------------------


def _default(session: Session, of: Subject, _detail: str) -> Iterator[str]:
    expression = session.value(
        "SELECT pg_get_expr(adbin, adrelid) FROM pg_attrdef WHERE adrelid = %s AND adnum = %s",
        (of.address.objid, of.address.subid),
    )
    yield f"{_column(of)} {'DROP DEFAULT' if expression is None else f'SET DEFAULT {expression}'}"


def _default_permits(session: Session, of: Subject, _detail: str) -> Permits:
    found = session.rows(
        "SELECT oid::bigint FROM pg_attrdef WHERE adrelid = %s AND adnum = %s", (of.address.objid, of.address.subid)
    )
    gone = {Address("pg_attrdef", row["oid"]): GONE for row in found}
    return {**gone, of.address: frozenset({"atthasdef"})}


_NOT_NULL = """
SELECT a.attnotnull AS set, con.oid::bigint AS constraint, con.conname AS name, con.convalidated AS validated,
       con.connoinherit AS alone
  FROM pg_attribute AS a
  LEFT JOIN pg_constraint AS con ON con.conrelid = a.attrelid AND con.contype = 'n' AND con.conkey = ARRAY[a.attnum]
 WHERE a.attrelid = %s AND a.attnum = %s
"""


def _not_null(session: Session, of: Subject, _detail: str) -> Iterator[str]:
    found = _row(session, _NOT_NULL, of.address.objid, of.address.subid)
    yield f"{_column(of)} DROP NOT NULL"
    if found["name"] is not None:
        how = " NO INHERIT" if found["alone"] else ""
        name = quoted(found["name"])
        yield f"ALTER TABLE {of.table} ADD CONSTRAINT {name} NOT NULL {quoted(of.name)}{how} NOT VALID"
    elif found["set"]:
        yield f"{_column(of)} SET NOT NULL"


def _not_null_finish(session: Session, of: Subject) -> Iterator[str]:
    found = _row(session, _NOT_NULL, of.address.objid, of.address.subid)
    if found["name"] is not None and found["validated"]:
        yield f"ALTER TABLE {of.table} VALIDATE CONSTRAINT {quoted(found['name'])}"


def _not_null_permits(session: Session, of: Subject, _detail: str) -> Permits:
    found = _row(session, _NOT_NULL, of.address.objid, of.address.subid)
    gone = {} if found["constraint"] is None else {Address("pg_constraint", found["constraint"]): GONE}
    return {**gone, of.address: frozenset({"attnotnull"})}


_SETTINGS = """
SELECT a.attstorage::text AS storage, a.attcompression::text AS compression, a.attoptions AS options,
       a.attstattarget AS statistics
  FROM pg_attribute AS a WHERE a.attrelid = %s AND a.attnum = %s
"""
_STORAGE: Final = {"p": "PLAIN", "e": "EXTERNAL", "m": "MAIN", "x": "EXTENDED"}
_COMPRESSION: Final = {"p": "pglz", "l": "lz4", "": "DEFAULT"}


def _settings(session: Session, of: Subject, options: str) -> Iterator[str]:
    found = _row(session, _SETTINGS, of.address.objid, of.address.subid)
    statistics = found["statistics"]
    yield f"{_column(of)} SET STATISTICS {-1 if statistics is None else statistics}"
    if options:
        yield f"{_column(of)} RESET ({options})"
    if found["options"]:
        yield f"{_column(of)} SET ({', '.join(found['options'])})"
    yield f"{_column(of)} SET STORAGE {_STORAGE[found['storage']]}"
    yield f"{_column(of)} SET COMPRESSION {_COMPRESSION[found['compression']]}"


def _settings_permits(session: Session, of: Subject, _detail: str) -> Permits:
    changed = frozenset({"attstattarget", "attoptions", "attstorage", "attcompression"})
    # Indexes over the column store its values in the same way.
    indexes = session.rows(
        "SELECT a.attrelid::bigint AS index, a.attnum AS number FROM pg_index AS i"
        " JOIN pg_attribute AS a ON a.attrelid = i.indexrelid WHERE i.indrelid = %s",
        (of.address.objid,),
    )
    also = {Address("pg_class", r["index"], r["number"]): frozenset({"attstorage", "attcompression"}) for r in indexes}
    return {**also, of.address: changed}


def _column(of: Subject) -> str:
    return f"ALTER TABLE {of.table} ALTER COLUMN {quoted(of.name)}"


# -- names, schemas, owners, comments -----------------------------------------

#: The column of each catalog that holds an object's name.
_NAME: Final[Mapping[str, str]] = {
    "pg_class": "relname",
    "pg_constraint": "conname",
    "pg_namespace": "nspname",
    "pg_policy": "polname",
    "pg_proc": "proname",
    "pg_rewrite": "rulename",
    "pg_statistic_ext": "stxname",
    "pg_trigger": "tgname",
    "pg_type": "typname",
}
_PART_RENAMED: Final[Mapping[str, str]] = {
    "COLUMN": "ALTER TABLE {table} RENAME COLUMN {now} TO {was}",
    "CONSTRAINT": "ALTER TABLE {table} RENAME CONSTRAINT {now} TO {was}",
    "TRIGGER": "ALTER TRIGGER {now} ON {table} RENAME TO {was}",
    "RULE": "ALTER RULE {now} ON {table} RENAME TO {was}",
    "POLICY": "ALTER POLICY {now} ON {table} RENAME TO {was}",
}


def _name(_session: Session, of: Subject, renamed: str) -> Iterator[str]:
    part = _PART_RENAMED.get(of.word)
    if part is not None:
        yield part.format(table=of.table, now=quoted(renamed), was=quoted(of.name))
        return
    now = quoted(renamed) if of.schema is None else quoted(of.schema, renamed)
    yield f"ALTER {of.word} {now}{of.arguments} RENAME TO {quoted(of.name)}"


_SAME_NAME = """
SELECT 'pg_type' AS catalog, oid::bigint FROM pg_type WHERE typrelid = %(class)s OR oid = %(type)s
UNION ALL
SELECT 'pg_type', typarray::bigint FROM pg_type WHERE (typrelid = %(class)s OR oid = %(type)s) AND typarray <> 0
UNION ALL
SELECT 'pg_class', typrelid::bigint FROM pg_type WHERE oid = %(type)s AND typrelid <> 0
UNION ALL
SELECT 'pg_class', conindid::bigint FROM pg_constraint WHERE oid = %(constraint)s AND contype IN ('p', 'u', 'x')
UNION ALL
SELECT 'pg_constraint', oid::bigint FROM pg_constraint WHERE conindid = %(class)s AND contype IN ('p', 'u', 'x')
"""


def _name_permits(session: Session, of: Subject, _detail: str) -> Permits:
    address = of.address
    if address.subid:
        return {address: frozenset({"attname"})}
    same = session.rows(
        _SAME_NAME,
        {
            "class": address.objid if address.catalog == "pg_class" else 0,
            "type": address.objid if address.catalog == "pg_type" else 0,
            "constraint": address.objid if address.catalog == "pg_constraint" else 0,
        },
    )
    also = {Address(row["catalog"], row["oid"]): frozenset({_NAME[row["catalog"]]}) for row in same}
    return {**also, address: frozenset({_NAME[address.catalog]})}


_OWNERS = """
SELECT 'pg_class' AS catalog, c.oid::bigint, pg_get_userbyid(c.relowner) AS owner FROM pg_class AS c
 WHERE c.oid = %(class)s OR c.oid IN (SELECT indexrelid FROM pg_index WHERE indrelid = %(class)s)
    OR c.oid = (SELECT reltoastrelid FROM pg_class WHERE oid = %(class)s)
    OR c.oid IN (SELECT indexrelid FROM pg_index JOIN pg_class AS t ON t.reltoastrelid = indrelid
                  WHERE t.oid = %(class)s)
    OR c.oid IN (SELECT objid FROM pg_depend WHERE classid = 'pg_class'::regclass AND refclassid = 'pg_class'::regclass
                    AND refobjid = %(class)s AND deptype IN ('a', 'i'))
    OR c.oid IN (SELECT typrelid FROM pg_type WHERE oid = %(type)s AND typrelid <> 0)
UNION ALL
SELECT 'pg_type', t.oid::bigint, pg_get_userbyid(t.typowner) FROM pg_type AS t
 WHERE t.typrelid = %(class)s OR t.oid = %(type)s
    OR t.oid IN (SELECT typarray FROM pg_type WHERE typrelid = %(class)s OR oid = %(type)s)
UNION ALL
SELECT 'pg_proc', oid::bigint, pg_get_userbyid(proowner) FROM pg_proc WHERE oid = %(proc)s
UNION ALL
SELECT 'pg_namespace', oid::bigint, pg_get_userbyid(nspowner) FROM pg_namespace WHERE oid = %(namespace)s
UNION ALL
SELECT 'pg_statistic_ext', oid::bigint, pg_get_userbyid(stxowner) FROM pg_statistic_ext WHERE oid = %(statistics)s
"""
_OWNED: Final[Mapping[str, frozenset[str]]] = {
    "pg_class": frozenset({"relowner", "relacl", "pg_shdepend"}),
    "pg_type": frozenset({"typowner", "typacl", "pg_shdepend"}),
    "pg_proc": frozenset({"proowner", "proacl", "pg_shdepend"}),
    "pg_namespace": frozenset({"nspowner", "nspacl", "pg_shdepend"}),
    "pg_statistic_ext": frozenset({"stxowner", "pg_shdepend"}),
}


def _owners(session: Session, of: Subject) -> list[Row]:
    address = of.address
    catalogs = {
        "class": "pg_class",
        "type": "pg_type",
        "proc": "pg_proc",
        "namespace": "pg_namespace",
        "statistics": "pg_statistic_ext",
    }
    return session.rows(
        _OWNERS, {key: address.objid if address.catalog == catalog else 0 for key, catalog in catalogs.items()}
    )


def _owner(session: Session, of: Subject, _detail: str) -> Iterator[str]:
    own = (of.address.catalog, of.address.objid)
    (owner,) = {row["owner"] for row in _owners(session, of) if (row["catalog"], row["oid"]) == own}
    yield f"ALTER {of.word} {of.identity} OWNER TO {quoted(owner)}"


def _owner_permits(session: Session, of: Subject, _detail: str) -> Permits:
    return {Address(row["catalog"], row["oid"]): _OWNED[row["catalog"]] for row in _owners(session, of)}


def _comment(session: Session, of: Subject, _detail: str) -> Iterator[str]:
    text = session.value(
        "SELECT description FROM pg_description WHERE classoid = %s::regclass AND objoid = %s AND objsubid = %s",
        (f"pg_catalog.{of.address.catalog}", of.address.objid, of.address.subid),
    )
    yield f"COMMENT ON {of.word} {of.identity} IS {'NULL' if text is None else literal(text)}"


def _comment_permits(_session: Session, of: Subject, _detail: str) -> Permits:
    return {of.address: frozenset({"pg_description"})}


# -- tables -------------------------------------------------------------------

_CLASS = """
SELECT relrowsecurity AS secured, relforcerowsecurity AS forced, reloptions AS options, relreplident::text AS identity,
       (SELECT c.relname FROM pg_index JOIN pg_class AS c ON c.oid = indexrelid
         WHERE indrelid = t.oid AND indisreplident) AS identity_index,
       (SELECT c.relname FROM pg_index JOIN pg_class AS c ON c.oid = indexrelid
         WHERE indrelid = t.oid AND indisclustered) AS clustered
  FROM pg_class AS t WHERE oid = %s
"""


def _row_security(session: Session, of: Subject, _detail: str) -> Iterator[str]:
    found = _row(session, _CLASS, of.address.objid)
    yield f"ALTER TABLE {of.table} {'ENABLE' if found['secured'] else 'DISABLE'} ROW LEVEL SECURITY"
    yield f"ALTER TABLE {of.table} {'' if found['forced'] else 'NO '}FORCE ROW LEVEL SECURITY"


def _options(session: Session, of: Subject, names: str) -> Iterator[str]:
    found = _row(session, _CLASS, of.address.objid)
    alter = f"ALTER {of.word} {of.identity}"
    yield f"{alter} RESET ({names})"
    if found["options"]:
        yield f"{alter} SET ({', '.join(found['options'])})"


def _identity(session: Session, of: Subject, _detail: str) -> Iterator[str]:
    found = _row(session, _CLASS, of.address.objid)
    how = {"d": "DEFAULT", "n": "NOTHING", "f": "FULL"}.get(found["identity"])
    how = how or f"USING INDEX {quoted(found['identity_index'])}"
    yield f"ALTER TABLE {of.table} REPLICA IDENTITY {how}"


def _cluster(session: Session, of: Subject, _detail: str) -> Iterator[str]:
    found = _row(session, _CLASS, of.address.objid)
    index = found["clustered"]
    yield f"ALTER TABLE {of.table} {'SET WITHOUT CLUSTER' if index is None else f'CLUSTER ON {quoted(index)}'}"


def _index_permits(column: str, *own: str) -> Callable[[Session, Subject, str], Permits]:
    def permits(session: Session, of: Subject, _detail: str) -> Permits:
        indexes = session.rows("SELECT indexrelid::bigint FROM pg_index WHERE indrelid = %s", (of.address.objid,))
        also = {Address("pg_class", row["indexrelid"]): frozenset({column}) for row in indexes}
        return {**also, of.address: frozenset(own)} if own else also

    return permits


def _class_permits(*columns: str) -> Callable[[Session, Subject, str], Permits]:
    def permits(_session: Session, of: Subject, _detail: str) -> Permits:
        return {of.address: frozenset(columns)}

    return permits


def _options_permits(session: Session, of: Subject, _detail: str) -> Permits:
    toast = session.value("SELECT nullif(reltoastrelid, 0)::bigint FROM pg_class WHERE oid = %s", (of.address.objid,))
    also = {} if toast is None else {Address("pg_class", toast): frozenset({"reloptions"})}
    return {**also, of.address: frozenset({"reloptions"})}


# -- triggers, rules, constraints ----------------------------------------------

_STATES: Final = {"O": "ENABLE", "D": "DISABLE", "R": "ENABLE REPLICA", "A": "ENABLE ALWAYS"}
_FIRING = """
SELECT 'pg_trigger' AS catalog, oid::bigint, 'TRIGGER ' || quote_ident(tgname) AS what, tgenabled::text AS state
  FROM pg_trigger WHERE NOT tgisinternal AND (oid = %(trigger)s OR tgrelid = %(table)s)
UNION ALL
SELECT 'pg_rewrite', oid::bigint, 'RULE ' || quote_ident(rulename), ev_enabled::text
  FROM pg_rewrite WHERE oid = %(rule)s
"""


def _fires(session: Session, of: Subject) -> list[Row]:
    address = of.address
    catalogs = {"trigger": "pg_trigger", "rule": "pg_rewrite", "table": "pg_class"}
    return session.rows(
        _FIRING, {key: address.objid if address.catalog == catalog else 0 for key, catalog in catalogs.items()}
    )


def _firing(session: Session, of: Subject, _detail: str) -> Iterator[str]:
    for row in _fires(session, of):
        yield f"ALTER TABLE {of.table} {_STATES[row['state']]} {row['what']}"


def _firing_permits(session: Session, of: Subject, _detail: str) -> Permits:
    changed = frozenset({"tgenabled", "ev_enabled"})
    return {Address(row["catalog"], row["oid"]): changed for row in _fires(session, of)}


def _validation(session: Session, of: Subject, _detail: str) -> Iterator[str]:
    found = _row(
        session,
        "SELECT convalidated AS validated, pg_get_constraintdef(oid) AS definition FROM pg_constraint WHERE oid = %s",
        of.address.objid,
    )
    if not found["validated"]:
        yield f"ALTER TABLE {of.table} DROP CONSTRAINT {quoted(of.name)}"
        yield f"ALTER TABLE {of.table} ADD CONSTRAINT {quoted(of.name)} {found['definition']}"
        yield from _comment(session, of, "")


def _validation_permits(session: Session, of: Subject, _detail: str) -> Permits:
    triggers = session.rows("SELECT oid::bigint FROM pg_trigger WHERE tgconstraint = %s", (of.address.objid,))
    return {**{Address("pg_trigger", row["oid"]): GONE for row in triggers}, of.address: GONE}


# -- types and sequences --------------------------------------------------------


def _label(_session: Session, of: Subject, renamed: str) -> Iterator[str]:
    was, now = json.loads(renamed)
    yield f"ALTER TYPE {of.identity} RENAME VALUE {literal(now)} TO {literal(was)}"


def _label_permits(_session: Session, of: Subject, _detail: str) -> Permits:
    return {of.address: frozenset({"enumlabel"})}


_SEQUENCE = """
SELECT format_type(seqtypid, NULL) AS type, seqstart AS start, seqincrement AS increment, seqmin AS min, seqmax AS max,
       seqcache AS cache, seqcycle AS cycles FROM pg_sequence WHERE seqrelid = %s
"""


def _sequence(session: Session, of: Subject, _detail: str) -> Iterator[str]:
    found = _row(session, _SEQUENCE, of.address.objid)
    position = session.row(f"SELECT last_value, is_called FROM {of.table}")
    assert position is not None  # noqa: S101 - a sequence has one row
    yield (
        f"ALTER SEQUENCE {of.table} AS {found['type']} INCREMENT {found['increment']} MINVALUE {found['min']}"
        f" MAXVALUE {found['max']} START {found['start']} CACHE {found['cache']}"
        f" {'CYCLE' if found['cycles'] else 'NO CYCLE'}"
    )
    # If numbers were drawn since, none of them may be drawn again.
    further = "least" if found["increment"] < 0 else "greatest"
    was, called = position["last_value"], literal(str(position["is_called"]))
    yield (
        f"SELECT setval({literal(of.table)}, CASE WHEN is_called THEN {further}(last_value, {was}) ELSE {was} END,"
        f" is_called OR {called}) FROM {of.table}"
    )


def _sequence_permits(_session: Session, of: Subject, _detail: str) -> Permits:
    changed = {"seqtypid", "seqstart", "seqincrement", "seqmin", "seqmax", "seqcache", "seqcycle"}
    return {of.address: frozenset({"relfilenode", *changed})}


# -- all of them ---------------------------------------------------------------


def _schema(_session: Session, of: Subject, moved_to: str) -> Iterator[str]:
    assert of.schema is not None  # noqa: S101 - only what lies in a schema can be moved to another
    yield f"ALTER {of.word} {quoted(moved_to, of.name)}{of.arguments} SET SCHEMA {quoted(of.schema)}"


def _schema_permits(session: Session, of: Subject, _detail: str) -> Permits:
    changed = {
        "pg_class": frozenset({"relnamespace"}),
        "pg_type": frozenset({"typnamespace"}),
        "pg_proc": frozenset({"pronamespace", "pg_depend"}),
        "pg_statistic_ext": frozenset({"stxnamespace", "pg_depend"}),
        "pg_namespace": frozenset[str](),
    }
    found = {Address(row["catalog"], row["oid"]): changed[row["catalog"]] for row in _owners(session, of)}
    for row in session.rows(
        "SELECT oid::bigint FROM pg_constraint"
        " WHERE %(class)s AND conrelid = %(oid)s OR NOT %(class)s AND contypid = %(oid)s",
        {"class": of.address.catalog == "pg_class", "oid": of.address.objid},
    ):
        found[Address("pg_constraint", row["oid"])] = frozenset({"connamespace"})
    return found


def _nothing(_session: Session, _of: Subject) -> Iterator[str]:
    yield from ()


@dataclass(frozen=True)
class _Aspect:
    restore: Callable[[Session, Subject, str], Iterator[str]]
    permits: Callable[[Session, Subject, str], Permits]
    #: To be done after the COMMIT of a recovery.
    finish: Callable[[Session, Subject], Iterator[str]] = _nothing
    #: Whether the change locks the table against readers.
    locks: bool = True


_ASPECTS: Final[Mapping[str, _Aspect]] = {
    "default": _Aspect(_default, _default_permits),
    "not null": _Aspect(_not_null, _not_null_permits, _not_null_finish),
    "column settings": _Aspect(_settings, _settings_permits),
    "name": _Aspect(_name, _name_permits),
    "schema": _Aspect(_schema, _schema_permits),
    "owner": _Aspect(_owner, _owner_permits),
    "comment": _Aspect(_comment, _comment_permits, locks=False),
    "row security": _Aspect(_row_security, _class_permits("relrowsecurity", "relforcerowsecurity")),
    "storage options": _Aspect(_options, _options_permits),
    "replica identity": _Aspect(_identity, _index_permits("indisreplident", "relreplident")),
    "cluster": _Aspect(_cluster, _index_permits("indisclustered")),
    "firing": _Aspect(_firing, _firing_permits),
    "firing of all": _Aspect(_firing, _firing_permits),
    "label": _Aspect(_label, _label_permits),
    "sequence": _Aspect(_sequence, _sequence_permits, locks=False),
    "validation": _Aspect(_validation, _validation_permits),
}


def _row(session: Session, query: str, *parameters: int) -> Row:
    found = session.row(query, parameters)
    assert found is not None  # noqa: S101 - the caller resolved it in this transaction
    return found
