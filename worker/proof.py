"""The preservation proof: before COMMIT, everything that disappeared or changed must be explained.

The server marks every row that somebody deletes or replaces (`xmax`) and shows it to all others until COMMIT. So a
row that our session does not see any more, while a second session, the witness, still does, is what we are about
to take away: read at the end, without an image being taken beforehand, and what others did meanwhile is not in it.
Source: PostgreSQL documentation, "System Columns" and "Transaction Isolation".
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ledger.errors import LockNotAvailable, WouldLoseData
from worker import moment
from worker.moment import Moment
from worker.objects.column_options import without_servers_own
from worker.objects.keeping import GONE, Address, Permits
from worker.target import Row, Session, array
from worker.work import Advise

#: How a row of each catalog is identified, and which object it belongs to: columns for the key, and the
#: catalog, objid and subid columns of the object. An own change in a catalog that is not here is refused.
_CATALOGS: Mapping[str, tuple[tuple[str, ...], tuple[str, str, str | None]]] = {
    "pg_aggregate": (("aggfnoid",), ("pg_proc", "aggfnoid", None)),
    "pg_attrdef": (("oid",), ("pg_attrdef", "oid", None)),
    "pg_attribute": (("attrelid", "attnum"), ("pg_class", "attrelid", "attnum")),
    "pg_cast": (("oid",), ("pg_cast", "oid", None)),
    "pg_class": (("oid",), ("pg_class", "oid", None)),
    "pg_constraint": (("oid",), ("pg_constraint", "oid", None)),
    "pg_enum": (("oid",), ("pg_type", "enumtypid", None)),
    "pg_index": (("indexrelid",), ("pg_class", "indexrelid", None)),
    "pg_inherits": (("inhrelid", "inhparent"), ("pg_class", "inhrelid", None)),
    "pg_namespace": (("oid",), ("pg_namespace", "oid", None)),
    "pg_partitioned_table": (("partrelid",), ("pg_class", "partrelid", None)),
    "pg_policy": (("oid",), ("pg_policy", "oid", None)),
    "pg_proc": (("oid",), ("pg_proc", "oid", None)),
    "pg_publication_rel": (("oid",), ("pg_publication_rel", "oid", None)),
    "pg_range": (("rngtypid",), ("pg_type", "rngtypid", None)),
    "pg_rewrite": (("oid",), ("pg_rewrite", "oid", None)),
    "pg_sequence": (("seqrelid",), ("pg_class", "seqrelid", None)),
    "pg_statistic_ext": (("oid",), ("pg_statistic_ext", "oid", None)),
    "pg_trigger": (("oid",), ("pg_trigger", "oid", None)),
    "pg_type": (("oid",), ("pg_type", "oid", None)),
}

#: Where a key prints as a name, which changes with the search_path and is no number.
_AS_NUMBERS = {"pg_aggregate": " || jsonb_build_object('aggfnoid', c.aggfnoid::oid::bigint)"}

#: Catalogs that say something about another object: its class, OID and column are in these columns.
_ABOUT: Mapping[str, tuple[str, str, str]] = {
    "pg_depend": ("classid", "objid", "objsubid"),
    "pg_shdepend": ("classid", "objid", "objsubid"),
    "pg_description": ("classoid", "objoid", "objsubid"),
    "pg_seclabel": ("classoid", "objoid", "objsubid"),
}

#: Derived from data, made again by ANALYZE: losing it loses nothing.
_DERIVED = frozenset({"pg_statistic", "pg_statistic_ext_data"})

#: What no statement of a plan may make, nor anything of ours: whatever a function adds here, no recovery takes away.
_BEYOND_RECOVERY = frozenset(
    {
        "pg_am",
        "pg_amop",
        "pg_amproc",
        "pg_auth_members",
        "pg_authid",
        "pg_collation",
        "pg_conversion",
        "pg_database",
        "pg_db_role_setting",
        "pg_default_acl",
        "pg_event_trigger",
        "pg_extension",
        "pg_foreign_data_wrapper",
        "pg_foreign_server",
        "pg_foreign_table",
        "pg_language",
        "pg_largeobject",
        "pg_largeobject_metadata",
        "pg_opclass",
        "pg_operator",
        "pg_opfamily",
        "pg_parameter_acl",
        "pg_publication",
        "pg_publication_namespace",
        "pg_replication_origin",
        "pg_seclabel",
        "pg_shseclabel",
        "pg_subscription",
        "pg_tablespace",
        "pg_transform",
        "pg_ts_config",
        "pg_ts_dict",
        "pg_ts_parser",
        "pg_ts_template",
        "pg_user_mapping",
    }
)

#: Columns that the server keeps as hints or counts of what stands in other rows.
_HOUSEKEEPING = frozenset(
    {
        "relpages",
        "reltuples",
        "relallvisible",
        "relallfrozen",
        "relhasindex",
        "relhasrules",
        "relhastriggers",
        "relhassubclass",
        "relchecks",
        "relnatts",
        "relfrozenxid",
        "relminmxid",
    }
)


@dataclass(frozen=True)
class Loss:
    """A catalog row that is gone or changed."""

    catalog: str
    address: Address | None
    #: "gone", or the columns that changed.
    changed: frozenset[str]
    #: The transaction that wrote the row.
    xmin: int
    #: A row of pg_depend that told which schema the object is in.
    told_schema: bool = False


class Witness:
    """A second session, outside any transaction, which sees everything as it is without our changes."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._readable = tuple(row["name"] for row in session.rows(_READABLE))
        self._updated: dict[str, int] = {}
        self._unreadable: dict[str, int] = {}
        self._inserted: dict[str, int] = {}
        self._catalogs = {row["oid"]: row["name"] for row in session.rows(_CATALOG_NAMES)}
        self._marked = " UNION ALL ".join(
            f"SELECT '{name}' AS catalog, ctid::text, xmin::text, to_jsonb(c){_AS_NUMBERS.get(name, '')} AS was"
            f" FROM pg_catalog.{name} AS c WHERE xmax <> 0"
            for name in self._readable
        )

    def rehearse(self, apply: Session) -> None:
        """Ask everything once before the locks are taken: planned and read from disk then, not under them."""
        self._session.rows(self._marked)
        _visible(self._session, {})
        _visible(apply, {})
        _now(apply, {})
        self.counted(apply)

    def note_counters(self, apply: Session) -> None:
        """Note the row counters of the session so far, which include earlier work; inside the transaction."""
        self._updated, self._unreadable, self._inserted = _counters(apply, self._readable)

    def losses(self, apply: Session) -> list[Loss]:
        """Return every catalog row that the transaction of `apply` removed or changed."""
        marked = self._session.rows(self._marked)
        seen = _visible(apply, _by_catalog(marked))
        gone = [row for row in marked if _version(row) not in seen]
        # Looked at in this order: what others committed in between is gone for the witness too.
        still_there = _visible(self._session, _by_catalog(gone))
        ours = _by_catalog(row for row in gone if _version(row) in still_there)
        now = _now(apply, ours)
        return [loss for catalog, rows in sorted(ours.items()) for loss in self._compare(catalog, rows, now)]

    def _compare(self, catalog: str, gone: Sequence[Row], now: Mapping[tuple[Any, ...], Row]) -> Iterable[Loss]:
        if catalog in _ABOUT:
            for row in gone:
                yield self._about(catalog, row)
            return
        if catalog not in _CATALOGS:
            yield Loss(catalog, None, GONE, 0)
            return
        key, (owner, objid, subid) = _CATALOGS[catalog]
        for row in gone:
            was = row["was"]
            address = Address(owner, int(was[objid]), int(was[subid]) if subid else 0)
            is_now = now.get((catalog, *(was[column] for column in key)))
            changed = _difference(was, is_now) if is_now is not None else GONE
            if changed:
                yield Loss(catalog, address, changed, int(row["xmin"]))

    def _about(self, catalog: str, row: Row) -> Loss:
        was = row["was"]
        classid, objid, subid = _ABOUT[catalog]
        address = Address(self._catalogs[int(was[classid])], int(was[objid]), int(was[subid]))
        to_schema = catalog == "pg_depend" and self._catalogs[int(was["refclassid"])] == "pg_namespace"
        return Loss(catalog, address, GONE, int(row["xmin"]), told_schema=to_schema)

    def describe(self, loss: Loss) -> str:
        """Name what is lost; the witness sees it under its old name."""
        if loss.address is None:
            return f"rows of {loss.catalog}"
        address = loss.address
        told = self._session.row(
            "SELECT coalesce(type || ' ' || identity, %s) AS label FROM pg_identify_object(%s::regclass, %s, %s)",
            (f"{address.catalog} {address.objid}", f"pg_catalog.{address.catalog}", address.objid, address.subid),
        )
        how = (
            f"gone from {loss.catalog}"
            if loss.changed <= GONE | {loss.catalog}
            else "changed: " + ", ".join(sorted(loss.changed))
        )
        return f"{told['label'] if told else address} ({how})"

    def counted(self, apply: Session) -> tuple[dict[str, int], dict[str, int], dict[str, int]]:
        """Return rows changed since `note_counters`.

        Returns:
            Updated or deleted, per table; the same per unreadable catalog; inserted, per table.
        """
        users, catalogs, inserted = _counters(apply, self._readable)
        return (
            _since(self._updated, users),
            _since(self._unreadable, catalogs),
            _since(self._inserted, inserted),
        )

    def knew(self, relations: Iterable[str]) -> set[str]:
        """Return which of some tables were there before the transaction.

        A materialized view is filled anew by its query; that it was, its new file tells.
        """
        found = self._session.rows(
            "SELECT oid::text FROM pg_catalog.pg_class WHERE oid = ANY (%s::oid[]) AND relkind <> 'm'",
            (array(relations),),
        )
        return {row["oid"] for row in found}


_CATALOG_NAMES = """
SELECT oid::bigint, relname::text AS name FROM pg_class
 WHERE relnamespace = 'pg_catalog'::regnamespace AND relkind = 'r'
"""

_READABLE = """
SELECT relname::text AS name FROM pg_class
 WHERE relnamespace = 'pg_catalog'::regnamespace AND relkind = 'r' AND has_table_privilege(oid, 'SELECT')
 ORDER BY relname
"""


def prove(  # noqa: PLR0917 - what it holds against each other
    apply: Session,
    witness: Witness,
    permits: Permits,
    writes: frozenset[int],
    looked: Moment,
    advise: Advise | None = None,
) -> str:
    """Prove that nothing is lost which is not preserved; say how many catalog rows were explained.

    Args:
        apply: The session of the transaction, after its last change.
        witness: Sees what is there without its changes.
        permits: What the changes explain.
        writes: Tables of the application whose rows the run may write.
        looked: When it was last seen that what is written down is what is there.
        advise: Says what the author of the plan may do about rows that are not preserved.

    Raises:
        WouldLoseData: Names each object that is not explained.
        LockNotAvailable: Something that is explained was changed by somebody since it was looked at.
    """
    losses = witness.losses(apply)
    unexplained = sorted({witness.describe(loss) for loss in losses if not _explained(loss, permits)})
    users, catalogs, inserted = witness.counted(apply)
    allowed = {str(oid) for oid in writes}
    unseen = sorted(users.keys() - allowed)
    unexplained.extend(f"{users[relation]} row(s) of {_label(apply, relation)}" for relation in unseen)
    # A recovery would not know them, so that they stayed.
    for relation in sorted(witness.knew(inserted.keys() - allowed)) if inserted.keys() - allowed else ():
        unexplained.append(f"{inserted[relation]} new row(s) of {_label(apply, relation)}, which no statement mentions")
        unseen.append(relation)
    # "new pg_collation": what is made there, a recovery would not take away.
    unexplained.extend(f"{count} row(s) of {name}" for name, count in sorted(catalogs.items()))
    if unexplained:
        # What is told of rows may be preserved if the plan asks for it; no more than that.
        told = "" if advise is None else advise(apply, [*map(int, unseen)], len(unexplained) > len(unseen))
        raise WouldLoseData(f"not preserved: {'; '.join(unexplained)}{told}")
    now = moment.of(apply)
    newer = sorted({witness.describe(loss) for loss in losses if not looked.before(loss.xmin, now)})
    if newer:
        raise LockNotAvailable("changed by somebody while it was being removed: " + "; ".join(newer))
    return f"{len(losses)} catalog row(s) gone or changed, each explained"


def _label(session: Session, relation: str) -> str:
    label: str = session.value("SELECT %s::oid::regclass::text", (relation,))
    return label


def _explained(loss: Loss, permits: Permits) -> bool:
    if loss.address is None:
        return False
    whole = permits.get(Address(loss.address.catalog, loss.address.objid), frozenset())
    allowed = whole if whole >= GONE else permits.get(loss.address, frozenset()) | whole
    if allowed >= GONE:
        return True
    if loss.told_schema:
        return bool(allowed & {"relnamespace", "typnamespace", "pronamespace", loss.catalog})
    if loss.changed >= GONE and loss.catalog != loss.address.catalog:
        # A permit may name another catalog: its rows about the object may go, as those of an inheritance that ends.
        return loss.catalog in allowed
    return loss.changed != GONE and loss.changed <= allowed | _HOUSEKEEPING


#: Which of some row versions the session still sees, over all catalogs that are told apart.
_VISIBLE = " UNION ALL ".join(
    f"SELECT '{name}' AS catalog, ctid::text, xmin::text FROM pg_catalog.{name} WHERE ctid = ANY (%({name})s::tid[])"
    for name in (*_CATALOGS, *_ABOUT)
)

#: The rows of some keys as they are now; the first column of each key is an OID.
_NOW = " UNION ALL ".join(
    f"SELECT '{name}' AS catalog, to_jsonb(c){_AS_NUMBERS.get(name, '')} AS is_now FROM pg_catalog.{name} AS c"
    f" WHERE {key[0]} = ANY (%({name})s::oid[])"
    for name, (key, _) in _CATALOGS.items()
)

_COUNTERS = """
SELECT true AS catalog, relname::text AS name, n_tup_upd + n_tup_del AS count, n_tup_ins AS inserted
  FROM pg_stat_xact_sys_tables
 WHERE schemaname = 'pg_catalog'
   AND (n_tup_upd + n_tup_del > 0 AND NOT relname = ANY (%(known)s) OR n_tup_ins > 0 AND relname = ANY (%(beyond)s))
UNION ALL
SELECT false, relid::text, n_tup_upd + n_tup_del,
       CASE WHEN schemaname LIKE 'emergency\\_backup%%' THEN 0 ELSE n_tup_ins END
  FROM pg_stat_xact_user_tables
 WHERE n_tup_upd + n_tup_del + n_tup_ins > 0 AND schemaname <> 'emergency_backup'
   AND relid <> coalesce(to_regclass('public.migration_rollbacks'), 0::oid)
"""


def _version(row: Row) -> tuple[str, str, str]:
    return row["catalog"], row["ctid"], row["xmin"]


def _by_catalog(rows: Iterable[Row]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        found[row["catalog"]].append(row)
    return found


def _visible(session: Session, versions: Mapping[str, Sequence[Row]]) -> set[tuple[str, str, str]]:
    """Return which of some row versions a session sees, by catalog."""
    ctids = {catalog: [row["ctid"] for row in rows] for catalog, rows in versions.items()}
    told_apart = {name: array(ctids.get(name, ())) for name in (*_CATALOGS, *_ABOUT)}
    seen = {_version(row) for row in session.rows(_VISIBLE, told_apart)}
    for name in ctids.keys() - told_apart.keys():
        # No statement of ours should touch it: looked at only if something there is marked at all.
        rows = session.rows(
            f"SELECT ctid::text, xmin::text FROM pg_catalog.{name} WHERE ctid = ANY (%s::tid[])", (ctids[name],)
        )
        seen |= {(name, row["ctid"], row["xmin"]) for row in rows}
    return seen


def _now(apply: Session, gone: Mapping[str, Sequence[Row]]) -> dict[tuple[Any, ...], Row]:
    """Return the current rows, by catalog and key."""
    wanted = {name: array(row["was"][key[0]] for row in gone.get(name, ())) for name, (key, _) in _CATALOGS.items()}
    return {
        (row["catalog"], *(row["is_now"][column] for column in _CATALOGS[row["catalog"]][0])): row["is_now"]
        for row in apply.rows(_NOW, wanted)
    }


def _difference(was: Mapping[str, Any], is_now: Mapping[str, Any]) -> frozenset[str]:
    if is_now.get("attisdropped") and not was.get("attisdropped"):
        return GONE
    changed = frozenset(column for column in was if was[column] != is_now.get(column)) - _HOUSEKEEPING
    if without_servers_own(was.get("attoptions")) == without_servers_own(is_now.get("attoptions")):
        changed -= {"attoptions"}
    # A table that gets its first wide column gets a place for long values: what was not there is not lost.
    return changed - {"reltoastrelid"} if str(was.get("reltoastrelid")) == "0" else changed


def _counters(apply: Session, readable: Sequence[str]) -> tuple[dict[str, int], dict[str, int], dict[str, int]]:
    """Return rows changed by this session: per table of the application, per unreadable catalog, inserted per table."""
    known = frozenset((*readable, *_DERIVED))
    found = apply.rows(_COUNTERS, {"known": sorted(known), "beyond": sorted(_BEYOND_RECOVERY)})
    tables = [row for row in found if not row["catalog"]]
    users = {row["name"]: row["count"] for row in tables if row["count"]}
    inserted = {row["name"]: row["inserted"] for row in tables if row["inserted"]}
    catalogs = {r["name"]: r["count"] for r in found if r["catalog"] and r["count"] and r["name"] not in known}
    made = {r["name"]: r["inserted"] for r in found if r["catalog"] and r["inserted"] and r["name"] in _BEYOND_RECOVERY}
    return users, {**catalogs, **{f"new {name}": count for name, count in made.items()}}, inserted


def _since(before: Mapping[str, int], after: Mapping[str, int]) -> dict[str, int]:
    return {name: count - before.get(name, 0) for name, count in after.items() if count > before.get(name, 0)}
