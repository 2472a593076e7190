"""A search_path is read as the server writes it into its catalog."""

from __future__ import annotations

import pytest

from worker.plan.shadows import split_path


@pytest.mark.parametrize(
    ("written", "schemas"),
    [
        ('"$user", public', ("$user", "public")),
        ("app,public", ("app", "public")),
        ("App , PUBLIC", ("app", "public")),
        ('"App","a ""b"", c"', ("App", 'a "b", c')),
        ('""', ()),
        ("", ()),
    ],
)
def test_path_as_it_is_configured(written: str, schemas: tuple[str, ...]) -> None:
    """Quoted names stay as they are, others are in lower case; an empty name is no schema."""
    assert split_path(written) == schemas
