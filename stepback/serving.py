"""Everything that has to be there before a worker can start: servers, schemas, the sample and its plans."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from ledger.errors import BadConfiguration
from ledger.settings import Settings
from stepback.embedded import Postgres, Redis, ensure_roles_and_databases
from stepback.embedded.roles import SAMPLE_DATABASE
from stepback.installation import Installation, has_sample, sample_plans, with_servers
from stepback.registration import register
from stepback.sample import TARGET, load_sample
from worker.target import connect

#: Any table that is not ours: somebody has been here.
_HAS_TABLES = (
    "SELECT EXISTS (SELECT FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')"
    " AND relname <> 'migration_rollbacks')"
)


def make_data_folder(data: Path) -> None:
    """Make the data folder, unless it is there.

    Raises:
        BadConfiguration: It cannot be made.
    """
    # PostgreSQL refuses to run as root, so another account has to pass through; the key's own folder stays shut.
    mode = 0o711 if os.geteuid() == 0 else 0o700
    try:
        data.mkdir(mode=mode, parents=True, exist_ok=True)
    except OSError as error:
        raise BadConfiguration(f"data folder {data} cannot be made: {error.strerror}") from error


@contextmanager
def servers_for(settings: Settings, say: Callable[[str], None]) -> Iterator[Settings]:
    """Run an embedded server for each URL that is absent, as long as the block runs.

    Args:
        settings: As configured.
        say: Hears what is going on.

    Yields:
        The settings with every URL filled in.
    """
    make_data_folder(settings.data)
    with ExitStack() as stack:
        redis = postgres = None
        if settings.redis.url is None:
            redis = stack.enter_context(Redis.start(settings.data))
            say(f"Redis runs in {redis.home}")
        if settings.ledger.url is None:
            postgres = stack.enter_context(Postgres.start(settings.data))
            ensure_roles_and_databases(postgres, sample=has_sample(settings))
            say(f"PostgreSQL {postgres.version} runs in {postgres.home}")
            if has_sample(settings):
                _fill_sample(postgres, say)
        yield with_servers(settings, postgres=postgres, redis=redis)


def register_sample(here: Installation) -> tuple[str, ...]:
    """Register the plans that come with the sample; return the names of the migrations."""
    return tuple(each.migration for each in register(here, TARGET, [sample_plans()]))


def _fill_sample(postgres: Postgres, say: Callable[[str], None]) -> None:
    url = postgres.url(SAMPLE_DATABASE, "goodbuy_app")
    session = connect(url, "stepback sample")
    try:
        filled = session.value(_HAS_TABLES)
    finally:
        session.close()
    if not filled:
        say(f"creating the sample database {SAMPLE_DATABASE}: the old system, five migrations, about 90,000 rows")
        load_sample(url)
