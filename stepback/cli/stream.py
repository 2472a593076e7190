"""`stream`: take commands from a Redis stream."""

from __future__ import annotations

import click

from stepback.cli.foreground import until_eof_option, watch_stdin
from stepback.cli.options import installation
from stepback.stream import consume


@click.command()
@until_eof_option
def stream(*, until_eof: bool) -> int:
    """Take commands from the Redis stream of [stream] until SIGTERM or Ctrl-C. More processes share its entries.

    A service asks with XADD stepback.commands '*' envelope ENVELOPE, where the envelope is a signed command, and reads
    from stepback.commands.answers which run it is, or why it was refused.
    """
    if until_eof:
        watch_stdin()
    with installation() as here:
        return consume(here)
