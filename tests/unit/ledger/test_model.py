"""The words of the model are the words of the ledger's schema."""

from __future__ import annotations

import re
from importlib import resources
from typing import TYPE_CHECKING

import pytest

from ledger.model import TERMINAL, Kind, Phase, Policy, State

if TYPE_CHECKING:
    from enum import StrEnum

LEDGER = resources.files("sql").joinpath("ledger")
#: Every revision in order: what a later one says of a constraint holds.
SCHEMA = "\n".join(
    path.read_text(encoding="utf-8")
    for path in sorted(LEDGER.iterdir(), key=lambda path: path.name)
    if path.name[:4].isdigit()
)


@pytest.mark.parametrize(
    ("constraint", "words"),
    [
        ("commands_kind_check", Kind),
        ("commands_policy_check", Policy),
        ("runs_state_check", State),
        ("runs_phase_check", Phase),
        ("steps_phase_check", Phase),
    ],
)
def test_a_check_lists_every_word_and_no_other(constraint: str, words: type[StrEnum]) -> None:
    """A word that is added on one side only would be found in production."""
    listed = re.findall(rf"{constraint} CHECK \(\w+ IN \((.*?)\)\)", SCHEMA, re.DOTALL)

    assert set(re.findall(r"'(\w+)'", listed[-1])) == set(words)


def test_what_counts_as_finished_is_what_nothing_leaves() -> None:
    """The same five states in Python, in the CHECK on finished_at and in the trigger."""
    lists = [words for words in re.findall(r"state IN\s*\(('completed'.*?)\)", SCHEMA) if "cancelled" in words]

    assert len(lists) == 2
    assert all(set(re.findall(r"'(\w+)'", words)) == TERMINAL for words in lists)
