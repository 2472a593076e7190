"""Rows that changed, as tables in quarantine hold them: each as it was, in order, with what was made of it.

One shape for all: rows that a plan's own statements change (rows.py), and rows that a recovery meets (newer_rows.py).
What gives them back is written here once: by key, and only where nobody has touched them since.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ledger.model import Json
from worker.objects.keeping import Action, Address, Item, Keeping, literal, quoted

#: Columns that a table in quarantine has beside those of the rows; no column of an application has a space there.
ORDER, EVENT, NOW = '"stepback order"', '"stepback event"', '"stepback now"'


@dataclass(frozen=True)
class Watched:
    """A table whose rows are handed over while a statement runs."""

    oid: int
    schema: str
    name: str
    #: As pg_identify_object gives it.
    identity: str
    #: Which of the script's statements watches it: each has tables of its own.
    stage: int
    #: Columns that hold values of their own: generated ones are left out.
    columns: tuple[str, ...]
    #: What a row is told apart by; None if nothing does.
    key: tuple[str, ...] | None
    #: Columns that no UPDATE can set: identity, always generated.
    fixed: frozenset[str]
    #: Columns that a change of the row referred to changes too.
    cascaded: tuple[str, ...]

    @property
    def table(self) -> str:
        """Its name, qualified and quoted."""
        return quoted(self.schema, self.name)

    @property
    def settable(self) -> tuple[str, ...]:
        """Columns that an UPDATE can set."""
        return tuple(name for name in self.columns if name not in self.fixed)

    @property
    def own(self) -> tuple[str, ...]:
        """Columns that change only when somebody changes the row itself."""
        return tuple(name for name in self.columns if name not in self.cascaded)

    def inside(self, quarantine: str) -> str:
        """The table in quarantine that its rows go to."""
        return quoted(quarantine, self.relation)

    @property
    def relation(self) -> str:
        """Plain name of that table."""
        return f"rows_{self.oid}_{self.stage}"

    def noted(self, quarantine: str) -> str:
        """The table in quarantine that says what became of its triggers while the statement ran."""
        return quoted(quarantine, f"watch_{self.oid}_{self.stage}")


def same_key(key: Sequence[str], one: str, other: str) -> str:
    """Return the condition that two rows, by their names in a query, have the same key."""
    return " AND ".join(f"{one}.{quoted(name)} = {other}.{quoted(name)}" for name in key)


def item(watched: Watched, because: str) -> Item:
    """Return what the impact says of rows that are kept, and why they are."""
    address = Address("pg_class", watched.oid)
    return Item(address, "rows", watched.identity, because, Action.COPIED, relation=watched.oid)


def keeping(watched: Watched, quarantine: str, because: str) -> Keeping:
    """Say how rows that are in quarantine, as this module tells, are kept."""
    facts: dict[str, Json] = {
        "brings_values": True,
        "table": watched.table,
        "key": list(watched.key or ()),
        "own": list(watched.own),
    }
    return Keeping(
        item(watched, because),
        remove=(),
        restore=_give_back(watched, quarantine),
        locks=frozenset({watched.oid}),
        quarantine=quarantine,
        relation=watched.relation,
        facts=facts,
    )


def history(table: str, inside: str, keyed: Sequence[str]) -> str:
    """Return the beginning of a query that follows each row from how it began to what the run left of it.

    `ended` has for each row where it is kept as it was (`stepback kept`, NULL for one that the run added), and what was
    left of it (`stepback leaves`, NULL for one that is gone) with its key. A change of the key is followed: a row
    appears under a key and vanishes from it, in turn, and the next event of a row is the one that takes it from where
    the last one put it.

    Args:
        table: The table, qualified and quoted.
        inside: The table in quarantine.
        keyed: What its rows are told apart by; the columns may have any names, so ours have a space.
    """
    names = [quoted(name) for name in keyed]
    key, new = ", ".join(names), ", ".join(f'("stepback made").{name}' for name in names)
    made = f'SELECT *, jsonb_populate_record(NULL::{table}, {NOW}) AS "stepback made" FROM {inside}'
    return f"""
WITH RECURSIVE entries AS (
    SELECT {ORDER} AS "stepback place", 0 AS "stepback half", {EVENT}, ctid AS "stepback kept",
           NULL::jsonb AS "stepback leaves", {key}
      FROM {inside} WHERE {EVENT} <> 'INSERT'
    UNION ALL
    SELECT {ORDER}, 1, {EVENT}, NULL, {NOW}, {new} FROM ({made}) AS rows WHERE {EVENT} <> 'DELETE'
), linked AS MATERIALIZED (
    SELECT *, lead(CASE WHEN "stepback half" = 0 THEN "stepback place" END) OVER by_key AS "stepback next",
           lag("stepback half") OVER by_key AS "stepback before"
      FROM entries WINDOW by_key AS (PARTITION BY {key} ORDER BY "stepback place", "stepback half")
), life ("stepback kept", "stepback place") AS (
    SELECT "stepback kept", "stepback place" FROM linked
     WHERE "stepback half" = 0 AND "stepback before" IS DISTINCT FROM 1 OR {EVENT} = 'INSERT'
    UNION ALL
    SELECT life."stepback kept", linked."stepback next" FROM life JOIN linked USING ("stepback place")
     WHERE linked."stepback half" = 1 AND linked."stepback next" IS NOT NULL
), ended AS (
    SELECT life."stepback kept", linked."stepback leaves", {", ".join(f"linked.{name}" for name in names)}
      FROM life LEFT JOIN linked ON linked."stepback place" = life."stepback place" AND linked."stepback half" = 1
     WHERE linked."stepback next" IS NULL
)"""


def first_kept(inside: str) -> str:
    """Return what a query after `history` reads rows from as they were at first: `kept`, each with its `ended`."""
    return f'ended JOIN {inside} AS kept ON kept.ctid = ended."stepback kept"'


def as_left(watched: Watched) -> str:
    """Return the condition that row `now` is still as the run left it, whatever other rows have changed about it."""
    without = f" - ARRAY[{', '.join(literal(name) for name in watched.cascaded)}]" if watched.cascaded else ""
    assert watched.key is not None  # noqa: S101 - the caller looked
    match, leaves = same_key(watched.key, "now", "ended"), 'ended."stepback leaves"'
    # A column that was added since is no change of the row.
    known = f"SELECT jsonb_object_agg(key, value) FROM jsonb_each(to_jsonb(now.*){without}) WHERE {leaves} ? key"
    return f"{match} AND ((to_jsonb(now.*){without}) = ({leaves}{without}) OR ({known}) = ({leaves}{without}))"


def take_away(watched: Watched, quarantine: str) -> tuple[str, ...]:
    """Return what takes rows away that the run added and nobody has touched since; they stay in quarantine."""
    if watched.key is None:
        return ()
    begin = history(watched.table, watched.inside(quarantine), watched.key)
    added = f'ended WHERE ended."stepback kept" IS NULL AND {as_left(watched)}'
    return (f"{begin} DELETE FROM ONLY {watched.table} AS now USING {added}",)


def _give_back(watched: Watched, quarantine: str) -> tuple[str, ...]:
    """Return what gives rows their values again, and rows that are gone themselves; newer rows stay as they are."""
    inside, columns = watched.inside(quarantine), [quoted(name) for name in watched.columns]
    listed, values = ", ".join(columns), ", ".join(f"kept.{name}" for name in columns)
    if watched.key is None:
        gone = f"SELECT {listed} FROM {inside} WHERE {EVENT} = 'DELETE' ORDER BY {ORDER}"
        return (f"INSERT INTO {watched.table} ({listed}) OVERRIDING SYSTEM VALUE {gone} ON CONFLICT DO NOTHING",)
    begin = history(watched.table, inside, watched.key)
    update = (
        f"{begin} UPDATE ONLY {watched.table} AS now SET {set_to_kept(watched)}"
        f" FROM {first_kept(inside)} WHERE {as_left(watched)}"
    )
    insert = (
        f"{begin} INSERT INTO {watched.table} ({listed}) OVERRIDING SYSTEM VALUE SELECT {values}"
        f' FROM {first_kept(inside)} WHERE ended."stepback leaves" IS NULL'
        f" AND NOT EXISTS (SELECT FROM ONLY {watched.table} AS now WHERE {same_key(watched.key, 'now', 'kept')})"
        # What is unique beside the key may be taken, too.
        " ON CONFLICT DO NOTHING"
    )
    return (update, insert) if watched.settable else (insert,)


def set_to_kept(watched: Watched) -> str:
    """Return the list after SET that gives a row the values of `kept`."""
    return ", ".join(f"{quoted(name)} = kept.{quoted(name)}" for name in watched.settable)
