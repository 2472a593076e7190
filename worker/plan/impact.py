"""The impact: everything a plan removes, object by object, as the catalog knows it.

Names are resolved once, to OIDs; from there `pg_depend` is followed to whatever depends on what goes.
Source: PostgreSQL documentation, "Dependency Tracking" and the catalog page of pg_depend.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ledger.canonical import canonical, sha256
from ledger.errors import ImpactNotAccepted, NothingToRollBack, PlanRefused
from worker.objects.keeping import Action, Address, Item
from worker.plan.names import relation, resolve, table_exists
from worker.plan.parse import Script
from worker.plan.statements import Analyze, Named, Removal
from worker.target import Row, Session

#: Schemas whose objects no plan may touch.
_OWN_SCHEMA_PREFIX = "emergency_backup"
_OWN_RELATIONS = ("public.migration_rollbacks", "public.rollback_status_monitor")


@dataclass(frozen=True)
class Impact:
    """What a plan reaches, in a stable order, and what it names without it being there."""

    items: tuple[Item, ...]
    absent: tuple[str, ...]
    #: Tables to ANALYZE after COMMIT, as OIDs.
    analyze: tuple[int, ...]

    @property
    def sha256(self) -> str:
        """Hash over kind, name, because and action: never rows, bytes or OIDs."""
        told = sorted([item.kind, item.name, item.because, item.action.value] for item in self.items)
        return sha256(canonical([list(entry) for entry in told]))

    def with_action(self, *actions: Action) -> tuple[Item, ...]:
        """Return the items of some actions, in order."""
        return tuple(item for item in self.items if item.action in actions)


@dataclass(frozen=True)
class _Origin:
    """The statement that an item goes back to."""

    cascade: bool
    line: int


@dataclass(frozen=True)
class _Root:
    item: Item
    origin: _Origin


@dataclass
class _Closure:
    """What has been reached so far."""

    moved: frozenset[int]
    items: dict[Address, Item]
    origins: dict[Address, _Origin]
    #: Objects of others, which somebody must accept.
    unaccepted: list[Item]


def compute(session: Session, script: Script, accepts: Sequence[str] = ()) -> Impact:
    """Compute what a script would remove.

    Args:
        session: Inside a transaction, so that the catalog does not change between two looks where that matters.
        script: The parsed plan.
        accepts: Labels of objects of others that the plan may take along.

    Raises:
        NothingToRollBack: None of the objects exists.
        PlanRefused: A name is missing without IF EXISTS, CASCADE is missing, or an object is of a kind
            that cannot be kept.
        ImpactNotAccepted: It would reach objects that it does not name.
    """
    roots, absent = _roots(session, script)
    if not roots:
        raise NothingToRollBack("none of the objects that the plan removes exists: " + ", ".join(absent))
    moved = frozenset(r.item.address.objid for r in roots if r.item.kind == "table") | _composites(session, roots)
    roots = _without_parts_of_moved(roots, moved)
    closure = _Closure(
        moved,
        {root.item.address: root.item for root in roots},
        {root.item.address: root.origin for root in roots},
        [],
    )
    _refuse_shapes(session, closure.items.values())
    _follow(session, closure)
    _refuse_unaccepted(closure, accepts)
    analyze = tuple(
        oid
        for statement in script.statements
        if isinstance(statement, Analyze)
        for name in statement.tables
        if (oid := relation(session, name)) is not None and oid not in moved
    )
    return Impact(_sized(session, closure), tuple(absent), tuple(dict.fromkeys(analyze)))


# -- what the plan names ------------------------------------------------------


def _roots(session: Session, script: Script) -> tuple[list[_Root], list[str]]:
    roots: list[_Root] = []
    absent: list[str] = []
    missing: list[PlanRefused] = []
    for statement in script.statements:
        if not isinstance(statement, Removal):
            continue
        for named in statement.named:
            address = resolve(session, named)
            if address is not None:
                roots.append(_root(session, named, address, statement.line))
                continue
            absent.append(str(named))
            may_be = named.missing_ok
            if named.part is not None and not table_exists(session, named):
                may_be = named.table_missing_ok
            if not may_be:
                told = f"{named} does not exist; write IF EXISTS if it may be"
                missing.append(PlanRefused(told, line=statement.line))
    if roots and missing:
        raise missing[0]
    return roots, absent


def _root(session: Session, named: Named, address: Address, line: int) -> _Root:
    item = _item(session, address, line)
    if item.kind not in _FITTING[named.kind]:
        raise PlanRefused(f"{item.name} is a {item.kind}", line=line)
    return _Root(item, _Origin(named.cascade, line))


_FITTING = {"table": {"table"}, "index": {"index"}, "type": {"type", "composite type"}, "column": {"table column"}}


def _item(session: Session, address: Address, line: int) -> Item:
    told = session.row(
        "SELECT type AS kind, identity AS name FROM pg_identify_object(%s::regclass, %s, %s)",
        (f"pg_catalog.{address.catalog}", address.objid, address.subid),
    )
    assert told is not None  # noqa: S101 - a set-returning function in FROM
    action = {"pg_type": Action.MOVED}.get(address.catalog, Action.COPIED if address.subid else Action.MOVED)
    if told["kind"] == "index":
        action = Action.DEFINED
    home = _home(session, address)
    return Item(address, told["kind"], told["name"], f"line {line} names it", action, relation=home)


def _home(session: Session, address: Address) -> int | None:
    if address.catalog != "pg_class":
        return None
    index_of = session.value("SELECT indrelid::bigint FROM pg_index WHERE indexrelid = %s", (address.objid,))
    return address.objid if index_of is None else int(index_of)


def _composites(session: Session, roots: Sequence[_Root]) -> frozenset[int]:
    """Return where composite types keep their columns: these move with them."""
    types = [r.item.address.objid for r in roots if r.item.address.catalog == "pg_type"]
    found = session.rows("SELECT typrelid::bigint FROM pg_type WHERE oid = ANY (%s::oid[]) AND typrelid <> 0", (types,))
    return frozenset(row["typrelid"] for row in found)


def _without_parts_of_moved(roots: list[_Root], moved: frozenset[int]) -> list[_Root]:
    """Leave out columns and indexes of tables that move whole: they go along untouched."""
    return [r for r in roots if r.item.kind == "table" or r.item.relation not in moved]


# -- what cannot be kept ------------------------------------------------------


def _refuse_shapes(session: Session, items: Iterable[Item]) -> None:
    """Refuse what the protocols do not cover, by name."""
    for item in items:
        reason = None
        if item.address.catalog == "pg_type":
            reason = session.value(
                "SELECT CASE WHEN t.typtype NOT IN ('e', 'c') THEN 'is neither an enum nor a composite type'"
                " WHEN c.relkind <> 'c' THEN 'is the row type of a table' END"
                " FROM pg_type AS t LEFT JOIN pg_class AS c ON c.oid = t.typrelid WHERE t.oid = %s",
                (item.address.objid,),
            )
        else:
            reason = session.value(_SHAPES, {"relation": item.relation, "index": item.address.objid})
        reason = reason or session.value(
            "SELECT CASE WHEN deptype = 'e' THEN 'belongs to an extension' END FROM pg_depend"
            " WHERE classid = %s::regclass AND objid = %s AND deptype = 'e'",
            (f"pg_catalog.{item.address.catalog}", item.address.objid),
        )
        reason = reason or session.value(
            "SELECT 'belongs to the server or to Stepback' FROM pg_identify_object(%s::regclass, %s, 0)"
            " WHERE schema IN ('pg_catalog', 'information_schema', 'pg_toast')"
            " OR starts_with(schema, %s) OR starts_with(schema, 'pg_temp') OR identity = ANY (%s)",
            (
                f"pg_catalog.{item.address.catalog}",
                item.relation or item.address.objid,
                _OWN_SCHEMA_PREFIX,
                list(_OWN_RELATIONS),
            ),
        )
        if reason is not None:
            raise PlanRefused(f"{item.label()} {reason}; it is left alone")


_SHAPES = """
SELECT CASE
    WHEN c.relkind <> 'r' THEN 'is not, or not of, an ordinary table'
    WHEN c.relpersistence = 't' THEN 'is temporary'
    WHEN EXISTS (SELECT FROM pg_inherits WHERE inhrelid = c.oid OR inhparent = c.oid)
        THEN 'has parents, children or partitions, which is not covered yet'
    WHEN c.reloftype <> 0 THEN 'is a typed table, which is not covered yet'
    WHEN EXISTS (SELECT FROM pg_constraint WHERE conindid = %(index)s AND contype IN ('p', 'u', 'x'))
        THEN 'belongs to a constraint; a plan can only drop it with its table or column'
END
  FROM pg_class AS c
 WHERE c.oid = %(relation)s
"""

# -- what depends on it -------------------------------------------------------

_DEPENDENTS = """
WITH removed AS (
    SELECT * FROM unnest(%(classids)s::regclass[], %(objids)s::oid[], %(subids)s::integer[])
                    AS r (classid, objid, subid)
), dependents AS (
    SELECT DISTINCT ON (o.classid, o.objid, o.objsubid)
           o.classid, o.objid, o.objsubid, d.deptype, r.classid AS by_classid, r.objid AS by_objid, r.subid AS by_subid
      FROM removed AS r
      JOIN pg_depend AS d
        ON d.refclassid = r.classid AND d.refobjid = r.objid AND (r.subid = 0 OR d.refobjsubid = r.subid)
      -- Without its expression a generated column is nothing, nor a view without its rule: it is they that depend.
      LEFT JOIN pg_attrdef AS e ON d.classid = 'pg_attrdef'::regclass AND e.oid = d.objid
      LEFT JOIN pg_attribute AS g ON g.attrelid = e.adrelid AND g.attnum = e.adnum AND g.attgenerated <> ''
      LEFT JOIN pg_rewrite AS v ON d.classid = 'pg_rewrite'::regclass AND v.oid = d.objid AND v.rulename = '_RETURN'
     CROSS JOIN LATERAL (SELECT CASE WHEN g.attnum IS NULL AND v.oid IS NULL THEN d.classid
                                     ELSE 'pg_class'::regclass END AS classid,
                                coalesce(g.attrelid, v.ev_class, d.objid) AS objid,
                                coalesce(g.attnum, d.objsubid) AS objsubid) AS o
     WHERE NOT (d.classid = r.classid AND d.objid = r.objid)
     ORDER BY o.classid, o.objid, o.objsubid, d.deptype
)
SELECT d.classid::regclass::text AS catalog, d.objid::bigint, d.objsubid AS subid, d.deptype::text,
       d.by_classid::regclass::text AS by_catalog, d.by_objid::bigint, d.by_subid,
       told.type AS kind, told.identity AS name, told.schema AS schema,
       c.relkind::text AS relkind, con.contype::text AS contype, con.confrelid::bigint AS confrelid,
       con.conparentid <> 0 AS inherited,
       coalesce(t.tgisinternal, false) AS internal, a.adnum,
       home.oid::bigint AS home, home.relnamespace::regnamespace::text AS home_schema,
       EXISTS (SELECT FROM pg_constraint WHERE conindid = i.indexrelid AND contype IN ('p', 'u', 'x')) AS of_constraint
  FROM dependents AS d
  CROSS JOIN LATERAL pg_identify_object(d.classid, d.objid, d.objsubid) AS told
  LEFT JOIN pg_class AS c ON d.classid = 'pg_class'::regclass AND c.oid = d.objid
  LEFT JOIN pg_index AS i ON i.indexrelid = c.oid
  LEFT JOIN pg_depend AS own ON c.relkind = 'S' AND own.classid = d.classid AND own.objid = d.objid
        AND own.refclassid = 'pg_class'::regclass AND own.deptype IN ('a', 'i')
  LEFT JOIN pg_constraint AS con ON d.classid = 'pg_constraint'::regclass AND con.oid = d.objid
  LEFT JOIN pg_trigger AS t ON d.classid = 'pg_trigger'::regclass AND t.oid = d.objid
  LEFT JOIN pg_rewrite AS w ON d.classid = 'pg_rewrite'::regclass AND w.oid = d.objid
  LEFT JOIN pg_policy AS p ON d.classid = 'pg_policy'::regclass AND p.oid = d.objid
  LEFT JOIN pg_statistic_ext AS s ON d.classid = 'pg_statistic_ext'::regclass AND s.oid = d.objid
  LEFT JOIN pg_publication_rel AS pr ON d.classid = 'pg_publication_rel'::regclass AND pr.oid = d.objid
  LEFT JOIN pg_attrdef AS a ON d.classid = 'pg_attrdef'::regclass AND a.oid = d.objid
  LEFT JOIN pg_class AS home
    ON home.oid = coalesce(i.indrelid, own.refobjid, c.oid, con.conrelid, t.tgrelid, w.ev_class, p.polrelid, s.stxrelid,
                           pr.prrelid, a.adrelid)
"""

#: Catalogs whose objects are text only: written down and dropped.
_TEXT_ONLY = frozenset({"pg_trigger", "pg_rewrite", "pg_policy", "pg_statistic_ext", "pg_publication_rel"})


def _follow(session: Session, closure: _Closure) -> None:
    """Follow pg_depend from what is known until nothing new is reached."""
    fresh = list(closure.items.values())
    while fresh:
        found = session.rows(
            _DEPENDENTS,
            {
                "classids": [f"pg_catalog.{item.address.catalog}" for item in fresh],
                "objids": [item.address.objid for item in fresh],
                "subids": [item.address.subid for item in fresh],
            },
        )
        fresh = []
        for row in found:
            address = Address(row["catalog"], row["objid"], row["subid"])
            whole = Address(row["catalog"], row["objid"])
            if address in closure.items or whole in closure.items or _is_ours(row):
                continue
            action = _action(row, closure)
            if action is None:
                continue
            by = closure.items[_by(row, closure)]
            item = Item(address, row["kind"], row["name"], f"depends on {by.label()}", action, relation=row["home"])
            origin = closure.origins[by.address]
            _require_cascade(row, item, origin, closure)
            closure.items[address] = item
            closure.origins[address] = origin
            fresh.append(item)


def _by(row: Row, closure: _Closure) -> Address:
    address = Address(row["by_catalog"], row["by_objid"], row["by_subid"])
    return address if address in closure.items else Address(row["by_catalog"], row["by_objid"])


def _is_ours(row: Row) -> bool:
    """Whether the dependent lies in a quarantine already: types keep serving it wherever they move."""
    # A default, a constraint or a rule has no schema of its own: that of its table counts.
    schema = row["home_schema"] or row["schema"] or ""
    return bool(row["internal"] or schema.startswith(_OWN_SCHEMA_PREFIX))


def _action(row: Row, closure: _Closure) -> Action | None:  # noqa: PLR0911 - one line a kind reads best
    """Decide what happens to a dependent; None if nothing has to."""
    catalog, home = row["catalog"], row["home"]
    inside = home in closure.moved
    if row["schema"] == "pg_toast" or (catalog == "pg_class" and inside and row["subid"]):
        return None
    if catalog in _TEXT_ONLY:
        return Action.DEFINED
    if catalog == "pg_constraint" and row["contype"] == "f":
        both = inside and row["confrelid"] in closure.moved
        return Action.CARRIED if both or row["inherited"] else Action.DEFINED
    if catalog == "pg_attrdef":
        return Action.CARRIED if inside or Address("pg_class", home, row["adnum"]) in closure.items else Action.DEFINED
    if inside or (row["deptype"] == "i" and row["relkind"] != "S"):
        return Action.CARRIED
    if catalog == "pg_constraint" and home:
        return Action.DEFINED
    if catalog == "pg_class" and row["relkind"] == "i":
        return Action.CARRIED if row["of_constraint"] else Action.DEFINED
    if catalog == "pg_class" and row["relkind"] == "r" and row["subid"]:
        return Action.COPIED
    raise ImpactNotAccepted(
        f"{row['kind']} {row['name']} depends on {closure.items[_by(row, closure)].label()}, and objects of this kind"
        " cannot be kept yet; drop it first, in a migration of its own"
    )


def _require_cascade(row: Row, item: Item, origin: _Origin, closure: _Closure) -> None:
    """Refuse where the server would: a dependent that is no part of what goes needs CASCADE."""
    part = row["deptype"] != "n" or item.relation in closure.moved or item.action is Action.CARRIED
    if not part and not origin.cascade:
        raise PlanRefused(f"{item.label()} {item.because}; say CASCADE if it is meant", line=origin.line)
    if item.action is Action.COPIED:
        closure.unaccepted.append(item)


def _refuse_unaccepted(closure: _Closure, accepts: Sequence[str]) -> None:
    refused = sorted(item.label() for item in closure.unaccepted if item.label() not in accepts)
    if refused:
        lines = ", ".join(f'"{label}"' for label in refused)
        raise ImpactNotAccepted(
            f"CASCADE would take {len(refused)} object(s) that the plan does not name: {', '.join(refused)}."
            f" If that is meant, add to plan.toml: accepts = [{lines}]"
        )


def _sized(session: Session, closure: _Closure) -> tuple[Item, ...]:
    """Add rows and bytes to tables, and put the items in a stable order."""
    tables = [item.address.objid for item in closure.items.values() if item.kind == "table"]
    sizes = {
        row["oid"]: row
        for row in session.rows(
            "SELECT oid::bigint, greatest(reltuples, 0)::bigint AS rows, pg_total_relation_size(oid) AS bytes"
            " FROM pg_class WHERE oid = ANY (%s::oid[])",
            (tables,),
        )
    }
    sized = [
        Item(
            item.address,
            item.kind,
            item.name,
            item.because,
            item.action,
            rows=sizes[item.address.objid]["rows"],
            bytes=sizes[item.address.objid]["bytes"],
            relation=item.relation,
        )
        if item.kind == "table"
        else item
        for item in closure.items.values()
    ]
    return tuple(sorted(sized, key=lambda item: (item.kind, item.name)))
