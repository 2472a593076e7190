"""What the demo measures before and after, so that it need not be believed."""

from __future__ import annotations

from dataclasses import dataclass

from ledger.model import Run
from stepback.show.checks import found_by
from worker.fingerprint import Fingerprint, TableSum, of_database, of_table
from worker.target import Session

#: Tables that were there before the migrations; the last one is a bystander whose name only looks like theirs.
OLD_TABLES = ("users", "businesses", "evaluations", "business_views", "inquiries", "price_alerts")
#: The plan that takes all five migrations back in one transaction.
COMPOSITE = "complete_ai_schema"
#: What add_business_ai_columns put into one of them.
_ADDED = frozenset({"health_score_enabled", "last_health_calculation", "quickbooks_company_id", "auto_sync_enabled"})

_OLD_COLUMNS = (
    "SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) FROM pg_attribute"
    " WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped AND NOT attname = ANY (%s)"
)


@dataclass(frozen=True)
class Sight:
    """The target at one moment: all of it, and the old tables without what the migrations added to them."""

    whole: Fingerprint
    old: dict[str, TableSum]

    def rows(self, table: str) -> int | None:
        """Return how many rows a table has; None if it is not there."""
        return next((total.rows for name, total in self.whole.data if name == table), None)

    def old_facts(self, table: str) -> frozenset[str]:
        """Return what the catalog says of an old table."""
        facts = (fact.split(" | ") for fact in self.whole.schema)
        return frozenset(
            " | ".join(fact)
            for fact in facts
            if len(fact) > 1 and fact[1] == f"public.{table}" and not (fact[0] == "column" and fact[2] in _ADDED)
        )


@dataclass(frozen=True)
class Check:
    """One thing that has to be true at the end."""

    check: str
    ok: bool


def look(session: Session) -> Sight:
    """Take the fingerprints of everything."""
    return Sight(of_database(session), {table: _old_rows(session, table) for table in OLD_TABLES})


def untouched(before: Sight, after: Sight) -> dict[str, bool]:
    """Return for each old table whether schema and rows are what they were."""
    return {
        table: before.old[table] == after.old[table] and before.old_facts(table) == after.old_facts(table)
        for table in OLD_TABLES
    }


def checks_of_rollbacks(before: Sight, after: Sight, runs: tuple[Run, ...]) -> list[Check]:
    """Check what is gone and what is kept."""
    moved = [kept for run in runs for kept in run.preserved if kept.kind == "table"]
    kept = all(kept.rows == before.rows(kept.name) and after.rows(kept.name) is None for kept in moved)
    return [
        Check("all five rollbacks completed", len(runs) == 5 and all(run.state == "completed" for run in runs)),
        Check("every row of every removed table is in quarantine", bool(moved) and kept),
        Check("the rollbacks put nothing new into the schema", set(after.whole.schema) < set(before.whole.schema)),
    ]


def checks_of_recovery(before: Sight, rolled: Sight, after: Sight, run: Run, *, words: tuple[str, ...]) -> list[Check]:
    """Check what came back.

    Args:
        before: Before the rollbacks.
        rolled: After them.
        after: After the recovery.
        run: The recovery.
        words: Names that stand in every fact about what should be back; the first is the table's.
    """
    back = set(after.whole.schema) - set(rolled.whole.schema)
    missing = set(before.whole.schema) - set(after.whole.schema)
    table = f"public.{words[0]}"
    data = dict(before.whole.data)[table] == dict(after.whole.data).get(table)
    exact = back <= set(before.whole.schema) and set(rolled.whole.schema) <= set(after.whole.schema)
    whole = bool(back) and not any(word in fact for fact in missing for word in words)
    return [
        Check("the recovery completed", run.state == "completed"),
        Check(f"the schema of {words[0]} is back exactly as it was", exact and whole),
        Check(f"the data of {words[0]} is back exactly as it was", data),
    ]


def registry_statuses(session: Session) -> dict[str, str]:
    """Return where the newest registry row of each migration stands."""
    rows = session.rows(
        "SELECT DISTINCT ON (migration_name) migration_name, rollback_status FROM public.migration_rollbacks"
        " ORDER BY migration_name, id DESC"
    )
    return {row["migration_name"]: row["rollback_status"] for row in rows}


def checks_of_composite(
    sights: tuple[Sight, Sight, Sight, Sight],
    others: tuple[Run, ...],
    runs: tuple[Run, Run],
    statuses: dict[str, str],
) -> list[Check]:
    """Check that all went at once and all came back.

    Args:
        sights: Before everything; with all five recovered; after the composite plan; after its recovery.
        others: The recoveries of what was rolled back one by one.
        runs: The composite plan's run and its recovery.
        statuses: Of the registry, at the end.
    """
    before, whole, gone, back = sights
    rolled, recovered = runs
    moved = {kept.name for kept in rolled.preserved if kept.kind == "table"}
    members = {name for name in statuses if name.startswith("add_")} | {COMPOSITE}
    ended = [run.state == "completed" for run in (*others, rolled, recovered)]
    return [
        Check("the other four came back: schema and data are what they were at the beginning", whole == before),
        Check(f"{COMPOSITE} took five tables in one transaction, and its recovery completed", all(ended)),
        Check("none of the five is left", len(moved) == 5 and all(gone.rows(name) is None for name in moved)),
        Check("every member's registry row says recovered", {statuses[name] for name in members} == {"recovered"}),
        Check("after the recovery schema and data are what they were at the beginning", back == before),
    ]


def checks_of_selection(before: Sight, after: Sight, run: Run, table: str) -> list[Check]:
    """Check that some rows came back, and that all others are kept.

    Args:
        before: Before everything.
        after: After the selective recovery.
        run: That recovery.
        table: The table's qualified name.
    """
    back, all_rows = after.rows(table) or 0, before.rows(table) or 0
    kept = sum(each.rows or 0 for each in run.preserved if each.name == table)
    return [
        Check("the selective recovery completed", run.state == "completed"),
        Check("some rows came back, and every other row is kept", 0 < back < all_rows and back + kept == all_rows),
        Check("but for these rows all is what it was at the beginning", before.whole.schema == after.whole.schema),
    ]


def checks_hold(validation: Run) -> bool:
    """Whether a validation completed, looked at something, and found nothing that fails or warns."""
    found = found_by(validation)
    return bool(found) and all(check["status"] == "ok" for check in found)


def _old_rows(session: Session, table: str) -> TableSum:
    """Sum an old table up without the columns that a migration added, which a rollback takes away again."""
    columns = session.value(_OLD_COLUMNS, (f"public.{table}", sorted(_ADDED)))
    session.begin()
    try:
        # Names from the catalog, quoted there, and a table of the sample's own.
        session.execute(f"CREATE TEMPORARY VIEW old_rows AS SELECT {columns} FROM public.{table}")
        return of_table(session, "pg_temp.old_rows")
    finally:
        session.rollback()
