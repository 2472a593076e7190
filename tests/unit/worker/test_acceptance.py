"""The lines that a refusal prints are TOML, whatever names stand in them."""

from __future__ import annotations

import tomllib

from hypothesis import given
from hypothesis import strategies as st

from worker.plan.acceptance import toml_line

_NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0"))


@given(st.lists(_NAMES, unique=True))
def test_line_is_read_as_what_was_meant(labels: list[str]) -> None:
    """Quotes, backslashes and control characters come through; it is one line."""
    line = toml_line("accepts", labels)

    assert tomllib.loads(line) == {"accepts": labels}
    assert "\n" not in line


def test_nothing_is_named_twice() -> None:
    """What stood there before stays in its place."""
    assert toml_line("accepts", ["b", "a", "b"]) == 'accepts = ["b", "a"]'
