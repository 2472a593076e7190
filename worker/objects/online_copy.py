"""Columns that are copied while others write: the copy as a value, and the SQL of the triggers that keep it true.

The triggers do not replay what happened: they read again, inside the transaction that wrote, what a key stands for now.
So neither the order in which events fire nor a key that changes hands can mislead them. An error of theirs lets the
write pass and leaves a mark that no ROLLBACK takes back.
Source: PostgreSQL documentation, "Overview of Trigger Behavior" and "Sequence Manipulation Functions".
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from worker.objects.column import without_copy
from worker.objects.keeping import Keeping, Permits, literal, merge, quoted
from worker.objects.quarantine import PREFIX


@dataclass(frozen=True)
class OnlineCopy:
    """The columns of one table that are copied before apply."""

    #: OID in pg_class.
    relation: int
    #: Qualified and quoted.
    table: str
    #: Schema and plain name of the table in quarantine that the values go to.
    quarantine: str
    name: str
    key: tuple[str, ...]
    columns: tuple[str, ...]
    #: The table as people write it.
    label: str = ""

    @property
    def inside(self) -> str:
        """The copy, qualified and quoted."""
        return quoted(self.quarantine, self.name)

    @property
    def function_name(self) -> str:
        """Plain name of the triggers' function. No name of an application's table becomes one with spaces."""
        return f"stepback keep {self.relation}"

    @property
    def marks_name(self) -> str:
        """Plain name of the sequence that counts the triggers' errors."""
        return f"stepback marks {self.relation}"

    @property
    def function(self) -> str:
        """The triggers' function, qualified and quoted."""
        return quoted(self.quarantine, self.function_name)

    @property
    def marks(self) -> str:
        """The sequence that counts the triggers' errors, qualified and quoted."""
        return quoted(self.quarantine, self.marks_name)

    @property
    def triggers(self) -> tuple[str, str, str]:
        """Quoted names of the triggers: two runs may keep columns of one table at once."""
        told = f"stepback {self.quarantine.removeprefix(PREFIX)}"
        return quoted(f"{told} rows"), quoted(f"{told} update"), quoted(f"{told} truncate")

    @property
    def all_columns(self) -> tuple[str, ...]:
        """Key and columns, quoted, in the order that the copy has them."""
        return tuple(quoted(name) for name in (*self.key, *self.columns))

    def listed(self, alias: str) -> str:
        """Return key and columns of a row."""
        return ", ".join(f"{alias}.{name}" for name in self.all_columns)

    def match(self, one: str, other: str) -> str:
        """Return the condition that two rows have the same key; such keys are never NULL."""
        return " AND ".join(f"{one}.{quoted(name)} = {other}.{quoted(name)}" for name in self.key)

    def differ(self, one: str, other: str) -> str:
        """Return the condition that two rows differ in a single bit; equality of some types is coarser."""
        return f"ROW({self.listed(one)})::record OPERATOR(pg_catalog.*<>) ROW({self.listed(other)})::record"


def make(copy: OnlineCopy) -> tuple[str, ...]:
    """Return the statements that make the copy as of one moment; they lock nobody out."""
    key = ", ".join(quoted(name) for name in copy.key)
    return (
        f"CREATE SCHEMA IF NOT EXISTS {quoted(copy.quarantine)}",
        f"CREATE TABLE {copy.inside} AS SELECT {copy.listed('now')} FROM ONLY {copy.table} AS now",
        f"ALTER TABLE {copy.inside} ADD PRIMARY KEY ({key})",
        # A glance is enough for the planner to see whether rows lie in the order of their keys.
        "SET LOCAL default_statistics_target = 10",
        f"ANALYZE {copy.inside} ({key})",
        f"CREATE SEQUENCE {copy.marks} CYCLE",
    )


def watch(copy: OnlineCopy) -> tuple[str, ...]:
    """Return the statements after which the copy is kept true; SHARE ROW EXCLUSIVE at most, made anew or again."""
    rows, update, truncate = copy.triggers
    run = f"EXECUTE FUNCTION {copy.function}()"
    options = "SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = off"
    return (
        (
            f"CREATE OR REPLACE FUNCTION {copy.function}() RETURNS trigger LANGUAGE plpgsql {options}"
            f" AS {literal(_body(copy))}"
        ),
        f"REVOKE ALL ON FUNCTION {copy.function}() FROM PUBLIC",
        f"CREATE OR REPLACE TRIGGER {rows} AFTER INSERT OR DELETE ON {copy.table} FOR EACH ROW {run}",
        (
            f"CREATE OR REPLACE TRIGGER {update} AFTER UPDATE ON {copy.table} FOR EACH ROW"
            f" WHEN ({copy.differ('OLD', 'NEW')}) {run}"
        ),
        f"CREATE OR REPLACE TRIGGER {truncate} BEFORE TRUNCATE ON {copy.table} FOR EACH STATEMENT {run}",
        *(f"ALTER TABLE {copy.table} ENABLE ALWAYS TRIGGER {name}" for name in copy.triggers),
    )


def _body(copy: OnlineCopy) -> str:
    mark = f"PERFORM nextval({literal(copy.marks)})"
    return f"""
#variable_conflict use_column
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        {mark};
        RETURN NULL;
    END IF;
    IF TG_OP <> 'DELETE' THEN
        {_follow(copy, "NEW")}
    END IF;
    IF TG_OP = 'DELETE' OR TG_OP = 'UPDATE' AND NOT ({copy.match("OLD", "NEW")}) THEN
        {_follow(copy, "OLD")}
    END IF;
    RETURN NULL;
EXCEPTION WHEN OTHERS THEN
    BEGIN
        {mark};
    EXCEPTION WHEN OTHERS THEN
        -- Somebody took the sequence away: apply will miss it.
        NULL;
    END;
    RETURN NULL;
END"""


def _follow(copy: OnlineCopy, row: str) -> str:
    """Return what makes the copy say what the table says about the key of a row."""
    columns, key = ", ".join(copy.all_columns), ", ".join(quoted(name) for name in copy.key)
    assign = ", ".join(f"{name} = excluded.{name}" for name in copy.all_columns)
    values = ", ".join(f"{row}.{quoted(name)}" for name in copy.key)
    return f"""INSERT INTO {copy.inside} ({columns})
        SELECT {copy.listed("now")} FROM ONLY {copy.table} AS now WHERE {copy.match("now", row)}
            ON CONFLICT ({key}) DO UPDATE SET {assign};
        IF NOT FOUND THEN
            IF current_setting('transaction_isolation') IN ('repeatable read', 'serializable') THEN
                -- The copy may hold the key since after our snapshot: DELETE would not see it, this is an error then.
                INSERT INTO {copy.inside} ({key}) VALUES ({values}) ON CONFLICT ({key}) DO NOTHING;
            END IF;
            DELETE FROM {copy.inside} AS kept WHERE {copy.match("kept", row)};
        END IF;"""


def unwatch(copy: OnlineCopy) -> tuple[str, ...]:
    """Return the statements of apply after which nothing but the copy is left."""
    return (
        *(f"DROP TRIGGER {name} ON {copy.table}" for name in copy.triggers),
        f"DROP FUNCTION {copy.function}()",
        f"DROP SEQUENCE {copy.marks}",
        (
            f"DELETE FROM emergency_backup.online_copies WHERE quarantine = {literal(copy.quarantine)}"
            f" AND relation = {copy.relation}"
        ),
    )


def use(keepings: Iterable[Keeping], copies: Iterable[OnlineCopy], permits: Permits) -> tuple[Keeping, ...]:
    """Let columns be dropped on the strength of copies that are there already, instead of making them.

    Args:
        keepings: Of the stage, in order.
        copies: What is copied online.
        permits: Catalog rows of triggers and functions of ours, which go.
    """
    by_name = {(copy.quarantine, copy.name): copy for copy in copies}
    return tuple(
        _use(keeping, by_name.get((keeping.quarantine or "", keeping.relation or "")), permits) for keeping in keepings
    )


def _use(keeping: Keeping, copy: OnlineCopy | None, permits: Permits) -> Keeping:
    if copy is None or not keeping.facts.get("brings_values"):
        return keeping
    bare = without_copy(keeping)
    return replace(bare, remove=(*unwatch(copy), *bare.remove), permits=merge([bare.permits, permits]))
