"""What the server notes among the options of a column is nobody's setting."""

from __future__ import annotations

import pytest

from worker.objects.column_options import without_servers_own


@pytest.mark.parametrize(
    ("options", "left"),
    [
        (None, []),
        (["pg_attver=22158912"], []),
        (["pg_attver=22158912", "n_distinct=5"], ["n_distinct=5"]),
        (["n_distinct=5", "n_distinct_inherited=7"], ["n_distinct=5", "n_distinct_inherited=7"]),
    ],
)
def test_what_the_server_counts_is_left_out(options: list[str] | None, left: list[str]) -> None:
    """Everything else stays, in its order."""
    assert without_servers_own(options) == left
