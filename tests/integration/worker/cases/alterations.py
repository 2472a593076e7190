"""Round trips of statements that change something and remove nothing: what stood before comes back."""

from __future__ import annotations

from tests.integration.worker.cases.case import Case

_TABLE = (
    "CREATE TABLE t (id int PRIMARY KEY, a int DEFAULT 7, b text NOT NULL, c text CHECK (c <> ''));"
    "INSERT INTO t VALUES (1, 1, 'x', NULL), (2, NULL, 'y', 'z'); CREATE INDEX t_a ON t (a);"
)

ALTERATIONS = (
    Case(
        "default set, dropped, and given to a column without",
        _TABLE,
        "ALTER TABLE t ALTER a SET DEFAULT 8; ALTER TABLE t ALTER a DROP DEFAULT; ALTER TABLE t ALTER c SET DEFAULT 'q';",
        keeps=("changed table column public.t.a", "changed table column public.t.a", "changed table column public.t.c"),
        alters=True,
    ),
    Case(
        "not null dropped and set",
        _TABLE + "UPDATE t SET a = 0 WHERE a IS NULL",
        "ALTER TABLE t ALTER b DROP NOT NULL, ALTER a SET NOT NULL;",
        keeps=("changed table column public.t.a", "changed table column public.t.b"),
        alters=True,
    ),
    Case(
        "table renamed, then changed under its new name",
        _TABLE,
        "ALTER TABLE t RENAME TO u; ALTER TABLE u ALTER a DROP DEFAULT; ALTER TABLE u RENAME COLUMN c TO d;",
        keeps=("changed table public.t", "changed table column public.u.a", "changed table column public.u.c"),
        alters=True,
    ),
    Case(
        "column added",
        _TABLE,
        "ALTER TABLE t ADD COLUMN d int NOT NULL DEFAULT 5;",
        keeps=("created table column public.t.d",),
        alters=True,
    ),
)
