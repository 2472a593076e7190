"""No argument that may be a connection string is repeated."""

from __future__ import annotations

import pytest

from stepback.cli.scrub import PLACEHOLDER, scrubbed


@pytest.mark.parametrize(
    "argument",
    [
        "postgresql://ada:s3cret@db/x",
        "postgresql://ada:s3cret with ' and space@db/x",
        "host=db password=s3cret",
        "host=db PASSWORD = s3cret",
    ],
)
@pytest.mark.parametrize(
    "form", ["No such command {!r}.", "Got unexpected extra argument ({})", "Invalid value: {!r} is bad"]
)
def test_argument_is_not_repeated(argument: str, form: str) -> None:
    """A suspicious argument is replaced, as it is and as Python prints it."""
    told = scrubbed(form.format(argument), [argument])

    assert "s3cret" not in told
    assert PLACEHOLDER in told


def test_value_of_an_option() -> None:
    """Of --option=value click repeats the value."""
    told = scrubbed("Invalid value for '--target': 'postgresql://s3cret'", ["--target=postgresql://s3cret"])

    assert told == f"Invalid value for '--target': {PLACEHOLDER}"


def test_harmless_arguments_are_repeated() -> None:
    """What cannot be a secret stays, since it helps."""
    assert scrubbed("No such option: --tarjet", ["--tarjet=x"]) == "No such option: --tarjet"
