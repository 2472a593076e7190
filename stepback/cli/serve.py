"""`up`, `worker` and `demo`: the commands that run something."""

from __future__ import annotations

import click

from ledger.settings import load
from stepback.installation import resolved
from worker.app import serve


@click.command()
def worker() -> int:
    """Run one worker process until SIGTERM or Ctrl-C. More of them share the work."""
    return serve(resolved(load()))
