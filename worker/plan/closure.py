"""The closure: from what a plan names to everything that depends on it, as pg_depend tells, and what happens to each.

Source: PostgreSQL documentation, "Dependency Tracking" and the catalog page of pg_depend.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from ledger.errors import ImpactNotAccepted, PlanRefused, RecoverFirst
from worker.objects.keeping import Action, Address, Item
from worker.target import Row, Session

#: Schemas whose objects no plan may touch.
OWN_SCHEMA_PREFIX = "emergency_backup"


@dataclass(frozen=True)
class Origin:
    """The statement that an item goes back to."""

    cascade: bool
    line: int
    #: Which of the plan's statements it is.
    place: int


@dataclass
class Closure:
    """What has been reached so far."""

    #: Tables, materialized views and composite types that move whole, as OIDs in pg_class.
    moved: frozenset[int]
    items: dict[Address, Item]
    origins: dict[Address, Origin]
    #: What earlier statements of the script change: whether it still depends on anything is seen when its turn comes.
    changed: frozenset[Address] = frozenset()
    #: What depends on what, among the items.
    edges: set[tuple[Address, Address]] = field(default_factory=set)
    #: What each item that is carried goes along with.
    carriers: dict[Address, Address] = field(default_factory=dict)
    #: What hangs on what without being part of it.
    hanging: list[tuple[Address, Address]] = field(default_factory=list)
    #: Objects of others, which somebody must accept.
    unaccepted: list[Item] = field(default_factory=list)


_DEPENDENTS = """
WITH removed AS (
    SELECT * FROM unnest(%(classids)s::regclass[], %(objids)s::oid[], %(subids)s::integer[])
                    AS r (classid, objid, subid)
), dependents AS (
    SELECT DISTINCT ON (o.classid, o.objid, o.objsubid, r.classid, r.objid, r.subid)
           o.classid, o.objid, o.objsubid, d.deptype, r.classid AS by_classid, r.objid AS by_objid, r.subid AS by_subid
      FROM removed AS r
      JOIN pg_depend AS d
        ON d.refclassid = r.classid AND d.refobjid = r.objid AND (r.subid = 0 OR d.refobjsubid = r.subid)
      -- Without its expression a generated column is nothing, nor a view without its rule: it is they that depend.
      LEFT JOIN pg_attrdef AS e ON d.classid = 'pg_attrdef'::regclass AND e.oid = d.objid
      LEFT JOIN pg_attribute AS g ON g.attrelid = e.adrelid AND g.attnum = e.adnum AND g.attgenerated <> ''
      LEFT JOIN pg_rewrite AS v ON d.classid = 'pg_rewrite'::regclass AND v.oid = d.objid AND v.rulename = '_RETURN'
      -- What the index of a constraint uses, the constraint uses.
      LEFT JOIN pg_constraint AS k
        ON k.conindid = d.objid AND k.contype IN ('p', 'u', 'x')
       AND d.classid = 'pg_class'::regclass AND d.deptype <> 'i'
      -- A materialized view goes whole, whichever of its columns it is about.
      LEFT JOIN pg_class AS m ON d.classid = 'pg_class'::regclass AND m.oid = d.objid AND m.relkind = 'm'
     CROSS JOIN LATERAL (SELECT CASE WHEN k.oid IS NOT NULL THEN 'pg_constraint'::regclass
                                     WHEN g.attnum IS NULL AND v.oid IS NULL THEN d.classid
                                     ELSE 'pg_class'::regclass END AS classid,
                                coalesce(g.attrelid, v.ev_class, k.oid, d.objid) AS objid,
                                coalesce(g.attnum, CASE WHEN m.oid IS NULL THEN d.objsubid ELSE 0 END) AS objsubid) AS o
     WHERE NOT (d.classid = r.classid AND d.objid = r.objid)
     ORDER BY o.classid, o.objid, o.objsubid, r.classid, r.objid, r.subid, d.deptype
)
SELECT d.classid::regclass::text AS catalog, d.objid::bigint, d.objsubid AS subid, d.deptype::text,
       d.by_classid::regclass::text AS by_catalog, d.by_objid::bigint, d.by_subid,
       told.type AS kind, told.identity AS name, told.schema AS schema,
       c.relkind::text AS relkind, con.contype::text AS contype, con.confrelid::bigint AS confrelid,
       con.contypid::bigint AS of_domain,
       -- What a partition has from the whole comes and goes with that.
       coalesce(con.conparentid, t.tgparentid, 0) <> 0 OR home.relispartition AND con.coninhcount > 0
           OR i.indexrelid IS NOT NULL AND c.relispartition AS inherited,
       -- Triggers that keep a copy of columns true are not the application's.
       coalesce(t.tgisinternal OR starts_with(f.pronamespace::regnamespace::text, 'emergency_backup_r'), false)
           AS internal, a.adnum,
       home.oid::bigint AS home, home.relnamespace::regnamespace::text AS home_schema,
       EXISTS (SELECT FROM pg_constraint WHERE conindid = i.indexrelid AND contype IN ('p', 'u', 'x'))
           AS of_constraint,
       d.classid = 'pg_proc'::regclass AND EXISTS (SELECT FROM pg_depend AS c WHERE c.classid = d.classid
          AND c.objid = d.objid AND c.deptype = 'i' AND c.refclassid = 'pg_type'::regclass) AS constructor
  FROM dependents AS d
  CROSS JOIN LATERAL pg_identify_object(d.classid, d.objid, d.objsubid) AS told
  LEFT JOIN pg_class AS c ON d.classid = 'pg_class'::regclass AND c.oid = d.objid
  LEFT JOIN pg_index AS i ON i.indexrelid = c.oid
  LEFT JOIN pg_depend AS own ON c.relkind = 'S' AND own.classid = d.classid AND own.objid = d.objid
        AND own.refclassid = 'pg_class'::regclass AND own.deptype IN ('a', 'i')
  LEFT JOIN pg_constraint AS con ON d.classid = 'pg_constraint'::regclass AND con.oid = d.objid
  LEFT JOIN pg_trigger AS t ON d.classid = 'pg_trigger'::regclass AND t.oid = d.objid
  LEFT JOIN pg_proc AS f ON f.oid = t.tgfoid
  LEFT JOIN pg_rewrite AS w ON d.classid = 'pg_rewrite'::regclass AND w.oid = d.objid
  LEFT JOIN pg_policy AS p ON d.classid = 'pg_policy'::regclass AND p.oid = d.objid
  LEFT JOIN pg_statistic_ext AS s ON d.classid = 'pg_statistic_ext'::regclass AND s.oid = d.objid
  LEFT JOIN pg_publication_rel AS pr ON d.classid = 'pg_publication_rel'::regclass AND pr.oid = d.objid
  LEFT JOIN pg_attrdef AS a ON d.classid = 'pg_attrdef'::regclass AND a.oid = d.objid
  LEFT JOIN pg_class AS home
    ON home.oid = coalesce(i.indrelid, own.refobjid, c.oid, con.conrelid, t.tgrelid, w.ev_class, p.polrelid, s.stxrelid,
                           pr.prrelid, a.adrelid)
 ORDER BY d.classid <> 'pg_type'::regclass, d.classid DESC, d.objid, d.objsubid, d.deptype,
          d.by_classid, d.by_objid, d.by_subid
"""

#: Catalogs whose objects are text only: written down and dropped.
_TEXT_ONLY = frozenset({"pg_trigger", "pg_rewrite", "pg_policy", "pg_statistic_ext", "pg_publication_rel"})


def follow(session: Session, closure: Closure) -> None:
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
        fresh = [item for row in found if (item := _reach(row, closure)) is not None]


def _reach(row: Row, closure: Closure) -> Item | None:
    """Take in one dependency; return the dependent if something is to be done about it that was not known."""
    by = closure.items[_by(row, closure)]
    if _is_ours(row):
        _refuse_needed(row, by, closure)
        return None
    address = Address(row["catalog"], row["objid"], row["subid"])
    whole = Address(row["catalog"], row["objid"])
    default_of = {Address("pg_class", row["home"], row["adnum"])} if row["adnum"] is not None else set()
    if {address, whole, *default_of} & closure.changed:
        return None
    known = whole if whole in closure.items and address not in closure.items else address
    if not (row["relkind"] == "S" and row["deptype"] == "a"):
        # A column lets go of the sequence that it owns, which its default needs back before it.
        closure.edges.add((known, by.address))
    _carry(row, known, by, closure)
    if row["deptype"] == "n":
        closure.hanging.append((known, by.address))
    if known in closure.items and not (_lives_on(known, address, closure) and _vanishes(by, closure)):
        return None
    action = _action(row, by, closure)
    if action is None or (known in closure.items and action is Action.CARRIED):
        return None
    item = Item(address, row["kind"], row["name"], f"depends on {by.label()}", action, relation=row["home"])
    closure.items[address] = item
    closure.origins[address] = closure.origins[by.address]
    of_others = item.kind in _VANISHING or (action is Action.MOVED and row["deptype"] == "n")
    if action is Action.COPIED or (of_others and action is not Action.CARRIED):
        closure.unaccepted.append(item)
    if row["relkind"] == "m":
        closure.moved |= {item.address.objid}
    closure.carriers.pop(address, None)
    if action is Action.CARRIED:
        closure.carriers[address] = _carrier(row, by, closure)
    return item


#: In pg_depend, what is no more than a piece of another object: internal, or of a partitioned one.
_PIECES = frozenset({"i", "P"})


def _carrier(row: Row, by: Item, closure: Closure) -> Address:
    """Say what an object goes along with: the column that it is the default of, its table, or what it is reached by."""
    column, table = Address("pg_class", row["home"] or 0, row["adnum"] or 0), Address("pg_class", row["home"] or 0)
    if row["deptype"] in _PIECES:
        return by.address
    return column if column in closure.items else table if table in closure.items else by.address


def _carry(row: Row, known: Address, by: Item, closure: Closure) -> None:
    """Note that something which was reached before is a piece of this, and not of whatever it was reached by."""
    if row["deptype"] not in _PIECES or known not in closure.carriers:
        return
    # A generated column and its expression are one: it is no piece of itself.
    if known not in {by.address, _bearer(by.address, closure)}:
        closure.carriers[known] = by.address


def _vanishes(item: Item, closure: Closure) -> bool:
    """Whether an object is dropped and made again: nothing that lives on in quarantine may depend on it."""
    return closure.items[_bearer(item.address, closure)].kind in _VANISHING


def _lives_on(known: Address, address: Address, closure: Closure) -> bool:
    """Whether something that was reached before goes along into quarantine: with its table, or as a column of it."""
    return closure.items[known].action is Action.CARRIED or (known != address and known.objid in closure.moved)


#: Kinds that others may depend on and that are text only.
_VANISHING = frozenset({"view", "function", "procedure", "aggregate"})


def _by(row: Row, closure: Closure) -> Address:
    address = Address(row["by_catalog"], row["by_objid"], row["by_subid"])
    return address if address in closure.items else Address(row["by_catalog"], row["by_objid"])


def _is_ours(row: Row) -> bool:
    """Whether the dependent lies in a quarantine already: types keep serving it wherever they move."""
    # A default, a constraint or a rule has no schema of its own: that of its table counts.
    schema = row["home_schema"] or row["schema"] or ""
    return bool(row["internal"] or schema.startswith(OWN_SCHEMA_PREFIX))


def _refuse_needed(row: Row, by: Item, closure: Closure) -> None:
    """See that nothing which an earlier run keeps needs what is dropped; what moves goes on serving it."""
    if _vanishes(by, closure) and not row["internal"]:
        raise PlanRefused(
            f"{by.label()} is used by {row['kind']} {row['name']}, which an earlier rollback keeps;"
            " recover that run first"
        )
    if row["relkind"] == "m" and by.action is not Action.MOVED:
        # It goes on reading tables, which may move but not lose columns.
        raise RecoverFirst(
            f"{row['kind']} {row['name']}, which an earlier run keeps, reads {by.label()}; recover that run"
        )


def _action(row: Row, by: Item, closure: Closure) -> Action | None:  # noqa: C901, PLR0911 - one line a kind reads best
    """Decide what happens to a dependent; None if nothing has to."""
    catalog, home = row["catalog"], row["home"]
    # What lives on in quarantine cannot take along what uses a function or view that does not.
    inside = home in closure.moved and not _vanishes(by, closure)
    if row["schema"] == "pg_toast" or (catalog == "pg_class" and inside and row["subid"]):
        return None
    if catalog in _TEXT_ONLY:
        # A partition's trigger comes and goes with that of the whole, or with the partition.
        return Action.CARRIED if row["inherited"] else Action.DEFINED
    if catalog == "pg_constraint" and row["contype"] == "f":
        both = inside and row["confrelid"] in closure.moved
        return Action.CARRIED if both or row["inherited"] else Action.DEFINED
    if catalog == "pg_attrdef":
        return Action.CARRIED if inside or Address("pg_class", home, row["adnum"]) in closure.items else Action.DEFINED
    if row["constructor"] or (catalog == "pg_constraint" and Address("pg_type", row["of_domain"]) in closure.items):
        # Parts of a range and of a domain go where it goes.
        return Action.CARRIED
    if row["deptype"] != "i" and (catalog == "pg_proc" or (row["relkind"] == "v" and not row["subid"])):
        return Action.DEFINED
    if inside or (row["deptype"] == "i" and row["relkind"] != "S"):
        return Action.CARRIED
    if catalog == "pg_constraint" and home:
        return Action.CARRIED if row["inherited"] else Action.DEFINED
    if row["relkind"] == "S" and row["deptype"] in "ai":
        # Owned by a column that goes: a serial's lives by itself, that of an identity does not.
        return Action.MOVED if row["deptype"] == "a" else Action.DEFINED
    if row["relkind"] == "m" or (catalog == "pg_type" and row["deptype"] == "n"):
        return Action.MOVED
    if catalog == "pg_class" and row["relkind"] in {"i", "I"}:
        return Action.CARRIED if row["of_constraint"] or row["inherited"] else Action.DEFINED
    if catalog == "pg_class" and row["relkind"] == "r" and row["subid"] and _can_be_copied(by, home, closure):
        return Action.COPIED
    raise ImpactNotAccepted(
        f"{row['kind']} {row['name']} depends on {by.label()}, and objects of this kind cannot be kept yet; drop it"
        " first, in a migration of its own"
    )


def _can_be_copied(by: Item, home: int, closure: Closure) -> bool:
    """Whether a column can do without what it depends on: its copy could not, if that is its type."""
    its_type = by.address.catalog == "pg_type" and _vanishes(by, closure)
    return not its_type and home not in closure.moved


def _find_first(closure: Closure, named: Collection[Address]) -> None:
    """Let each item go back to the first statement that takes it, through whatever it depends on."""
    edges = [(one, other) for one, other in closure.edges if one in closure.items and one not in named]
    settled = False
    while not settled:
        settled = True
        for one, other in edges:
            if closure.origins[other].place < closure.origins[one].place:
                closure.origins[one] = closure.origins[other]
                settled = False


def refuse_without_cascade(closure: Closure, named: Collection[Address]) -> None:
    """Refuse where the server would: what hangs on what goes first, without being part of it, needs CASCADE there.

    Args:
        closure: Complete.
        named: What the plan names: that needs no CASCADE, wherever it stands in the plan.

    Raises:
        PlanRefused: Names one such object.
    """
    _find_first(closure, named)
    first: dict[Address, Address] = {}
    for one, other in closure.hanging:
        if one in closure.items and one not in named:
            known = first.setdefault(one, other)
            first[one] = min(known, other, key=lambda address: closure.origins[address].place)
    for address, by in first.items():
        item, origin = closure.items[address], closure.origins[by]
        # It goes before anything asks for it, or along with something that does not need it either.
        goes_anyway = item.relation is not None and item.address != Address("pg_class", item.relation)
        goes_anyway = goes_anyway and Address("pg_class", item.relation or 0) in closure.items
        if not (origin.cascade or goes_anyway or item.action is Action.CARRIED):
            told = f"{item.label()} depends on {closure.items[by].label()}"
            raise PlanRefused(f"{told}; say CASCADE if it is meant", line=origin.line)


def order(closure: Closure) -> frozenset[tuple[Address, Address]]:
    """Return what must go before what: each item before those that it, or what it carries along, depends on."""
    pairs = ((_bearer(one, closure), _bearer(other, closure)) for one, other in closure.edges)
    return frozenset((one, other) for one, other in pairs if one != other)


def _bearer(address: Address, closure: Closure) -> Address:
    while address in closure.carriers:
        address = closure.carriers[address]
    return address
