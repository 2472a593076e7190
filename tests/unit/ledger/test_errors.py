"""Errors are told apart by class: every one has a code of its own and knows its exit code."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from ledger import errors
from ledger.errors import Effect, Failed, PlanRefused, Refused, StepbackError

if TYPE_CHECKING:
    from collections.abc import Iterator


def _all(root: type[StepbackError]) -> Iterator[type[StepbackError]]:
    for child in root.__subclasses__():
        if child.__module__ == errors.__name__:
            yield child
            yield from _all(child)


ERRORS = sorted(set(_all(StepbackError)) - {Refused, Failed}, key=lambda error: error.__name__)


def test_no_two_errors_share_a_code() -> None:
    """Scripts branch on it."""
    codes = [error.code for error in ERRORS]

    assert len(codes) == len(set(codes))


@pytest.mark.parametrize("error", ERRORS)
def test_a_code_is_lower_case_words(error: type[StepbackError]) -> None:
    """It is also a metric label and stands in the ledger."""
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", error.code)
    assert error.code != StepbackError.code


@pytest.mark.parametrize("error", ERRORS)
def test_a_refusal_exits_with_3(error: type[StepbackError]) -> None:
    """And only a refusal does."""
    assert (error.exit_code == 3) == issubclass(error, Refused)


def test_a_failure_leaves_nothing_behind_unless_it_says_so() -> None:
    """Only where the worker cannot tell is the effect unknown."""
    unknown = {error.code for error in ERRORS if error.effect is not Effect.NONE}

    assert unknown == {"outcome_unknown", "needs_operator"}


def test_a_refused_plan_names_its_line() -> None:
    """In the message and as a number."""
    refusal = PlanRefused("DO is not allowed", line=7)

    assert str(refusal) == refusal.message == "line 7: DO is not allowed"
    assert refusal.line == 7
