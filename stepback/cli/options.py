"""Options and arguments that several commands share, and the installation that they work on."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import click

from ledger import durations
from ledger.model import Policy
from ledger.settings import load
from stepback.installation import Installation

#: Numbers of runs are bigint.
_MOST_RUNS = 2**63 - 1
#: SHA-256, as it is printed.
_HASH = re.compile(r"[0-9a-f]{64}")
_MOST_DIGITS = len(str(_MOST_RUNS))


class RunNumber(click.ParamType[int]):
    """The number of a run. A text that is none is not repeated: it may be anything."""

    name = "run"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:  # noqa: ANN401 - click's signature
        """Return the number."""
        digits = str(value)
        # Of a huge number not even the value is computed.
        if not (
            digits.isascii() and digits.isdigit() and len(digits) <= _MOST_DIGITS and 0 < int(digits) <= _MOST_RUNS
        ):
            self.fail("a run is known by its number; `stepback runs` lists them", param, ctx)
        return int(digits)


class ImpactHash(click.ParamType[str]):
    """The hash of an impact. A text that is none is not repeated."""

    name = "hash"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:  # noqa: ANN401 - click's signature
        """Return the hash."""
        text = str(value)
        if not _HASH.fullmatch(text):
            self.fail("a hash is 64 hexadecimal digits, as `stepback plan` prints it", param, ctx)
        return text


class Condition(click.ParamType[tuple[str, str]]):
    """A table and a condition on its rows."""

    name = "condition"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:  # noqa: ANN401 - click's signature
        """Return both."""
        table, equals, condition = str(value).partition("=")
        if not (equals and table.strip() and condition.strip()):
            self.fail("give a table and an SQL condition: 'health_metrics=confidence_level >= 80'", param, ctx)
        return table.strip(), condition.strip()


class Duration(click.ParamType[timedelta]):
    """How long ago. A text that is none is not repeated."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:  # noqa: ANN401 - click's signature
        """Return the duration."""
        try:
            return durations.parse(str(value))
        except ValueError as error:
            self.fail(f"give {error}", param, ctx)


json_option = click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output.")
target_option = click.option("--target", required=True, metavar="T", help="Configured name of the database.")
policy_option = click.option(
    "--policy",
    type=click.Choice(Policy, case_sensitive=False),
    help="Where a preserved row meets a newer one in a recovery: leave the newer one (skip, the default), put the"
    " preserved one in its place (overwrite), or put that into a table for review (aside). None is lost. Given, it also"
    " merges rows into what is there again.",
)
run_argument = click.argument("run", type=RunNumber(), metavar="RUN")


@contextmanager
def installation() -> Iterator[Installation]:
    """Give the installation that file and environment configure.

    Raises:
        BadConfiguration: They do not.
    """
    with Installation.open(load()) as here:
        yield here
