"""recover.sql and conditions are read by PostgreSQL's parser: a choice is a choice, and nothing else gets through."""

from __future__ import annotations

import pytest

from ledger.errors import PlanRefused
from worker.plan.selection import Selection, check_condition, check_report, read


def test_choices_and_a_report() -> None:
    """Each SELECT * with a WHERE is a choice; the one other query is the report, as it is written."""
    script = """
    -- which
    SELECT * FROM health_metrics WHERE confidence >= 80;
    SELECT * FROM public."Other" WHERE a IS NOT NULL AND b IN (SELECT id FROM c);
    SELECT count(*) AS n /* all */ FROM health_metrics
    """

    assert read(script) == Selection(
        {"health_metrics": "confidence >= 80", 'public."Other"': "a IS NOT NULL AND b IN (SELECT id FROM c)"},
        "SELECT count(*) AS n /* all */ FROM health_metrics",
    )


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("DELETE FROM t", "queries only"),
        ("SELECT 1; SELECT 2", "line 1: recover.sql has a report already"),
        ("SELECT * FROM t WHERE a;\nSELECT * FROM t WHERE b", "line 2: recover.sql chooses rows of t twice"),
        ("SELEC", "not valid SQL"),
        ("", "no statement"),
    ],
)
def test_what_is_no_recover_sql(script: str, says: str) -> None:
    """The message says what is wrong, and where."""
    with pytest.raises(PlanRefused, match=says):
        read(script)


@pytest.mark.parametrize(
    "query",
    [
        "SELECT * FROM t",
        "SELECT a FROM t WHERE a",
        "SELECT * FROM t, u WHERE a",
        "SELECT * FROM t AS u WHERE a",
        "SELECT * FROM t WHERE a ORDER BY b",
        "SELECT * FROM t WHERE a LIMIT 5",
        "SELECT DISTINCT * FROM t WHERE a",
        "SELECT * FROM t WHERE a FOR UPDATE",
        "WITH w AS (SELECT 1) SELECT * FROM t WHERE a",
    ],
)
def test_what_chooses_nothing_is_the_report(query: str) -> None:
    """Only a plain choice is one: nobody would expect a LIMIT to say which rows come back."""
    assert read(query) == Selection({}, query)


@pytest.mark.parametrize("condition", ["a > 1", "a IN (SELECT 1) /* ) */", "now() > x AND 'it''s' <> ')'", "$$)$$ = b"])
def test_conditions(condition: str) -> None:
    """A condition is one expression, written as the parser understood it: it can be checked again."""
    checked = check_condition("t", condition)

    assert check_condition("t", checked) == checked
    assert "/*" not in checked


@pytest.mark.parametrize(
    "condition",
    [
        "",
        "--",
        "true; DROP TABLE t",
        "true) --",
        "true) ORDER BY (1",
        "true) FOR UPDATE --",
        "1) UNION SELECT (2",
        "true) GROUP BY (1",
        "true) OFFSET (1",
    ],
)
def test_what_ends_early_is_no_condition(condition: str) -> None:
    """Nothing that closes the bracket gets through."""
    with pytest.raises(PlanRefused, match="condition on t is"):
        check_condition("t", condition)


@pytest.mark.parametrize("report", ["SELECT 1; SELECT 2", "DELETE FROM t", "COMMIT"])
def test_a_report_is_one_query(report: str) -> None:
    """Anything else is refused."""
    with pytest.raises(PlanRefused, match="not one SELECT"):
        check_report(report)
