"""Objects that are only text: triggers, rules, policies, statistics, publication membership, defaults.

Each is written down as the SQL that makes it again, then dropped: left on a moved table, a trigger or rule
would go on running and hold the application's other objects fast.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from worker.objects import family
from worker.objects.family import if_still_there
from worker.objects.keeping import GONE, Address, Item, Keeping, literal, quoted
from worker.objects.quarantine import Quarantine
from worker.target import Row, Session

#: How ALTER TABLE names the firing states of triggers and rules.
_ENABLED = {"O": "", "D": "DISABLE", "R": "ENABLE REPLICA", "A": "ENABLE ALWAYS"}

_HOME = """
SELECT n.nspname AS schema, c.relname AS table, c.relkind = 'v' AS view
  FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE c.oid = %s
"""


def keep(session: Session, item: Item, _quarantine: Quarantine) -> Keeping:
    """Say how an object that is only text is kept."""
    assert item.relation is not None  # noqa: S101 - impact gives text-only objects their table
    home = session.row(_HOME, (item.relation,))
    assert home is not None  # noqa: S101 - the impact was computed in this transaction
    remove, restore, permits = _KINDS[item.address.catalog](session, item, quoted(home["schema"], home["table"]))
    # A trigger of a partitioned table is one of each partition, too.
    of_family = item.address.catalog == "pg_trigger"
    tables = frozenset(family.with_partitions(session, {item.relation})) if of_family else frozenset({item.relation})
    return Keeping(
        item,
        remove=(remove,),
        restore=restore,
        # LOCK TABLE on a view would lock the tables that it looks at, too.
        locks=frozenset() if home["view"] else tables,
        permits={item.address: GONE, **permits},
        facts={
            "touches": [[at.objid, at.subid] for at in permits if at.catalog == "pg_class"],
            "needs": quoted(home["schema"], home["table"]),
            "partitions": [*sorted(tables - {item.relation})],
        },
    )


def comment(session: Session, address: Address, subject: str) -> tuple[str, ...]:
    """Return the statement that gives an object its comment again, if it has one.

    Args:
        session: In the target.
        address: Where the object stands.
        subject: As COMMENT ON names it: "INDEX public.i".
    """
    text = session.value(
        "SELECT description FROM pg_description WHERE classoid = %s::regclass AND objoid = %s AND objsubid = %s",
        (f"pg_catalog.{address.catalog}", address.objid, address.subid),
    )
    return () if text is None else (f"COMMENT ON {subject} IS {literal(text)}",)


_Definition = tuple[str, tuple[str, ...], dict[Address, frozenset[str]]]


def _trigger(session: Session, item: Item, table: str) -> _Definition:
    found = _one(
        session,
        "SELECT tgname AS name, tgenabled::text AS enabled, pg_get_triggerdef(oid) AS definition,"
        " nullif(tgconstraint, 0)::bigint AS constraint FROM pg_trigger WHERE oid = %s",
        item,
    )
    name = quoted(found["name"])
    enabled = _ENABLED[found["enabled"]]
    state = (f"ALTER TABLE {table} {enabled} TRIGGER {name}",) if enabled else ()
    clones, permits = triggers_of_partitions(session, [item.address.objid])
    restore = (found["definition"], *state, *comment(session, item.address, f"TRIGGER {name} ON {table}"), *clones)
    if found["constraint"] is not None:
        # A constraint trigger has a row in pg_constraint, which comes and goes with it.
        permits[Address("pg_constraint", found["constraint"])] = GONE
    return f"DROP TRIGGER {name} ON {table}", restore, permits


_CLONES = """
WITH RECURSIVE clones AS (
    SELECT t.oid, t.tgenabled AS of_parent FROM pg_trigger AS t WHERE t.oid = ANY (%(triggers)s::oid[])
    UNION ALL
    SELECT t.oid, p.tgenabled FROM clones JOIN pg_trigger AS t ON t.tgparentid = clones.oid
      JOIN pg_trigger AS p ON p.oid = t.tgparentid
)
SELECT t.oid::bigint, t.tgname AS name, t.tgenabled::text AS enabled, clones.of_parent::text AS of_parent,
       nullif(t.tgconstraint, 0)::bigint AS constraint, n.nspname AS schema, c.relname AS table,
       c.relkind = 'p' AS partitioned
  FROM clones JOIN pg_trigger AS t ON t.oid = clones.oid
  JOIN pg_class AS c ON c.oid = t.tgrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace
 WHERE t.tgparentid <> 0 AND t.oid <> ALL (%(triggers)s::oid[])
   AND (%(within)s::oid[] IS NULL OR t.tgrelid = ANY (%(within)s::oid[]))
 ORDER BY t.oid
"""


def triggers_of_partitions(
    session: Session, triggers: Sequence[int], within: Sequence[int] | None = None
) -> tuple[tuple[str, ...], dict[Address, frozenset[str]]]:
    """Return what the triggers have of their own that partitions get from the whole, and the rows that go with it.

    Args:
        session: In the target.
        triggers: Of the whole, as OIDs; all below them are looked at.
        within: Tables to look at only, as OIDs.
    """
    statements: list[str] = []
    permits: dict[Address, frozenset[str]] = {}
    for clone in session.rows(
        _CLONES, {"triggers": list(triggers), "within": None if within is None else list(within)}
    ):
        address = Address("pg_trigger", clone["oid"])
        name, table = quoted(clone["name"]), quoted(clone["schema"], clone["table"])
        if clone["enabled"] != clone["of_parent"]:
            place = f"ONLY {table}" if clone["partitioned"] else table
            statements.append(
                if_still_there(table, f"ALTER TABLE {place} {_ENABLED[clone['enabled']] or 'ENABLE'} TRIGGER {name}")
            )
        told = comment(session, address, f"TRIGGER {name} ON {table}")
        statements.extend(if_still_there(table, statement) for statement in told)
        permits[address] = GONE
        if clone["constraint"] is not None:
            permits[Address("pg_constraint", clone["constraint"])] = GONE
    return tuple(statements), permits


def _rule(session: Session, item: Item, table: str) -> _Definition:
    found = _one(
        session,
        "SELECT rulename AS name, ev_enabled::text AS enabled, pg_get_ruledef(oid) AS definition"
        " FROM pg_rewrite WHERE oid = %s",
        item,
    )
    name = quoted(found["name"])
    enabled = _ENABLED[found["enabled"]]
    state = (f"ALTER TABLE {table} {enabled} RULE {name}",) if enabled else ()
    restore = (found["definition"], *state, *comment(session, item.address, f"RULE {name} ON {table}"))
    return f"DROP RULE {name} ON {table}", restore, {}


def _policy(session: Session, item: Item, table: str) -> _Definition:
    found = _one(
        session,
        "SELECT polname AS name, polpermissive AS permissive, polcmd::text AS command,"
        " pg_get_expr(polqual, polrelid) AS using, pg_get_expr(polwithcheck, polrelid) AS check,"
        " ARRAY(SELECT CASE WHEN role = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(role)) END"
        "         FROM unnest(polroles) AS role) AS roles FROM pg_policy WHERE oid = %s",
        item,
    )
    name = quoted(found["name"])
    command = {"r": "SELECT", "a": "INSERT", "w": "UPDATE", "d": "DELETE", "*": "ALL"}[found["command"]]
    sql = f"CREATE POLICY {name} ON {table} AS {'PERMISSIVE' if found['permissive'] else 'RESTRICTIVE'}"
    sql += f" FOR {command} TO {', '.join(found['roles'])}"
    sql += f" USING ({found['using']})" if found["using"] is not None else ""
    sql += f" WITH CHECK ({found['check']})" if found["check"] is not None else ""
    return (
        f"DROP POLICY {name} ON {table}",
        (sql, *comment(session, item.address, f"POLICY {name} ON {table}")),
        {},
    )


def _statistics(session: Session, item: Item, _table: str) -> _Definition:
    found = _one(
        session,
        "SELECT n.nspname AS schema, stxname AS name, stxstattarget AS target,"
        " pg_get_userbyid(stxowner) AS owner, pg_get_statisticsobjdef(s.oid) AS definition"
        " FROM pg_statistic_ext AS s JOIN pg_namespace AS n ON n.oid = stxnamespace WHERE s.oid = %s",
        item,
    )
    name = quoted(found["schema"], found["name"])
    restore = [found["definition"], f"ALTER STATISTICS {name} OWNER TO {quoted(found['owner'])}"]
    if found["target"] is not None and found["target"] >= 0:
        restore.append(f"ALTER STATISTICS {name} SET STATISTICS {found['target']}")
    return f"DROP STATISTICS {name}", (*restore, *comment(session, item.address, f"STATISTICS {name}")), {}


def _publication_membership(session: Session, item: Item, table: str) -> _Definition:
    found = _one(
        session,
        "SELECT p.pubname AS name, pg_get_expr(r.prqual, r.prrelid) AS filter,"
        " (SELECT array_agg(quote_ident(a.attname) ORDER BY a.attnum) FROM pg_attribute AS a"
        "   WHERE a.attrelid = r.prrelid AND a.attnum = ANY (r.prattrs)) AS columns"
        " FROM pg_publication_rel AS r JOIN pg_publication AS p ON p.oid = r.prpubid WHERE r.oid = %s",
        item,
    )
    name = quoted(found["name"])
    member = table + (f" ({', '.join(found['columns'])})" if found["columns"] else "")
    member += f" WHERE ({found['filter']})" if found["filter"] is not None else ""
    # ONLY: children of a published table are members of their own.
    return (
        f"ALTER PUBLICATION {name} DROP TABLE ONLY {table}",
        (f"ALTER PUBLICATION {name} ADD TABLE ONLY {member}",),
        {},
    )


def _default(session: Session, item: Item, table: str) -> _Definition:
    found = _one(
        session,
        "SELECT a.attname AS name, a.attnum AS number, pg_get_expr(d.adbin, d.adrelid) AS expression"
        " FROM pg_attrdef AS d JOIN pg_attribute AS a ON a.attrelid = d.adrelid AND a.attnum = d.adnum"
        " WHERE d.oid = %s",
        item,
    )
    # Heirs and partitions have defaults of their own.
    column = f"ALTER TABLE ONLY {table} ALTER COLUMN {quoted(found['name'])}"
    assert item.relation is not None  # noqa: S101 - a default belongs to a table
    permits = {Address("pg_class", item.relation, found["number"]): frozenset({"atthasdef"})}
    return f"{column} DROP DEFAULT", (f"{column} SET DEFAULT {found['expression']}",), permits


_KINDS: dict[str, Callable[[Session, Item, str], _Definition]] = {
    "pg_trigger": _trigger,
    "pg_rewrite": _rule,
    "pg_policy": _policy,
    "pg_statistic_ext": _statistics,
    "pg_publication_rel": _publication_membership,
    "pg_attrdef": _default,
}


def _one(session: Session, sql: str, item: Item) -> Row:
    found = session.row(sql, (item.address.objid,))
    assert found is not None  # noqa: S101 - the impact was computed in this transaction
    return found
