"""`up`, `worker`, `monitor` and `demo`: the commands that run something."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import click

from ledger.settings import load
from stepback.asking import ask_canary
from stepback.cli.foreground import say, until_eof_option, watch_stdin
from stepback.cli.options import installation, json_option
from stepback.demo import tell_of_alert, tell_story
from stepback.installation import resolved
from stepback.up import up as serve_all
from worker.app import serve
from worker.monitor.app import serve as watch


@click.command()
@until_eof_option
def worker(*, until_eof: bool) -> int:
    """Run one worker process until SIGTERM or Ctrl-C. More of them share the work."""
    settings = resolved(load())
    if until_eof:
        watch_stdin()
    return serve(settings)


@click.command()
@until_eof_option
def monitor(*, until_eof: bool) -> int:
    """Watch ledger, queue and targets until SIGTERM or Ctrl-C: raise what is wrong at Alertmanager, serve metrics."""
    if until_eof:
        watch_stdin()
    with installation() as here:
        return watch(here.settings, canary=partial(ask_canary, here))


@click.command()
def up() -> int:
    """Run worker, monitor and gateway in the foreground, and a real PostgreSQL and Redis where no URL is configured.

    Also the relay of [outboxes.NAME], where there are any, and the consumer of the Redis stream with [stream] enabled.
    Schemas are brought up to date first. Ctrl-C stops everything; started again, it goes on with the same data.
    """
    return serve_all(load(), say)


@click.command()
@json_option
@click.option("--data", type=click.Path(path_type=Path), help="Use this new folder, and keep it.")
@click.option("--keep", is_flag=True, help="Keep the temporary folder.")
@click.option(
    "--chapter",
    type=click.Choice(["alert"]),
    help="Another story: a run gets stuck, somebody is paged, and it goes on. Needs an installed Alertmanager.",
)
def demo(*, as_json: bool, data: Path | None, keep: bool, chapter: str | None) -> int:
    """Tell the whole story on embedded servers: five rollbacks, a recovery, and the proof that nothing was lost.

    It uses servers and a folder of its own; whatever is configured is left alone.
    """
    tell = tell_story if chapter is None else tell_of_alert
    return tell(data=data, keep=keep, as_json=as_json)
