"""`approve` and `cancel`: somebody lets a run go on that waits, or does not want it any more."""

from __future__ import annotations

import click

from ledger.model import Run, State
from stepback import asking
from stepback.cli import exits
from stepback.cli.ask import follow_to_end
from stepback.cli.options import installation, json_option, run_argument
from stepback.show import documents
from stepback.show.console import out, plain


@click.command()
@run_argument
@click.option("--reason", default="", metavar="TEXT", help="Why it may, for those who read it later.")
@click.option(
    "--impact",
    metavar="HASH",
    help="The impact that is meant, as `stepback show` tells it; without it, the one that the run waits with.",
)
@click.option("--wait", is_flag=True, help="Follow the run until it has ended; its end is the exit code.")
@json_option
def approve(*, run: int, reason: str, impact: str | None, wait: bool, as_json: bool) -> int:
    """Let RUN go on, which waits for an approval: what it was seen to do, and nothing else.

    Whoever asked for it cannot approve it. Another's key is named by STEPBACK_KEY and STEPBACK_ISSUER.
    """
    with installation() as here:
        found = asking.approve(here, run=run, reason=reason, impact_sha256=impact)
        if wait:
            return follow_to_end(here, run, as_json=as_json)
    _tell(found, f"run {run} is approved and {found.state}; `stepback show {run}` tells how it ends", as_json=as_json)
    return exits.OK


@click.command()
@run_argument
@click.option("--reason", default="", metavar="TEXT", help="Why, for those who read it later.")
@json_option
def cancel(*, run: int, reason: str, as_json: bool) -> None:
    """Stop RUN before it changes anything; what it has changed already, `recover` brings back."""
    with installation() as here:
        found = asking.cancel(here, run=run, reason=reason)
    told = (
        f"run {run} is cancelled; nothing was changed"
        if found.state is State.CANCELLED
        else f"run {run} is {found.state}: its worker stops before it changes anything, unless it just has;"
        f" `stepback show {run}` tells how it ends"
    )
    _tell(found, told, as_json=as_json)


def _tell(run: Run, told: str, *, as_json: bool) -> None:
    if as_json:
        documents.put_out(documents.of_run(run))
    else:
        out().print(plain(told), soft_wrap=True)
