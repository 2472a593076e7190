"""`env`: the URLs in use, so that psql and redis-cli reach the same servers."""

from __future__ import annotations

import re
import shlex

import click

from ledger.settings import Settings, load
from stepback.cli.options import json_option
from stepback.embedded import Postgres, Redis
from stepback.installation import resolved, secret
from stepback.show import documents

#: Names of targets that a variable can carry there and back: they are read in lower case, up to the first `__`.
_FITS = re.compile(r"[a-z0-9]+(_[a-z0-9]+)*")


@click.command()
@json_option
def env(*, as_json: bool) -> None:
    """Print the URLs in use as shell exports: eval "$(stepback env)". They may hold passwords."""
    configured = load()
    variables = _variables(configured, resolved(configured))
    if as_json:
        documents.put_out(variables)
        return
    for name, value in variables.items():
        click.echo(f"export {name}={shlex.quote(value)}")


def _variables(configured: Settings, settings: Settings) -> dict[str, str]:
    variables = {
        "STEPBACK_DATA": str(settings.data.absolute()),
        "STEPBACK_LEDGER_URL": secret(settings.ledger.url),
        "STEPBACK_REDIS_URL": secret(settings.redis.url),
    }
    for name, target in sorted(settings.targets.items()):
        if not _FITS.fullmatch(name):
            continue
        prefix = f"STEPBACK_TARGETS__{name.upper()}__"
        if target.url_file is not None:
            variables[f"{prefix}URL_FILE"] = str(target.url_file.absolute())
        else:
            variables[f"{prefix}URL"] = target.dsn()
        if target.plans is not None:
            variables[f"{prefix}PLANS"] = str(target.plans.absolute())
    if configured.ledger.url is None:
        variables["PSQL"] = str(Postgres(settings.data).psql)
    if configured.redis.url is None:
        variables["REDIS_SOCKET"] = str(Redis(settings.data).socket)
    return variables
