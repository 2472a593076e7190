"""Names: what may be one, and that a refusal never repeats what was refused."""

from __future__ import annotations

import pytest

from ledger.errors import BadName
from ledger.names import MAX_NAME_BYTES, check_name


@pytest.mark.parametrize(
    "name", ["add_health_metrics_table", "goodbuy_hq", "0001", "a", "V1.2-x", "x" * MAX_NAME_BYTES]
)
def test_a_plain_name_comes_back_unchanged(name: str) -> None:
    """Letters, digits, and `_`, `-`, `.` between them."""
    assert check_name("migration", name) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        "postgresql://u:hunter2@h/db",
        "host=h password=hunter2",
        "../../etc/passwd",
        "a/b",
        "a\\b",
        "a..b",
        "a\0hunter2",
        "a\nhunter2",
        "a hunter2",
        "hunter2; DROP TABLE x",
        '"hunter2"',
        "_hunter2",
        "-hunter2",
        ".hunter2",
        "hünter2",
        "x" * (MAX_NAME_BYTES + 1),
        "\ud800hunter2",
    ],
)
def test_anything_else_is_refused_without_repeating_it(name: str) -> None:
    """A connection string put here by mistake may hold a password."""
    with pytest.raises(BadName) as refusal:
        check_name("target", name)

    assert refusal.value.code == "bad_name"
    assert "hunter2" not in str(refusal.value)
