"""Other people's down scripts, out and back: each outcome is told from the others, and tables have rows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
import sqlalchemy

from benchmarks.corpus import Corpus, Outcome, summary
from benchmarks.scripts import Migration, Script
from benchmarks.stage import Stage, admin
from stepback.embedded import Postgres

_UP = """
CREATE TYPE mood AS ENUM ('calm', 'loud');
CREATE TABLE users (id serial PRIMARY KEY, email text NOT NULL UNIQUE, mood mood, age int CHECK (age > 17));
CREATE TABLE posts (id int PRIMARY KEY, author int NOT NULL REFERENCES users,
    kind varchar(3) CHECK (kind IN ('a', 'b')));
"""

MIGRATIONS = {
    "1_tables": (_UP, "DROP TABLE posts; DROP TABLE users; DROP TYPE mood;", Outcome.EXACT),
    "2_column": ("ALTER TABLE posts ADD note text", "ALTER TABLE posts DROP COLUMN note", Outcome.EXACT),
    "3_not_empty": ("ALTER TABLE posts ADD must int NOT NULL", "ALTER TABLE posts DROP must", Outcome.EXACT),
    "4_no_down": ("CREATE TABLE logs (a int)", None, Outcome.NO_DOWN),
    "5_nothing": ("CREATE INDEX i ON logs (a)", "-- nothing to do", Outcome.NO_DOWN),
    "6_bad_up": ("CREATE TABLE users (id int)", "DROP TABLE users", Outcome.UP_FAILED),
    "7_bad_down": ("CREATE TABLE seven (id int)", "DROP TABLE eight", Outcome.DOWN_FAILED),
    "8_stays": ("CREATE TABLE eight (id int)", "DROP TABLE eight; CREATE TABLE eight (a int)", Outcome.EXACT),
    "9_refused": ("CREATE TABLE nine (id int)", "DROP TABLE nine;\nLISTEN to_me;", Outcome.REFUSED),
}


@pytest.fixture
def corpus(postgres: Postgres, ledger_engine: sqlalchemy.Engine, tmp_path: Path) -> Iterator[Corpus]:
    """Give a corpus on a scratch database of its own."""
    made = Corpus(Stage(postgres, ledger_engine), tmp_path, database=f"corpus_{uuid4().hex[:8]}")
    yield made
    admin(postgres, f"DROP DATABASE {made.database} WITH (FORCE)")


def test_every_outcome_is_told(corpus: Corpus) -> None:
    """What is exact, what is refused and why, and what was never ours to undo."""
    given = [
        Migration(n, Script(up), None if down is None else Script(down)) for n, (up, down, _o) in MIGRATIONS.items()
    ]

    reports = list(corpus.go_through([*given, Migration("a_go", None, None)]))

    assert [(report.migration, report.outcome) for report in reports] == [
        *((name, outcome) for name, (_up, _down, outcome) in MIGRATIONS.items()),
        ("a_go", Outcome.NOT_SQL),
    ]
    stays, refused = reports[7:9]
    assert (stays.code, stays.by_hand_exact) == ("up_again", False)
    assert (refused.code, refused.statement) == ("plan_refused", "LISTEN to_me")
    counts = summary(reports)
    assert (counts["migrations"], counts["tried"], counts["refusals"]) == (10, 5, {"plan_refused": 1})
    assert corpus.seeder.empty == {}
    with psycopg.connect(corpus.here.server.superuser_url(corpus.database)) as conn:
        assert conn.execute("SELECT count(*), count(note) FROM posts JOIN users ON users.id = author").fetchone() == (
            3,
            3,
        )
