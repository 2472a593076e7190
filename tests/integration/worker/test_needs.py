"""Roles and publications that kept text speaks of: dropped meanwhile, they are missed before anything is done."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.harness import Engine, completed, ended, labels

_T = "CREATE TABLE t (id int PRIMARY KEY, a text, b text); INSERT INTO t VALUES (1, 'a', 'b');"
_VIEW = "CREATE VIEW v AS SELECT id, a FROM t;"
_FUNCTION = "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1';"


@dataclass(frozen=True)
class Need:
    """What speaks of a role, how it is removed, and what misses the role."""

    name: str
    #: Run by the owner, with {role}.
    given: str
    plan: str
    label: str
    #: Run by the superuser after `given`.
    admin: str = ""


NEEDS = [
    Need(
        "policy", f"{_T} CREATE POLICY p ON t TO {{role}} USING (true);", "DROP POLICY p ON t;", "policy p on public.t"
    ),
    Need(
        "policy of a table that moves",
        f"{_T} CREATE POLICY p ON t TO {{role}}, goodbuy_app USING (true);",
        "DROP TABLE t;",
        "policy p on public.t",
    ),
    Need("grant on a view", f"{_T}{_VIEW} GRANT SELECT ON v TO {{role}};", "DROP VIEW v;", "view public.v"),
    Need(
        "grant on a view's column", f"{_T}{_VIEW} GRANT SELECT (a) ON v TO {{role}};", "DROP VIEW v;", "view public.v"
    ),
    Need(
        "grant on a view that goes by CASCADE",
        f"{_T}{_VIEW} GRANT SELECT ON v TO {{role}};",
        "ALTER TABLE t DROP a CASCADE;",
        "view public.v",
    ),
    Need(
        "grant on a function", f"{_FUNCTION} GRANT EXECUTE ON FUNCTION f TO {{role}};", "DROP FUNCTION f;", "function"
    ),
    Need("grant on a column", f"{_T} GRANT SELECT (a) ON t TO {{role}};", "ALTER TABLE t DROP a;", "column public.t.a"),
    Need("grant on a schema", "CREATE SCHEMA s; GRANT USAGE ON SCHEMA s TO {role};", "DROP SCHEMA s;", "schema s"),
    Need(
        "grant that is revoked",
        f"{_T} GRANT SELECT ON t TO {{role}};",
        "REVOKE ALL ON t FROM {role};",
        "table public.t",
    ),
    Need("owner of a view", f"{_T}{_VIEW}", "DROP VIEW v;", "view public.v", admin="ALTER VIEW v OWNER TO {role};"),
    Need(
        "owner that was", _T, "ALTER TABLE t OWNER TO goodbuy_app;", "table public.t", "ALTER TABLE t OWNER TO {role};"
    ),
    Need(
        "owner of a function",
        _FUNCTION,
        "DROP FUNCTION f;",
        "function public.f()",
        "ALTER FUNCTION f() OWNER TO {role};",
    ),
]


@pytest.fixture
def role(engine: Engine) -> Iterator[str]:
    """Give a role of one's own, which the worker and the application are members of."""
    name = f"needed_{engine.database}"[:60]
    make(engine, name)
    yield name
    engine.admin(f"DROP OWNED BY {name} CASCADE; DROP ROLE {name}")


def make(engine: Engine, name: str) -> None:
    """Create a role that may own something."""
    engine.admin(
        f"CREATE ROLE {name}; GRANT {name} TO stepback_worker, goodbuy_app; GRANT ALL ON SCHEMA public TO {name}"
    )


@pytest.mark.parametrize("case", NEEDS, ids=lambda case: case.name)
def test_role_that_was_dropped_is_missed(engine: Engine, role: str, case: Need) -> None:
    """The recovery is refused and names the role; once there is one of that name again, all comes back."""
    engine.owner(case.given.format(role=role))
    if case.admin:
        engine.admin(case.admin.format(role=role))
    engine.plan(case.plan.format(role=role), accepts=["view public.v"])
    before = engine.picture()
    run = completed(engine.rollback())
    engine.admin(f"REVOKE ALL ON SCHEMA public FROM {role}; DROP ROLE {role}")
    without = engine.picture()

    refused = engine.recover(run)
    untouched = engine.picture()
    make(engine, role)
    completed(engine.recover(run))

    assert ended(refused).startswith("refused: conflict: ")
    assert f"role {role}, which {case.label}" in ended(refused) or f"{case.label} needs" in ended(refused)
    assert untouched == without
    assert engine.picture() == before


def test_role_that_nothing_speaks_of_is_not_missed(engine: Engine, role: str) -> None:
    """What a rename wrote down names nobody, so whoever had a right on the table may have gone."""
    engine.owner(f"{_T} GRANT SELECT ON t TO {role}")
    engine.plan("ALTER TABLE t RENAME TO u;")
    run = completed(engine.rollback())
    engine.admin(f"REVOKE ALL ON u FROM {role}; REVOKE ALL ON SCHEMA public FROM {role}; DROP ROLE {role}")

    completed(engine.recover(run))
    make(engine, role)


def test_publication_that_was_dropped_is_missed(engine: Engine) -> None:
    """A membership cannot come back without the publication, and says so before anything is done."""
    engine.owner(f"{_T} CREATE PUBLICATION p FOR TABLE t")
    engine.plan("DROP TABLE t;")
    before = engine.picture()
    run = completed(engine.rollback())
    engine.owner("DROP PUBLICATION p")

    refused = engine.recover(run)
    engine.owner("CREATE PUBLICATION p")
    completed(engine.recover(run))

    assert ended(refused).startswith("refused: conflict: ")
    assert "publication p, which publication relation public.t in publication p was in, does not exist" in ended(
        refused
    )
    assert engine.picture() == before


def test_publications_of_everything_and_of_a_schema_stay_as_they_are(engine: Engine) -> None:
    """A table leaves the publication of its schema and comes back into it; that of all tables is remarked upon."""
    engine.owner(_T)
    engine.admin("CREATE PUBLICATION everything FOR ALL TABLES; CREATE PUBLICATION here FOR TABLES IN SCHEMA public")
    engine.plan("DROP TABLE t;")
    before = engine.picture()

    run = completed(engine.rollback())
    published = engine.query("SELECT 1 FROM pg_publication_tables WHERE pubname = 'here' AND tablename = 't'")
    completed(engine.recover(run))

    assert published == []
    assert any("publication everything publishes all tables" in note for note in run.notes)
    assert engine.picture() == before


def test_schema_in_a_publication_is_refused(engine: Engine) -> None:
    """Its membership could not come back, so the schema stays."""
    engine.owner("CREATE SCHEMA s")
    engine.admin("CREATE PUBLICATION here FOR TABLES IN SCHEMA s")
    engine.plan("DROP SCHEMA s CASCADE;")

    refused = engine.rollback()

    assert ended(refused).startswith("refused: impact_not_accepted: publication namespace")
    assert "--accept" not in ended(refused)


def test_column_in_a_publication_takes_the_membership_along(engine: Engine) -> None:
    """A publication that lists the column is what CASCADE takes, and only then."""
    engine.owner(f"{_T} CREATE PUBLICATION p FOR TABLE t (id, a)")
    before = engine.picture()

    engine.plan("ALTER TABLE t DROP a;")
    refused = engine.rollback()
    engine.plan("ALTER TABLE t DROP a CASCADE;")
    run = completed(engine.rollback())
    kept = labels(engine.kept(run))
    completed(engine.recover(run))

    assert "publication relation public.t in publication p depends on table column public.t.a" in ended(refused)
    assert "defined publication relation public.t in publication p" in kept
    assert engine.picture() == before
