"""`gateway`: signed commands by HTTP."""

from __future__ import annotations

import click

from stepback.cli.foreground import say, until_eof_option, watch_stdin
from stepback.cli.options import installation
from stepback.gateway import serve


@click.command()
@until_eof_option
def gateway(*, until_eof: bool) -> int:
    """Take signed commands by HTTP, and show what becomes of them, until SIGTERM or Ctrl-C.

    It listens on loopback unless [gateway] host says otherwise. It has no TLS: other machines come through a proxy that
    has.
    """
    if until_eof:
        watch_stdin()
    with installation() as here:
        return serve(here, say)
