"""`env`: the URLs in use, so that psql and redis-cli reach the same servers."""

from __future__ import annotations

import shlex

import click

from ledger.settings import load
from stepback.cli.options import json_option
from stepback.embedded import Postgres, Redis
from stepback.environment import as_environment
from stepback.installation import resolved
from stepback.show import documents


@click.command()
@json_option
def env(*, as_json: bool) -> None:
    """Print the URLs in use as shell exports: eval "$(stepback env)". They may hold passwords.

    For embedded servers it also names the psql that comes along (PSQL) and the socket for redis-cli -s (REDIS_SOCKET).
    """
    configured = load()
    variables = as_environment(resolved(configured))
    if configured.ledger.url is None:
        variables["PSQL"] = str(Postgres(configured.data).psql)
    if configured.redis.url is None:
        variables["REDIS_SOCKET"] = str(Redis(configured.data).socket)
    if as_json:
        documents.put_out(variables)
        return
    for name, value in variables.items():
        click.echo(f"export {name}={shlex.quote(value)}")
